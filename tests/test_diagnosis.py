"""The diagnosis of a model with a closed form, and of a shipped world from the command line."""

import json

import pytest
import torch

from pos.diagnosis import InvertedNoise, advice, diagnose, lines, low_share
from pos.diffusion.levels import ddim_levels
from pos.errors import PosError
from pos.ona.moments import Moments
from tests.closed_form import ColourBackbone, ColourPool


def test_the_leak_is_that_of_the_pools_latents(tmp_path):
    found = diagnose(ColourBackbone(), ColourPool(), steps=4, clips=3, cache=tmp_path)
    backbone, pool = ColourBackbone(), ColourPool()
    latents = backbone.encode(torch.stack(pool.videos([0, 1, 2], 2, 4, 4)))
    assert found.leak == pytest.approx(Moments.of([latents]).leak(ddim_levels(4)[4]))
    assert sum(found.bands.values()) == pytest.approx(found.leak)
    assert (found.clips, found.inverted.clips) == (3, 3)
    assert json.loads(json.dumps(found.to_json()))["backbone"] == "colour"


def test_nothing_is_inverted_where_that_is_not_requested(tmp_path):
    backbone = ColourBackbone()
    found = diagnose(backbone, ColourPool(), clips=0, cache=tmp_path)
    assert found.inverted is None
    assert backbone.calls == []
    assert "Inverted noise" not in lines(found)


@pytest.mark.parametrize("clips", [-1, 4])
def test_more_clips_than_the_pool_has_are_refused(tmp_path, clips):
    with pytest.raises(PosError, match=rf"clips={clips} is not possible: the pool has 3"):
        diagnose(ColourBackbone(), ColourPool(), clips=clips, cache=tmp_path)


def test_the_low_share_of_white_noise_is_one():
    noise = torch.randn(64, 4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert low_share(noise) == pytest.approx(1, abs=0.03)
    assert low_share(noise.cumsum(-1)) > 1.5


def test_what_to_expect_follows_from_the_leak():
    assert "no clip will change FVD" in advice(0.14, None)[0]
    assert "has something to give" in advice(1.7, None)[0]
    assert "has much to give" in advice(16, None)[0]
    usual, odd = InvertedNoise(8, 1.0, 0.01, 1.0, 25.0), InvertedNoise(8, 0.4, 0.01, 1.0, 12.0)
    assert len(advice(16, usual)) == 2
    assert [sentence.split(" ")[2] for sentence in advice(16, odd)[2:]] == ["leads", "has"]


def test_the_order_of_the_shipped_worlds_is_that_of_their_leaks(tmp_path):
    from pos.backbones.scvideo import load_shapes
    from pos.data.pools.shapes import ShapesPool

    files = (
        "shapes/scvideo_shift1.safetensors",
        "shapes/scvideo_shift0.4.safetensors",
        "shapes/scvideo.safetensors",
    )
    leaks = [
        diagnose(load_shapes(unet, device="cpu"), ShapesPool(64), clips=0, cache=tmp_path).leak
        for unet in files
    ]
    assert leaks == sorted(leaks, reverse=True)
    assert leaks[0] > 5 > leaks[1] > 0.5 > leaks[2]
