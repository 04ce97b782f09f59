"""Accelerated networks answer as the plain one does, for every shape."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.acceleration import PerShape, accelerate, channels_last

CPU = torch.device("cpu")


class Sum(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        self.calls += 1
        return latents * 2 + timesteps[:, None] + context.sum(1, keepdim=True)


def inputs(rows: int, seed: int = 0) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    latents, context = torch.randn(2, rows, 3, generator=generator)
    return (latents, torch.arange(rows).float()), {"context": context}


def into_one_buffer(network: Sum, held: dict[str | int, Tensor]):
    """As a CUDA graph does: the same inputs are read and the same output overwritten at every replay."""
    output = network(held[0], held[1], context=held["context"]).clone()

    def replay() -> Tensor:
        with torch.no_grad():
            return output.copy_(held[0] * 2 + held[1][:, None] + held["context"].sum(1, keepdim=True))

    return replay


def test_replays_answer_as_the_network() -> None:
    network = Sum()
    fast = PerShape(network, into_one_buffer)
    for rows, seed in [(2, 0), (2, 1), (3, 2), (2, 3)]:
        args, kwargs = inputs(rows, seed)
        torch.testing.assert_close(fast(*args, **kwargs), Sum()(*args, **kwargs), rtol=0, atol=0)
    assert network.calls == 2  # once for each shape


def test_an_answer_outlives_the_next_replay() -> None:
    fast = PerShape(Sum(), into_one_buffer)
    args, kwargs = inputs(2, 0)
    first = fast(*args, **kwargs)
    kept = first.clone()
    fast(*inputs(2, 1)[0], **kwargs)
    assert first.equal(kept)


def test_another_dtype_is_another_recording() -> None:
    network = Sum()
    fast = PerShape(network, into_one_buffer)
    args, kwargs = inputs(2)
    fast(*args, **kwargs)
    assert fast(args[0].double(), *args[1:], **kwargs).dtype == torch.float64
    assert network.calls == 2


@pytest.mark.parametrize("how", ["none", "auto"])
def test_none_on_a_cpu_is_the_network(how: str) -> None:
    network = Sum()
    assert accelerate(network, how, CPU) is network


@pytest.mark.slow
def test_compiled_answers_as_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network = Sum()
    fast = accelerate(network, "compile", CPU)
    for rows in (2, 3):
        args, kwargs = inputs(rows)
        torch.testing.assert_close(fast(*args, **kwargs), Sum()(*args, **kwargs))
    assert any(tmp_path.iterdir())  # kept for the next run


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("graph", "acceleration=graph needs a CUDA device, not cpu"),
        ("fast", "choose auto, none, graph or compile"),
    ],
)
def test_what_is_not_possible(how: str, told: str) -> None:
    with pytest.raises(PosError, match=told):
        accelerate(Sum(), how, CPU)


def test_convolutions_channels_last_change_no_value() -> None:
    network = nn.ModuleList([nn.Conv2d(4, 8, 3), nn.Conv3d(4, 8, (3, 1, 1)), nn.Linear(4, 8)])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.squeeze(-1).is_contiguous(memory_format=torch.channels_last)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
