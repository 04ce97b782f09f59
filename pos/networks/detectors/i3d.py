"""I3D, whose Kinetics-400 logits FVD compares (Carreira and Zisserman 2017).

Layer names, padding and the batch norm's eps of 1e-5 are those of VideoGPT (wilson1yan/VideoGPT, after
piergiaj/pytorch-i3d), so that ``i3d_pretrained_400.pt`` loads as it is. TensorFlow's own I3D and other ports
use 1e-3, which moves FVD by 1.5%.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.errors import PosError

SIDE = 224
"""Height and width of a frame in pixels."""

Size = tuple[int, int, int]
_WIDTHS: dict[str, tuple[int, ...]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_POOLS: dict[str, tuple[Size, Size]] = {  # kernel and stride of the pool before a layer
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class I3D(nn.Module):
    """Clips to class logits.

    Args:
        classes: 400 for Kinetics-400.
    """

    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _ConvUnit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = _ConvUnit(64, 64, 1)
        self.Conv3d_2c_3x3 = _ConvUnit(64, 192, 3)
        channels = 192
        for name, widths in _WIDTHS.items():
            self.add_module(name, _Mixed(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = nn.Module()
        self.logits.conv3d = nn.Conv3d(channels, classes, 1)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (b, 3, f, 224, 224) in [-1, 1], f at least 9, to logits (b, classes), averaged over time.

        Raises:
            PosError: clips of another size, or too short.
        """
        return self.logits.conv3d(self.features(clips)).mean((2, 3, 4))

    def features(self, clips: Tensor) -> Tensor:
        """The pooled features (b, 1024, t, 1, 1) below the logits; 16 frames give t = 1."""
        if clips.shape[1] != 3 or clips.shape[3:] != (SIDE, SIDE) or clips.shape[2] < 9:
            raise PosError(
                f"I3D takes clips (3, 9 or more frames, {SIDE}, {SIDE}), not {tuple(clips.shape[1:])}."
            )
        x = clips
        for name, layer in self.named_children():
            if name == "logits":
                break
            if name in _POOLS:
                x = _max_pool_same(x, *_POOLS[name])
            x = layer(x)
        return functional.avg_pool3d(x, (2, 7, 7), stride=1)


class _ConvUnit(nn.Module):
    """A convolution without bias, padded as TensorFlow's SAME does, batch norm, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        centred = kernel // 2 if stride == 1 else 0
        self.conv3d = nn.Conv3d(channels, width, kernel, stride, centred, bias=False)
        self.bn = nn.BatchNorm3d(width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride != (1, 1, 1):
            x = _pad_same(x, self.kernel, self.stride)
        return functional.relu(self.bn(self.conv3d(x)), inplace=True)


class _Mixed(nn.Module):
    """Four branches: 1x1; 1x1 and 3x3 twice; a pool and 1x1."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _ConvUnit(channels, widths[0], 1)
        self.b1a = _ConvUnit(channels, widths[1], 1)
        self.b1b = _ConvUnit(widths[1], widths[2], 3)
        self.b2a = _ConvUnit(channels, widths[3], 1)
        self.b2b = _ConvUnit(widths[3], widths[4], 3)
        self.b3b = _ConvUnit(channels, widths[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.max_pool3d(x, 3, stride=1, padding=1)
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)]
        return torch.cat(branches, dim=1)


def _max_pool_same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """The padding is zeros, which no maximum sees: all that is pooled went through a ReLU."""
    return functional.max_pool3d(_pad_same(x, kernel, stride), kernel, stride)


def _pad_same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Zeros as TensorFlow's SAME adds them: the odd one at the end."""
    padding: list[int] = []
    for length, size, step in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-length // step) - 1) * step + size - length, 0)
        padding = [total // 2, total - total // 2, *padding]  # the last dimension comes first
    return functional.pad(x, padding)
