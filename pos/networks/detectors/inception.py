"""FID-Inception, whose pool features FID compares: Inception v3 as TensorFlow published it on 2015-12-05.

Layer names are those of pytorch-fid (mseitzer/pytorch-fid; clean-fid carries it too), so that its weights
load as they are. It differs from torchvision's Inception v3 in its pools: averages do not count the padding,
and the last block takes the maximum. The classifier is left out, since FID reads the features alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.errors import PosError

SIDE = 299
"""Height and width of an image in pixels."""

Kernel = int | tuple[int, int]
Unit = tuple[str, int, Kernel] | tuple[str, int, Kernel, int]
"""What it reads (another unit, the block's input ``x`` or its ``pool``), its width, kernel and stride."""


class FIDInception(nn.Module):
    """Images to the 2,048 features that FID compares."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _ConvUnit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _ConvUnit(32, 32, 3)
        self.Conv2d_2b_3x3 = _ConvUnit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = _ConvUnit(80, 192, 3)
        self.Mixed_5b = _Block(192, _block_a(32))
        self.Mixed_5c = _Block(256, _block_a(64))
        self.Mixed_5d = _Block(288, _block_a(64))
        self.Mixed_6a = _Block(288, _BLOCK_B, pool="reduce")
        self.Mixed_6b = _Block(768, _block_c(128))
        self.Mixed_6c = _Block(768, _block_c(160))
        self.Mixed_6d = _Block(768, _block_c(160))
        self.Mixed_6e = _Block(768, _block_c(192))
        self.Mixed_7a = _Block(768, _BLOCK_D, pool="reduce")
        self.Mixed_7b = _Block(1280, _BLOCK_E)
        self.Mixed_7c = _Block(2048, _BLOCK_E, pool="maximum")

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, 299, 299) in [-1, 1), (x - 128) / 128 of 0..255, to features (n, 2048).

        Raises:
            PosError: images of another size.
        """
        if images.shape[1:] != (3, SIDE, SIDE):
            raise PosError(f"FID-Inception takes images (3, {SIDE}, {SIDE}), not {tuple(images.shape[1:])}.")
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, 2)
        for block in self.children():
            if isinstance(block, _Block):
                x = block(x)
        return x.mean((-2, -1))


class _ConvUnit(nn.Module):
    """A convolution without bias, batch norm, ReLU."""

    def __init__(
        self, channels: int, width: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class _Block(nn.Module):
    """Units that read the block's input, its pool or one another; what none reads makes up the output.

    Args:
        channels: of the input.
        units: by name; those without a stride keep the height and width.
        pool: a 3x3 pool that keeps the size, of the ``average`` (padding not counted) or the ``maximum``, or
            one that ``reduce``s it with a stride of 2.
    """

    def __init__(
        self,
        channels: int,
        units: Mapping[str, Unit],
        pool: Literal["average", "maximum", "reduce"] = "average",
    ) -> None:
        super().__init__()
        widths = {"x": channels, "pool": channels}
        for name, (source, width, kernel, *stride) in units.items():
            padding = 0 if stride else _half(kernel)
            self.add_module(name, _ConvUnit(widths[source], width, kernel, *stride, padding=padding))
            widths[name] = width
        self.sources = {name: unit[0] for name, unit in units.items()}
        self.ends = [name for name in [*units, "pool"] if name not in self.sources.values()]
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        values = {"x": x, "pool": self._pooled(x)}
        for name, unit in self.named_children():
            values[name] = unit(values[self.sources[name]])
        return torch.cat([values[name] for name in self.ends], dim=1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "average":
            return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        stride, padding = (2, 0) if self.pool == "reduce" else (1, 1)
        return functional.max_pool2d(x, 3, stride, padding)


def _half(kernel: Kernel) -> Kernel:
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


def _block_a(pooled: int) -> dict[str, Unit]:
    return {
        "branch1x1": ("x", 64, 1),
        "branch5x5_1": ("x", 48, 1),
        "branch5x5_2": ("branch5x5_1", 64, 5),
        "branch3x3dbl_1": ("x", 64, 1),
        "branch3x3dbl_2": ("branch3x3dbl_1", 96, 3),
        "branch3x3dbl_3": ("branch3x3dbl_2", 96, 3),
        "branch_pool": ("pool", pooled, 1),
    }


_BLOCK_B: dict[str, Unit] = {
    "branch3x3": ("x", 384, 3, 2),
    "branch3x3dbl_1": ("x", 64, 1),
    "branch3x3dbl_2": ("branch3x3dbl_1", 96, 3),
    "branch3x3dbl_3": ("branch3x3dbl_2", 96, 3, 2),
}


def _block_c(inner: int) -> dict[str, Unit]:
    return {
        "branch1x1": ("x", 192, 1),
        "branch7x7_1": ("x", inner, 1),
        "branch7x7_2": ("branch7x7_1", inner, (1, 7)),
        "branch7x7_3": ("branch7x7_2", 192, (7, 1)),
        "branch7x7dbl_1": ("x", inner, 1),
        "branch7x7dbl_2": ("branch7x7dbl_1", inner, (7, 1)),
        "branch7x7dbl_3": ("branch7x7dbl_2", inner, (1, 7)),
        "branch7x7dbl_4": ("branch7x7dbl_3", inner, (7, 1)),
        "branch7x7dbl_5": ("branch7x7dbl_4", 192, (1, 7)),
        "branch_pool": ("pool", 192, 1),
    }


_BLOCK_D: dict[str, Unit] = {
    "branch3x3_1": ("x", 192, 1),
    "branch3x3_2": ("branch3x3_1", 320, 3, 2),
    "branch7x7x3_1": ("x", 192, 1),
    "branch7x7x3_2": ("branch7x7x3_1", 192, (1, 7)),
    "branch7x7x3_3": ("branch7x7x3_2", 192, (7, 1)),
    "branch7x7x3_4": ("branch7x7x3_3", 192, 3, 2),
}
_BLOCK_E: dict[str, Unit] = {
    "branch1x1": ("x", 320, 1),
    "branch3x3_1": ("x", 384, 1),
    "branch3x3_2a": ("branch3x3_1", 384, (1, 3)),
    "branch3x3_2b": ("branch3x3_1", 384, (3, 1)),
    "branch3x3dbl_1": ("x", 448, 1),
    "branch3x3dbl_2": ("branch3x3dbl_1", 384, 3),
    "branch3x3dbl_3a": ("branch3x3dbl_2", 384, (1, 3)),
    "branch3x3dbl_3b": ("branch3x3dbl_2", 384, (3, 1)),
    "branch_pool": ("pool", 192, 1),
}
