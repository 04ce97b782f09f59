"""Ways to run a network faster that change nothing of what it computes.

At small batches a GPU waits for the processor that starts its thousands of kernels: a CUDA graph starts them
all at once. The compiler also fuses them, for minutes of compiling that a folder keeps for the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pos.errors import PosError

Acceleration = Literal["auto", "none", "graph", "compile"]
Forward = Callable[..., Tensor]
Replay = Callable[[], Tensor]

CACHE = Path.home() / ".cache" / "pos" / "compiled"  # unless $TORCHINDUCTOR_CACHE_DIR says otherwise
WARM_UP = 3  # forwards before a recording: kernels load, compile and are chosen in them
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(network: nn.Module) -> None:
    """Lay out convolution weights as our networks lay out their maps, so that no forward rearranges them."""
    for parameter in network.parameters():
        if parameter.ndim in LAYOUTS:
            parameter.data = parameter.data.contiguous(memory_format=LAYOUTS[parameter.ndim])


def accelerate(network: nn.Module, how: Acceleration, device: torch.device) -> Forward:
    """The network's forward for inference, faster.

    Args:
        network: called with tensors alone, on ``device`` and without gradients; its weights stay in place.
        how: ``none``; ``graph`` records a CUDA graph for each new shape of inputs, in seconds, and replays
            it; ``compile`` compiles for each new shape, in minutes, and records a graph of that on a GPU;
            ``auto`` is ``graph`` on a GPU and else ``none``.

    Raises:
        PosError: another name, or a graph on a device that has none.
    """
    if how not in ("auto", "none", "graph", "compile"):
        raise PosError(f"acceleration={how} is unknown: choose auto, none, graph or compile.")
    if how == "auto":
        how = "graph" if device.type == "cuda" else "none"
    if how == "graph" and device.type != "cuda":
        raise PosError(f"acceleration=graph needs a CUDA device, not {device.type}: choose none or compile.")
    if how == "compile":
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE))
        network.compile(dynamic=False)
    if how == "none" or device.type != "cuda":
        return network
    # The graphs of one network share a pool of memory: none runs while another does, and outputs are copied
    # at once. The pool goes when its last graph does, so another network's graphs need another.
    return PerShape(network, partial(record_graph, pool=torch.cuda.graph_pool_handle()))


class PerShape:
    """A network's forward, recorded once for each shape of its inputs and replayed after that.

    Args:
        record: network and inputs to a replay that reads those same tensors and gives the output, which the
            next replay may overwrite.
    """

    def __init__(
        self, network: Forward, record: Callable[[Forward, dict[str | int, Tensor]], Replay]
    ) -> None:
        self.network, self.record = network, record
        self._recorded: dict[tuple, tuple[dict[str | int, Tensor], Replay]] = {}

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        inputs = {**dict(enumerate(args)), **kwargs}
        shapes = tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items())
        if shapes not in self._recorded:
            held = {name: tensor.clone() for name, tensor in inputs.items()}
            self._recorded[shapes] = held, self.record(self.network, held)
        held, replay = self._recorded[shapes]
        for name, tensor in inputs.items():
            held[name].copy_(tensor)
        return replay().clone()


def record_graph(network: Forward, inputs: dict[str | int, Tensor], pool: tuple[int, int]) -> Replay:
    """A CUDA graph of one forward, in a pool of memory that other graphs may share."""
    args = [tensor for name, tensor in inputs.items() if isinstance(name, int)]
    kwargs = {name: tensor for name, tensor in inputs.items() if isinstance(name, str)}
    chosen = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # the graph keeps the kernels that the warm-up finds fastest
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                network(*args, **kwargs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            output = network(*args, **kwargs)
    finally:
        torch.backends.cudnn.benchmark = chosen

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay
