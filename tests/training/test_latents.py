"""The data of SCVideo and NPNet: what the tensors are, when they are made, and which rows a step sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import pos.training.latents
from pos.backbones.scvideo import load_shapes
from pos.data.shapes.splits import references, training_batch
from pos.data.shapes.world import Scenes, render
from pos.diffusion.ddim import Guided, invert
from pos.errors import PosError
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.networks.tokens import tokenize
from pos.storage import asset
from pos.training.latents import LatentData
from pos.training.targets import InvertedNoises, Latents, Targets

Write = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, write_tiny_shapes: Write) -> dict[str, str]:
    return write_tiny_shapes(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pos.training.latents, "CHUNK", 4)


def data(
    targets: Targets, cache: Path, rank: int = 0, step: int = 0, world: int = 1, **other: int
) -> LatentData:
    settings = {"clips": 6, "captions": 2, "batch_size": 5, "seed": 3, "workers": 0, "validation": 5, **other}
    module = LatentData(targets, cache=str(cache), **settings)
    module.trainer = SimpleNamespace(
        global_rank=rank,
        global_step=step,
        world_size=world,
        is_global_zero=rank == 0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    module.setup("fit")
    return module


def test_validation_is_the_references_encoded_with_their_captions(
    files: dict[str, str], tmp_path: Path
) -> None:
    batches = list(data(Latents(files["autoencoder"]), tmp_path).val_dataloader())
    targets, ids = (torch.cat([batch[name] for batch in batches]) for name in ("targets", "input_ids"))
    clips = references(5)
    videos = render(Scenes.cat([clip.scene for clip in clips]))
    wanted = load_shapes(**files, device="cpu").encode(videos)
    torch.testing.assert_close(targets.float(), wanted, rtol=2e-3, atol=2e-3)
    tokens = tokenize(load_tokenizer(asset("shapes/tokenizer.json")), [clip.caption for clip in clips])
    assert torch.equal(ids, tokens)


def test_training_rows_are_clips_of_the_stream_with_their_captions(
    files: dict[str, str], tmp_path: Path
) -> None:
    targets, tokens = data(Latents(files["autoencoder"]), tmp_path)._sets["train"]
    assert targets.shape == (6, 4, 16, 8, 8)
    assert tokens.shape == (6, 2, 64)
    first = training_batch(3, 0, 4)
    wanted = load_shapes(**files, device="cpu").encode(render(first.scenes))
    torch.testing.assert_close(targets[:4].float(), wanted, rtol=2e-3, atol=2e-3)
    own = tokenize(load_tokenizer(asset("shapes/tokenizer.json")), first.captions)
    assert torch.equal(tokens[:4, 0].long(), own)
    assert not torch.equal(tokens[:, 0], tokens[:, 1])


def test_batches_are_rows_drawn_by_seed_process_and_step(files: dict[str, str], tmp_path: Path) -> None:
    module = data(Latents(files["autoencoder"]), tmp_path)
    stream = iter(module.train_dataloader())
    batches = [next(stream) for _ in range(3)]
    targets, tokens = module._sets["train"]
    for batch in batches:
        assert batch["targets"].shape[0] == 5
        rows = [int((targets == row).flatten(1).all(1).nonzero()) for row in batch["targets"]]
        for row, ids in zip(rows, batch["input_ids"], strict=True):
            assert (tokens[row].long() == ids).all(1).any()
    resumed = next(iter(data(Latents(files["autoencoder"]), tmp_path, step=2).train_dataloader()))
    assert torch.equal(resumed["targets"], batches[2]["targets"])
    assert torch.equal(resumed["input_ids"], batches[2]["input_ids"])
    assert not torch.equal(batches[0]["targets"], batches[1]["targets"])


def test_processes_have_their_own_clips_and_share_the_validation(
    files: dict[str, str], tmp_path: Path
) -> None:
    modules = [data(Latents(files["autoencoder"]), tmp_path, rank=rank, world=2) for rank in range(2)]
    first, second = (module._sets["train"][0] for module in modules)
    assert not any(torch.equal(a, b) for a in first for b in second)
    shares = [len(batch["targets"]) for module in modules for batch in module.val_dataloader()]
    assert sorted(shares) == [2, 3]


def test_a_finished_set_is_read_again_and_only_for_the_same_networks(
    files: dict[str, str], tmp_path: Path, write_tiny_shapes: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = data(Latents(files["autoencoder"]), tmp_path)._sets["train"][0]
    calls = []
    encode = Latents.__call__
    monkeypatch.setattr(Latents, "__call__", lambda self, videos: calls.append(1) or encode(self, videos))
    again = data(Latents(files["autoencoder"]), tmp_path, batch_size=2)._sets["train"][0]
    assert torch.equal(again, made)
    assert not calls
    (tmp_path / "other").mkdir()
    other = write_tiny_shapes(tmp_path / "other", seed=1)
    assert not torch.equal(data(Latents(other["autoencoder"]), tmp_path)._sets["train"][0], made)
    assert calls


def test_noises_are_inversions_under_the_empty_prompt(files: dict[str, str], tmp_path: Path) -> None:
    targets = InvertedNoises(partial(load_shapes, **files), steps=3)
    noises = data(targets, tmp_path, clips=2)._sets["train"][0]
    backbone = load_shapes(**files, device="cpu")
    empty = backbone.encode_text([""]).repeat(2)
    latents = backbone.encode(render(training_batch(3, 0, 2).scenes))
    wanted = invert(Guided(backbone.predict, lambda _: empty), latents, backbone.levels(3)).noise
    torch.testing.assert_close(noises.float(), wanted, rtol=5e-3, atol=5e-3)
    assert not torch.allclose(noises.float(), latents, atol=0.1)


def test_bad_numbers(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(PosError, match="clips=0"):
        LatentData(Latents(files["autoencoder"]), 0, 1, 1, 0, str(tmp_path))
