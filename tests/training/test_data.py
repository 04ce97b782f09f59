"""Batches: shapes, determinism, resumption, and the frames drawn from a clip."""

from types import SimpleNamespace

import pytest
import torch

from pos.data.shapes.splits import training_batch
from pos.data.shapes.world import render
from pos.errors import PosError
from pos.training.data import ShapesData, sample_frames


def data(step: int = 0, rank: int = 0, world: int = 1, **settings) -> ShapesData:
    module = ShapesData(batch_size=3, seed=5, workers=0, validation=5, validation_batch_size=2, **settings)
    module.trainer = SimpleNamespace(global_step=step, global_rank=rank, world_size=world)
    return module


def test_a_batch_is_rendered_where_it_arrives():
    module = data()
    batch = module.on_after_batch_transfer(next(iter(module.train_dataloader())), 0)
    assert set(batch) == {"videos", "attributes"}
    expected = training_batch(5, 0, 3)
    assert torch.equal(batch["videos"], render(expected.scenes))
    assert torch.equal(batch["attributes"], expected.scenes.attributes)


def test_the_stream_goes_on_where_a_checkpoint_was_made_and_processes_take_turns():
    def attributes(**position):
        stream = iter(data(**position).train_dataloader())
        return [next(stream)["scenes"].attributes for _ in range(3)]

    whole = attributes()
    assert torch.equal(attributes(step=2)[0], whole[2])
    assert torch.equal(attributes(rank=1, world=2)[0], whole[1])
    assert torch.equal(attributes(step=1, world=2)[0], whole[2])


def test_captions_become_tokens_of_the_context_length():
    module = data(details=[3])
    batch = next(iter(module.train_dataloader()))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, 64)
    kept = batch["input_ids"][batch["attention_mask"].bool()]
    assert (kept == 2).sum() == 3  # one end of text each
    assert batch["attention_mask"].sum(1).min() > 10  # a detailed caption


def test_validation_clips_are_all_there_and_the_same_again():
    module = data(details=[0])
    first, second = list(module.val_dataloader()), list(module.val_dataloader())
    assert [len(batch["scenes"]) for batch in first] == [2, 2, 1]
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(first, second, strict=True))


def test_frames_are_drawn_in_order_without_repetition():
    videos = torch.arange(16).repeat(200, 1)
    drawn = sample_frames(videos, 4, torch.Generator().manual_seed(0))
    assert drawn.shape == (200, 4)
    assert (drawn.diff(dim=1) > 0).all()
    assert torch.equal(drawn.unique(), torch.arange(16))
    assert torch.equal(sample_frames(videos, 16, torch.Generator()), videos)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"workers": -1}, "workers -1"),
        ({"details": [4]}, r"\[4\].*0\.\.3"),
    ],
)
def test_impossible_settings_are_refused(settings, told):
    with pytest.raises(PosError, match=told):
        ShapesData(**{"batch_size": 1, "seed": 0, **settings})
