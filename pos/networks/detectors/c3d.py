"""C3D trained on UCF101, whose class probabilities make the inception score of videos (Tran et al. 2015).

Architecture, input and layer names are those of TGANv2 (pfnet-research/tgan2), which published the weights;
its pools round up, so that the last one gives 4x4 of 7x7.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.errors import PosError

FRAMES, SIDE = 16, 112
MEAN_SIZE = (128, 171)
"""Height and width of the mean clip as published; rows and columns 8 to 119 of it are subtracted."""

_CORNER = 8
_WIDTHS = {
    "conv1a": (3, 64),
    "conv2a": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
_POOLED = {"conv1a": (1, 2, 2), "conv2a": 2, "conv3b": 2, "conv4b": 2, "conv5b": 2}  # layers before a pool


class C3D(nn.Module):
    """Clips to class logits.

    Args:
        classes: 101 for UCF101.

    Attributes:
        mean: the mean clip (3, 16, 128, 171) of the training set in BGR, 0 to 255, as published.
    """

    def __init__(self, classes: int = 101) -> None:
        super().__init__()
        for name, (channels, width) in _WIDTHS.items():
            self.add_module(name, nn.Conv3d(channels, width, 3, padding=1))
        self.fc6 = nn.Linear(512 * 4 * 4, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)
        self.register_buffer("mean", torch.zeros(3, FRAMES, *MEAN_SIZE))

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (b, 3, 16, 112, 112) in BGR, 0 to 255, to logits (b, classes).

        Raises:
            PosError: clips of another size.
        """
        if clips.shape[1:] != (3, FRAMES, SIDE, SIDE):
            raise PosError(
                f"C3D takes clips (3, {FRAMES}, {SIDE}, {SIDE}) of exactly {FRAMES} frames, not "
                f"{tuple(clips.shape[1:])}."
            )
        x = self.centre(clips)
        for name in _WIDTHS:
            x = functional.relu(getattr(self, name)(x), inplace=True)
            if name in _POOLED:
                x = functional.max_pool3d(x, _POOLED[name], ceil_mode=True)
        x = functional.relu(self.fc6(x.flatten(1)))
        return self.fc8(functional.relu(self.fc7(x)))

    def centre(self, clips: Tensor) -> Tensor:
        """The clips less the mean one."""
        kept = slice(_CORNER, _CORNER + SIDE)
        return clips - self.mean[..., kept, kept]
