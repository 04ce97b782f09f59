import pytest
import torch

from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.shapes import splits
from pos.data.shapes.captions import named_attributes
from pos.data.shapes.world import render
from pos.errors import PosError


def test_prompts_are_those_of_the_split():
    assert [p.id for p in ShapesBenchmark("test", size=3).prompts] == [
        "test-0000",
        "test-0001",
        "test-0002",
    ]
    assert ShapesBenchmark("validation").prompts == splits.validation_prompts()
    assert len(ShapesBenchmark().prompts) == 2048


def test_references_are_the_held_out_clips_with_their_captions():
    videos, captions = next(ShapesBenchmark(size=1).references(batch_size=5))
    clips = splits.references(5)
    assert videos.dtype == torch.uint8
    assert videos.shape == (5, 16, 3, 64, 64)
    assert captions == [clip.caption for clip in clips]
    assert torch.equal(videos[3], render(clips[3].scene)[0])
    for caption, clip in zip(captions, clips, strict=True):
        assert set(named_attributes(caption).values()) <= set(clip.scene.attributes[0].tolist())


def test_every_reference_comes_once(monkeypatch):
    clips = splits.references(10)
    monkeypatch.setattr(splits, "references", lambda: clips)
    batches = [captions for _, captions in ShapesBenchmark(size=1).references(batch_size=4)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [caption for batch in batches for caption in batch] == [clip.caption for clip in clips]


def test_wrong_splits_and_numbers_are_named():
    with pytest.raises(PosError, match="'test' or 'validation', not 'train'"):
        ShapesBenchmark("train")
    with pytest.raises(PosError, match="between 1 and 2048, not 2049"):
        ShapesBenchmark("validation", size=2049)
