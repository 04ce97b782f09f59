"""What the paper's networks are fed, against the libraries that the original codes call."""

import numpy as np
import pytest
import torch
from PIL import Image

from pos.evaluation.detectors.preprocessing import c3d_input, clean_resize, clip_crop, clip_input, i3d_input

SIZES = [(64, 64), (96, 128), (128, 96), (75, 101), (224, 224), (225, 340), (299, 299), (31, 500)]


def frames(height: int, width: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width)
    coarse = torch.randint(0, 256, (count, 3, 9, 9), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (smooth + torch.randint(-20, 20, smooth.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_clip_crop_is_torchvisions(size):
    transforms = pytest.importorskip("torchvision.transforms")
    bicubic = transforms.InterpolationMode.BICUBIC
    theirs = transforms.Compose([transforms.Resize(224, bicubic), transforms.CenterCrop(224)])
    video = frames(*size)
    expected = [np.asarray(theirs(Image.fromarray(f.permute(1, 2, 0).numpy()))) for f in video]
    assert np.array_equal(clip_crop(video).permute(0, 2, 3, 1).numpy(), np.stack(expected))


def test_clip_input_is_that_of_open_clip():
    open_clip = pytest.importorskip("open_clip")
    theirs = open_clip.image_transform((224, 224), is_train=False)
    video = frames(96, 128)
    expected = torch.stack([theirs(Image.fromarray(f.permute(1, 2, 0).numpy())) for f in video])
    assert torch.allclose(clip_input(video), expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_clean_resize_is_clean_fids(size):
    theirs = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    video = frames(*size, count=1)
    expected = theirs(video[0].permute(1, 2, 0).numpy())
    assert np.array_equal(clean_resize(video)[0].permute(1, 2, 0).numpy(), expected)


def test_clean_resize_clips_once_and_does_not_round():
    step = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    step[..., 20:] = 255
    resized = clean_resize(step)
    assert (resized.min(), resized.max()) == (0, 255)  # a bicubic kernel overshoots
    assert not torch.equal(resized, resized.round())


@pytest.mark.parametrize(("size", "kept"), [((64, 64), 224), ((48, 80), 224), ((112, 113), 224)])
def test_i3d_scales_the_short_side_and_crops_the_centre(size, kept):
    clip = torch.zeros(10, 3, *size, dtype=torch.uint8)
    clip[:, 0] = 255
    out = i3d_input(clip)
    assert out.shape == (3, 10, kept, kept)
    assert torch.allclose(out[0], torch.ones(()), atol=1e-6)
    assert torch.allclose(out[1:], -torch.ones(()), atol=1e-6)
    ramp = torch.arange(size[1]).expand(10, 3, *size).to(torch.uint8)
    middle = i3d_input(ramp)[0, 0, 0]
    assert torch.allclose(middle + middle.flip(0), 2 * middle.mean(), atol=2e-2)  # the crop is centred


def test_c3d_reads_bgr_and_keeps_corners():
    clip = torch.zeros(16, 3, 30, 40, dtype=torch.uint8)
    clip[:, 0], clip[:, 2, 0, 0], clip[:, 2, -1, -1] = 200, 10, 20
    out = c3d_input(clip)
    assert out.shape == (3, 16, 112, 112)
    assert torch.allclose(out[2], torch.tensor(200.0), atol=1e-3)
    assert out[0, 0, [0, -1], [0, -1]].tolist() == pytest.approx([10, 20], abs=1e-3)
