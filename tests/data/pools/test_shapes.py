from __future__ import annotations

import pytest
import torch

from pos.data.pools.shapes import ShapesPool
from pos.data.shapes.splits import held_out
from pos.data.shapes.splits import pool as shapes_clips
from pos.data.shapes.world import render
from pos.errors import PosError


class TestShapesPool:
    def test_pairs_are_those_of_the_split(self):
        pool = ShapesPool(20)
        assert len(pool) == 20 == len(set(pool.ids))
        assert pool.captions == [clip.caption for clip in shapes_clips(20)]

    def test_a_clip_is_the_rendering_of_its_scene(self):
        clip = shapes_clips(5)[3]
        assert torch.equal(ShapesPool(5).video(3, 16, 64, 64), render(clip.scene)[0])
        assert ShapesPool(5).video(3, 4, 32, 32).shape == (4, 3, 32, 32)

    def test_fingerprint_is_of_the_content(self):
        assert ShapesPool(5).fingerprint == ShapesPool(5).fingerprint != ShapesPool(6).fingerprint

    @pytest.mark.parametrize("size", [0, -1])
    def test_empty(self, size):
        with pytest.raises(PosError, match="at least 1"):
            ShapesPool(size)

    def test_not_square(self):
        with pytest.raises(PosError, match="32x64"):
            ShapesPool(1).video(0, 16, 32, 64)

    def test_a_larger_pool_begins_with_a_smaller_one_and_holds_no_prompt_either(self):
        large, small = ShapesPool(10_000), ShapesPool(100)
        assert large.captions[:100] == small.captions
        assert not any(held_out(caption) for caption in large.captions)
        assert len(set(large.ids)) == 10_000

    def test_the_first_pairs_may_be_more_than_there_are(self):
        pool = ShapesPool(5)
        assert pool.first(5) is pool
        assert pool.first(3).fingerprint == ShapesPool(3).fingerprint
        assert pool.first(8).fingerprint == ShapesPool(8).fingerprint

    def test_clips_rendered_together_are_those_rendered_alone(self):
        pool = ShapesPool(40)
        clips = [7, 3, 39, 3]
        for clip, video in zip(clips, pool.videos(clips, 5, 32, 32), strict=True):
            assert torch.equal(video, pool.video(clip, 5, 32, 32))
        assert pool.videos([], 5, 32, 32) == []
        assert len(set(pool.contents)) == 40
        assert pool.first(3).contents == pool.contents[:3]
