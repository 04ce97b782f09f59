"""NVIDIA's TorchScript ``inception-2015-12-05.pt`` in its layout: modules, names and order of branches."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.golden.rebuilt import rule_tensor

Side = tuple[int, int]
WIDE, TALL = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
ROW, COLUMN = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
SQUARE = {"kernel": (3, 3), "padding": (1, 1)}


class Conv2dLayer(nn.Module):
    """The batch norm has no gain."""

    def __init__(
        self, channels: int, width: int, kernel: Side = (1, 1), padding: Side = (0, 0), stride: int = 1
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, list(padding)
        self.weight = nn.Parameter(torch.empty(width, channels, *kernel))
        self.beta, self.mean, self.var = (nn.Parameter(torch.empty(width)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(x, self.weight, stride=self.stride, padding=self.padding)
        x = nn.functional.batch_norm(x, self.mean, self.var, bias=self.beta, eps=1e-3)
        return nn.functional.relu(x)


class Branches(nn.Module):
    """Joins what its children make of one input, in their order."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for branch in self.children():
            found.append(branch(x))
        return torch.cat(found, 1)


class Outer(nn.Module):
    """The 8x8 block, whose towers fork."""

    def __init__(self, channels: int, pool: nn.Module) -> None:
        super().__init__()
        self.conv = Conv2dLayer(channels, 320)
        self.tower_conv = Conv2dLayer(channels, 384)
        self.tower_mixed_conv = Conv2dLayer(384, 384, **ROW)
        self.tower_mixed_conv_1 = Conv2dLayer(384, 384, **COLUMN)
        self.tower_1_conv = Conv2dLayer(channels, 448)
        self.tower_1_conv_1 = Conv2dLayer(448, 384, **SQUARE)
        self.tower_1_mixed_conv = Conv2dLayer(384, 384, **ROW)
        self.tower_1_mixed_conv_1 = Conv2dLayer(384, 384, **COLUMN)
        self.tower_2_pool = pool
        self.tower_2_conv = Conv2dLayer(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        a = self.tower_conv(x)
        b = self.tower_1_conv_1(self.tower_1_conv(x))
        parts = [self.conv(x), self.tower_mixed_conv(a), self.tower_mixed_conv_1(a)]
        parts += [self.tower_1_mixed_conv(b), self.tower_1_mixed_conv_1(b)]
        parts.append(self.tower_2_conv(self.tower_2_pool(x)))
        return torch.cat(parts, 1)


class Published(nn.Module):
    """What the archive holds; its forward takes scaled images of 299x299 to features."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers().items():
            self.layers.add_module(name, layer)
        self.output = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).reshape(-1, 2048)


def average() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def chain(*convolutions: nn.Module, pool: nn.Module | None = None) -> nn.Sequential:
    tower = nn.Sequential()
    if pool is not None:
        tower.add_module("pool", pool)
    for index, layer in enumerate(convolutions):
        tower.add_module(f"conv_{index}" if index else "conv", layer)
    return tower


def block_a(channels: int, pooled: int) -> Branches:
    five = {"kernel": (5, 5), "padding": (2, 2)}
    return Branches(
        conv=Conv2dLayer(channels, 64),
        tower=chain(Conv2dLayer(channels, 48), Conv2dLayer(48, 64, **five)),
        tower_1=chain(
            Conv2dLayer(channels, 64), Conv2dLayer(64, 96, **SQUARE), Conv2dLayer(96, 96, **SQUARE)
        ),
        tower_2=chain(Conv2dLayer(channels, pooled), pool=average()),
    )


def block_c(inner: int) -> Branches:
    turns = [(inner, TALL), (inner, WIDE), (inner, TALL), (192, WIDE)]
    return Branches(
        conv=Conv2dLayer(768, 192),
        tower=chain(
            Conv2dLayer(768, inner), Conv2dLayer(inner, inner, **WIDE), Conv2dLayer(inner, 192, **TALL)
        ),
        tower_1=chain(Conv2dLayer(768, inner), *(Conv2dLayer(inner, width, **way) for width, way in turns)),
        tower_2=chain(Conv2dLayer(768, 192), pool=average()),
    )


def layers() -> dict[str, nn.Module]:
    halved = {"kernel": (3, 3), "stride": 2}
    return {
        "conv": Conv2dLayer(3, 32, **halved),
        "conv_1": Conv2dLayer(32, 32, (3, 3)),
        "conv_2": Conv2dLayer(32, 64, **SQUARE),
        "pool0": nn.MaxPool2d(3, 2),
        "conv_3": Conv2dLayer(64, 80),
        "conv_4": Conv2dLayer(80, 192, (3, 3)),
        "pool1": nn.MaxPool2d(3, 2),
        "mixed": block_a(192, 32),
        "mixed_1": block_a(256, 64),
        "mixed_2": block_a(288, 64),
        "mixed_3": Branches(
            conv=Conv2dLayer(288, 384, **halved),
            tower=chain(Conv2dLayer(288, 64), Conv2dLayer(64, 96, **SQUARE), Conv2dLayer(96, 96, **halved)),
            pool=nn.MaxPool2d(3, 2),
        ),
        **{f"mixed_{index}": block_c(inner) for index, inner in enumerate((128, 160, 160, 192), start=4)},
        "mixed_8": Branches(
            tower=chain(Conv2dLayer(768, 192), Conv2dLayer(192, 320, **halved)),
            tower_1=chain(
                Conv2dLayer(768, 192),
                Conv2dLayer(192, 192, **WIDE),
                Conv2dLayer(192, 192, **TALL),
                Conv2dLayer(192, 192, **halved),
            ),
            pool=nn.MaxPool2d(3, 2),
        ),
        "mixed_9": Outer(1280, average()),
        "mixed_10": Outer(2048, nn.MaxPool2d(3, 1, 1)),
        "pool2": nn.AvgPool2d(8),
    }


@torch.no_grad()
def write_archive(path: Path) -> nn.Module:
    """Write the archive with weights filled by the recordings' rule; returns what it holds."""
    network = Published().eval()
    for name, parameter in network.named_parameters():
        kind = ".running_var" if name.endswith("var") else "" if name.endswith("weight") else ".bias"
        parameter.copy_(rule_tensor(name + kind, parameter.shape, "published", 2**0.5))
    torch.jit.script(network).save(str(path))
    return network
