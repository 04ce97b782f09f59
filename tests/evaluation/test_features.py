"""Detectors: which frames they read, what they return, how sets of features are kept."""

import itertools
import weakref
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import CaptionedVideo, extract, extract_to
from pos.evaluation.features import FeatureSet
from pos.storage import TensorCache


def test_each_detector_reads_its_frames(detectors, clips):
    prompts = ["ring moving left", "a red circle"]
    rows = detectors(clips[:2], prompts)
    assert rows["fid"].shape == rows["clip"].shape == (2, 5, 6)
    assert rows["fvd"].shape == (2, 6)
    assert rows["classes"].sum(1).tolist() == pytest.approx([1, 1])
    changed = clips[:2].clone()
    changed[:, [0, 4, 8, 12, 15]] = 255 - changed[:, [0, 4, 8, 12, 15]]
    kept = [index for index in range(16) if index not in (0, 4, 8, 12, 15)]
    others = clips[:2].clone()
    others[:, kept] = 255 - others[:, kept]
    for name in ("fid", "clip"):
        assert torch.allclose(detectors(others, prompts)[name], rows[name], atol=1e-5)
        assert not torch.allclose(detectors(changed, prompts)[name], rows[name], atol=1e-3)
    assert not torch.allclose(
        detectors(others, prompts)["clipsim"], rows["clipsim"], atol=1e-5
    )  # every frame


def test_clip_features_are_not_normalised_but_clipsim_is_a_cosine(detectors, clips):
    prompts = ["ring moving left", "a red circle"]
    rows = detectors(clips[:2], prompts)
    assert not torch.allclose(rows["clip"].norm(dim=-1), torch.ones(2, 5), atol=1e-2)
    frames = detectors.clip.network.encode_frames(clips[:2])
    assert torch.allclose(normalize(rows["clip"], dim=-1), frames[:, [0, 4, 8, 12, 15]], atol=1e-5)
    tokens = detectors.clip.tokenizer(prompts, padding=True, return_tensors="pt")
    texts = detectors.clip.network.encode_text(tokens["input_ids"], tokens["attention_mask"])
    assert torch.allclose(rows["clipsim"], (frames @ texts[:, :, None]).mean((1, 2)), atol=1e-5)


def test_the_judge_answers_in_the_order_of_the_attributes(detectors, clips):
    """Its heads are stored in another order."""
    logits = detectors.judge.network(clips)
    judged = detectors(clips, ["a ring"] * len(clips))["judged"]
    for column, name in enumerate(ATTRIBUTES):
        assert torch.equal(judged[:, column], logits[name].argmax(-1))


def test_long_prompts_are_truncated_to_the_context(detectors, clips):
    assert detectors(clips[:1], ["a red ring " * 100])["clipsim"].isfinite().all()


def test_batches_change_nothing(detectors, clips):
    prompts = [f"{'very ' * (index % 5)}red ring" for index in range(len(clips))]
    ids = [str(index) for index in range(len(clips))]
    whole = extract(clips, ids, prompts, detectors, batch_size=12)
    parts = extract(iter(clips), ids, prompts, detectors, batch_size=5)
    for name, tensor in whole.tensors.items():
        assert torch.allclose(tensor.float(), parts.tensors[name].float(), atol=1e-4), name


def test_a_killed_run_goes_on_from_its_cache(detectors, clips, tmp_path, monkeypatch):
    cache = TensorCache(tmp_path, "features")
    prompts, ids = ["a red ring"] * 12, ["p"] * 12

    def broken():
        yield from clips[:8]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(broken(), ids, prompts, detectors, batch_size=4, cache=cache)
    seen = []
    forward = detectors.forward
    monkeypatch.setattr(
        detectors, "forward", lambda videos, *rest: seen.append(len(videos)) or forward(videos, *rest)
    )
    features = extract(clips, ids, prompts, detectors, batch_size=4, cache=cache)
    assert seen == [4]  # two of three batches were there
    fresh = extract(clips, ids, prompts, detectors, batch_size=4)
    assert all(torch.equal(features.tensors[name], fresh.tensors[name]) for name in fresh.tensors)
    extract(clips, ids, ["a blue ring"] * 12, detectors, batch_size=4, cache=cache)
    assert len(seen) == 1 + 3 + 3  # other prompts are other features


def test_a_set_survives_the_disk(detectors, clips, tmp_path):
    features = extract(clips, list("abcdefghijkl"), ["ring moving left"] * 12, detectors)
    features.save(tmp_path / "features.safetensors")
    again = FeatureSet.load(tmp_path / "features.safetensors")
    assert (again.ids, again.detectors) == (features.ids, features.detectors)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in features.tensors.items())


def test_a_stream_of_videos_gives_the_file_of_the_set(detectors, clips, tmp_path):
    prompts, ids = ["a red ring"] * 12, list("abcdefghijkl")
    samples = (CaptionedVideo(*part) for part in zip(ids, prompts, clips, strict=True))
    streamed = extract_to(tmp_path / "features.safetensors", samples, 12, detectors, batch_size=5)
    whole = extract(clips, ids, prompts, detectors, batch_size=5)
    assert (streamed.ids, streamed.detectors) == (whole.ids, whole.detectors)
    assert all(torch.equal(streamed.tensors[name], tensor) for name, tensor in whole.tensors.items())
    assert [path.name for path in tmp_path.iterdir()] == ["features.safetensors"]
    with pytest.raises(PosError, match="no video to score"):
        extract_to(tmp_path / "empty.safetensors", [], 0, detectors)
    assert [path.name for path in tmp_path.iterdir()] == ["features.safetensors"]


class Wide(Detectors):
    """A megabyte of features a video."""

    def forward(self, videos, *_):
        return {"fvd": torch.zeros(len(videos), 2**18), "named": torch.zeros(len(videos), 6).long()}


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured by Linux")
def test_memory_does_not_grow_with_the_videos(tmp_path):
    """400 MB of features pass through, none of which stays, and one batch of videos is alive at a time."""
    alive, most = 0, [0, 0]

    def buried():
        nonlocal alive
        alive -= 1

    def videos():
        nonlocal alive
        for index in range(400):
            video = torch.zeros(16, 3, 8, 8, dtype=torch.uint8)
            weakref.finalize(video, buried)
            alive += 1
            most[0], most[1] = max(most[0], alive), max(most[1], anonymous_memory() - before)
            yield CaptionedVideo(str(index), "a ring", video)
            del video

    before = anonymous_memory()
    extract_to(tmp_path / "first.safetensors", itertools.islice(videos(), 20), 20, Wide(), batch_size=10)
    before, most[1] = anonymous_memory(), 0  # what the first batches take, the process keeps
    features = extract_to(tmp_path / "features.safetensors", videos(), 400, Wide(), batch_size=10)
    assert features.tensors["fvd"].shape == (400, 2**18)
    assert most[0] <= 21
    assert max(most[1], anonymous_memory() - before) < 100e6


def test_fingerprints_tell_weights_apart(make_detectors):
    first, same, other = make_detectors(0), make_detectors(0), make_detectors(1)
    assert first.fingerprints == same.fingerprints
    assert all(first.fingerprints[name] != other.fingerprints[name] for name in first.fingerprints)


def test_bad_input_is_named(detectors, make_detectors, clips, tmp_path):
    with pytest.raises(PosError, match=r"16, 3, 64, 64.*not torch.uint8 \(8, 3, 64, 64\)"):
        extract(clips[:, :8], ["a"] * 12, ["a"] * 12, detectors)
    with pytest.raises(PosError, match="only 12 videos for 13 prompts"):
        extract(clips, ["a"] * 13, ["a"] * 13, detectors)
    with pytest.raises(PosError, match="more videos than the 3 prompts"):
        extract(clips, ["a"] * 3, ["a"] * 3, detectors)
    with pytest.raises(PosError, match="2 ids for 3 prompts"):
        extract(clips, ["a"] * 2, ["a"] * 3, detectors)
    with pytest.raises(PosError, match=r"one number of frames, and there are \[8, 16\]"):
        extract([clips[0], clips[1][:8]], ["a"] * 2, ["a"] * 2, detectors)
    with pytest.raises(PosError, match="batch_size must be at least 1, not 0"):
        extract(clips, ["a"] * 12, ["a"] * 12, detectors, batch_size=0)
    broken = make_detectors()
    broken.fvd.network.penultimate[1].bias.fill_(float("nan"))
    with pytest.raises(PosError, match="'fvd' of the video with id x are not finite"):
        extract(clips[:1], ["x"], ["a ring"], broken)
    with pytest.raises(PosError, match="no file"):
        FeatureSet.load(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"123")
    with pytest.raises(PosError, match="not a readable safetensors"):
        FeatureSet.load(tmp_path / "cut.safetensors")
