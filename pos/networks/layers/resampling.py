"""Half and twice the height and width of feature maps (b*f, c, h, w), channels last all through."""

from __future__ import annotations

from torch import Tensor, nn


class Downsample(nn.Module):
    """Half the height and width, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(maps)


class Upsample(nn.Module):
    """Every place doubled, cut to the size of the maps of the way down, and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        places = maps.permute(0, 2, 3, 1)[:, :, None, :, None]
        doubled = places.expand(-1, -1, 2, -1, 2, -1).flatten(3, 4).flatten(1, 2)
        return self.conv(doubled[:, : size[0], : size[1]].permute(0, 3, 1, 2))
