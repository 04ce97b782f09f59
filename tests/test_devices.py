import pytest
import torch

from pos.devices import PRECISIONS, bound_threads, memory_advice, resolve_device, resolve_precision
from pos.errors import PosError


def test_an_absent_device_is_named():
    with pytest.raises(PosError, match="device=tpu9 is not on this machine"):
        resolve_device("tpu9")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")


def test_precisions():
    assert {resolve_precision(name).itemsize for name in PRECISIONS} == {2, 4}
    with pytest.raises(PosError, match="precision=fp8 is unknown"):
        resolve_precision("fp8")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: ..."),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_sentence_with_advice(error: Exception) -> None:
    with pytest.raises(PosError, match=r"^Out of memory with batch_size=8: lower it\.$"):  # noqa: SIM117
        with memory_advice("batch_size=8: lower it"):
            raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_advice("nothing"):
        raise RuntimeError("the shapes do not fit")


def test_what_the_cpu_cannot_hold_is_too_little_memory() -> None:
    with pytest.raises(PosError, match="Out of memory with that"), memory_advice("that"):
        torch.empty(2**50, dtype=torch.uint8)


def test_a_process_beside_a_gpu_takes_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    bound_threads(torch.device("cpu"))
    assert chosen == []
    bound_threads(torch.device("cuda"))
    assert chosen == [4]
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    bound_threads(torch.device("cuda"))
    assert chosen == [4]
