"""Parts of a measurement: clocks, memory, rates, floating-point operations, kernels."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from pos.devices import resolve_precision

TERA, GIB = 1e12, 2**30
KERNELS = 15  # of a profile that are named
NAME = 80  # characters of a kernel's name


def clock(device: torch.device) -> float:
    """Seconds, with all work of the device done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable[[], Any], device: torch.device, repeats: int = 1) -> tuple[float, Any]:
    """The median of the seconds that ``work`` takes over its repeats, and its last result."""
    seconds = []
    for _ in range(repeats):
        started = clock(device)
        result = work()
        seconds.append(clock(device) - started)
    return statistics.median(seconds), result


def matmul_rate(device: torch.device, precision: str, repeats: int = 10) -> float:
    """FLOP a second of a large matrix product on random data: the ceiling of what networks reach."""
    size = 8192 if device.type == "cuda" else 512
    first, second = torch.randn(2, size, size, device=device).to(resolve_precision(precision))

    def products() -> None:
        for _ in range(repeats):
            first @ second

    products()
    return 2 * size**3 * repeats / timed(products, device)[0]


def forward_flops(network: nn.Module, inputs: dict[str, Tensor]) -> int:
    """FLOP of one forward of a network on the meta device (products and sums of matrices; norms are free)."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(**{name: tensor.to("meta") for name, tensor in inputs.items()})
    return counter.get_total_flops()


def held_memory(device: torch.device) -> int:
    """Bytes torch reserves on the GPU after releasing its unused cache; 0 on a CPU. Resets the peak."""
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_reserved(device)


def peak_memory(device: torch.device) -> int:
    """Peak bytes reserved since :func:`held_memory`; on a CPU the peak resident size of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """norm(actual - expected) / norm(expected)."""
    expected = expected.double()
    return float((actual.double() - expected).norm() / expected.norm())


def kernels(work: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Where the time of ``work`` goes: wall time, sum and number of kernels, and the most expensive ones."""
    on_gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    seconds, _ = timed(work, device)
    with profile(activities=[activity]) as recorded:
        work()
        clock(device)
    events = [(event, _own_time(event, on_gpu)) for event in recorded.key_averages()]
    events = sorted(((event, spent) for event, spent in events if spent > 0), key=lambda pair: -pair[1])
    return {
        "wall_ms": round(seconds * 1e3, 3),
        "kernels_ms": round(sum(spent for _, spent in events) / 1e3, 3),
        "launches": sum(event.count for event, _ in events),
        "top": [
            {"kernel": event.key[:NAME], "ms": round(spent / 1e3, 3), "calls": event.count}
            for event, spent in events[:KERNELS]
        ],
    }


def _own_time(event: Any, on_gpu: bool) -> float:
    """Microseconds."""
    return event.self_device_time_total if on_gpu else event.self_cpu_time_total


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """float32 without the shortened products (TF32) that convolutions use otherwise."""
    chosen = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = chosen
