"""GroupNorm of channels-last maps, fused with what stands beside it in a resnet: a shift before, SiLU after.

On a GPU, torch's own kernel answers in the channels-first layout, so that every convolution after it copies
its input back; in half precision ours keeps the layout and does the shift and the SiLU in the same pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.devices import takes_kernels


class GroupNorm(nn.GroupNorm):
    """GroupNorm of maps (n, c, h, w) in channels-last memory, with torch's names and arithmetic.

    Args:
        silu: apply SiLU to the result.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5, silu: bool = False) -> None:
        super().__init__(groups, channels, eps)
        self.silu = silu

    def forward(self, maps: Tensor, shift: Tensor | None = None) -> Tensor:
        """Normalise every map by the statistics of its groups.

        Args:
            maps: (n, c, h, w), channels last; what has to share its statistics is one map.
            shift: (m, c), added to the maps first, each row to n / m maps in a row.

        Returns:
            (n, c, h, w), channels last.
        """
        if takes_kernels(maps):
            from pos.networks.layers.group_norm_kernel import group_norm

            return group_norm(maps, self.num_groups, self.weight, self.bias, self.eps, self.silu, shift)
        if shift is not None:
            maps = maps + shift.repeat_interleave(len(maps) // len(shift), dim=0)[..., None, None]
        maps = functional.group_norm(maps, self.num_groups, self.weight, self.bias, self.eps)
        maps = functional.silu(maps) if self.silu else maps
        return maps.contiguous(memory_format=torch.channels_last)
