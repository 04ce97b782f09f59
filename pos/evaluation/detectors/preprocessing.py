"""Preprocessing of the networks of the paper's metrics: one video's uint8 RGB frames to a network's input.

The resizes are those of the original evaluation codes, none of which agree. PIL does them where PIL did.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pos.networks.detectors import c3d, i3d, inception, videomae

CLIP_SIDE = 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def clean_resize(frames: Tensor, side: int = inception.SIDE) -> Tensor:
    """Frames uint8 (k, 3, h, w) squashed to a square, as clean-fid's mode ``clean``; not rounded.

    Every channel is a float image of PIL, bicubic and antialiased, clipped once at the end.

    Returns:
        float32 (k, 3, side, side), 0 to 255.
    """
    planes = frames.detach().cpu().flatten(0, 1).float().numpy()
    resized = [
        np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC)) for plane in planes
    ]
    return torch.from_numpy(np.stack(resized)).unflatten(0, frames.shape[:2]).clamp(0, 255)


def inception_input(frames: Tensor) -> Tensor:
    """Frames uint8 (k, 3, h, w) to FID-Inception's input (k, 3, 299, 299) in [-1, 1), as clean-fid scales."""
    return (clean_resize(frames) - 128) / 128


def clip_crop(frames: Tensor, side: int = CLIP_SIDE) -> Tensor:
    """Frames uint8 (k, 3, h, w) to (k, 3, 224, 224) uint8: the short side resized by PIL, the centre cropped.

    It stays uint8 between the two, as in OpenAI's transform and in clean-fid's CLIP-FID (both use
    torchvision's ``Resize`` and ``CenterCrop``, whose rounding this follows); resizing tensors differs by up
    to 15 levels.
    """
    height, width = frames.shape[-2:]
    short = min(height, width)
    resized = (int(side * width / short), int(side * height / short))
    left, top = round((resized[0] - side) / 2), round((resized[1] - side) / 2)
    cropped = [
        np.asarray(
            Image.fromarray(frame)
            .resize(resized, Image.Resampling.BICUBIC)
            .crop((left, top, left + side, top + side))
        )
        for frame in frames.detach().cpu().permute(0, 2, 3, 1).numpy()
    ]
    return torch.from_numpy(np.stack(cropped)).permute(0, 3, 1, 2)


def clip_input(frames: Tensor) -> Tensor:
    """Frames uint8 (k, 3, h, w) to the input of CLIP ViT-B/32 (k, 3, 224, 224), normalised."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (clip_crop(frames).float() / 255 - mean) / std


def i3d_input(frames: Tensor, side: int = i3d.SIDE) -> Tensor:
    """Frames uint8 (f, 3, h, w) to I3D's input (3, f, 224, 224) in [-1, 1], as VideoGPT makes it.

    Bilinear without antialiasing: the short side to 224, the long one by rounding up, then the centre.
    """
    height, width = frames.shape[-2:]
    scale = side / min(height, width)
    size = (side, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), side)
    resized = functional.interpolate(frames.float() / 255, size, mode="bilinear", align_corners=False)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    cropped = resized[..., top : top + side, left : left + side]
    return (cropped.transpose(0, 1) - 0.5) * 2


def c3d_input(frames: Tensor, side: int = c3d.SIDE) -> Tensor:
    """Frames uint8 (f, 3, h, w) to C3D's input (3, f, 112, 112) in BGR, 0 to 255, as TGANv2 makes it.

    Bilinear with aligned corners and without antialiasing; the aspect is squashed. The network takes the mean
    off.
    """
    resized = functional.interpolate(
        frames.flip(1).float(), (side, side), mode="bilinear", align_corners=True
    )
    return resized.transpose(0, 1)


def videomae_input(frames: Tensor, side: int = videomae.SIDE) -> Tensor:
    """Frames uint8 (f, 3, h, w) to VideoMAE's input (3, f, 224, 224) in [0, 1], as cd-fvd makes it.

    Bilinear without antialiasing; the aspect is squashed, and no mean is taken off.
    """
    resized = functional.interpolate(frames.float() / 255, (side, side), mode="bilinear", align_corners=False)
    return resized.transpose(0, 1)
