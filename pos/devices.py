"""Where and in which precision networks run, from what a configuration says."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pos.errors import PosError

OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # what drivers and the CPU's allocator say
GPU_THREADS = 4  # of the processor, for a process that works on a GPU
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_device(device: str | torch.device) -> torch.device:
    """``auto`` (the GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ... to a device that is there.

    Raises:
        PosError: no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        there = "auto, cpu or cuda" if torch.cuda.is_available() else "auto or cpu"
        raise PosError(f"device={device} is not on this machine: choose {there}.") from error
    return found


def resolve_precision(precision: str) -> torch.dtype:
    """``fp32``, ``fp16`` or ``bf16`` to a dtype.

    Raises:
        PosError: another name.
    """
    if precision not in PRECISIONS:
        raise PosError(f"precision={precision} is unknown: choose {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


def bound_threads(device: torch.device) -> None:
    """Limit the processor's threads of a process that works on a GPU, unless OMP_NUM_THREADS is set.

    torch takes as many threads as the host has cores. The small tensors beside a GPU gain nothing from them,
    and two processes on one host slowed each other down tenfold (docs/results.md).
    """
    if device.type == "cuda" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), GPU_THREADS))


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """What to say where a device runs out of memory inside the block.

    Args:
        advice: what was tried and what helps, without its full stop.

    Raises:
        PosError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if known or any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise PosError(f"Out of memory with {advice}.") from error
        raise


def takes_kernels(tensor: torch.Tensor) -> bool:
    """Whether our own GPU kernels may work on a tensor.

    They are for inference in half precision: training needs torch's derivatives, and the compiler fuses the
    plain arithmetic itself.
    """
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.is_cuda and half and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def device_name(device: torch.device, count: int) -> str:
    """For instance "2 x NVIDIA H200" or "CPU (x86_64)"."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"
    return name if count == 1 else f"{count} x {name}"
