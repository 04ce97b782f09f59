"""Evaluation with the metrics beyond the paper: KID, frame consistency, diversity, FVD of VideoMAE."""

from __future__ import annotations

import json
import math

import pytest
import torch

from pos.data.benchmarks.real_videos import RealVideos
from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from pos.evaluation import gathering, run
from pos.evaluation.compare import compare_folders
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.features import FeatureSet
from pos.evaluation.frames import Frames
from pos.evaluation.gathering import Gathered
from pos.evaluation.real import RealStatistics
from pos.evaluation.reference import Reference
from pos.evaluation.score import score
from pos.metrics.consistency import frame_consistency
from pos.metrics.diversity import diversity, video_embedding
from pos.metrics.kid import kid
from pos.reporting.tables import scores_markdown

EXTRA = ["kid", "consistency", "diversity"]


def drawn(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ones(count: int) -> torch.Tensor:
    return torch.ones(1, count, dtype=torch.float64)


@pytest.fixture
def requested(make_detectors):
    """Detectors with the extras requested, with a second video network in VideoMAE's place."""
    found = make_detectors(0)
    return Detectors(fid=found.fid, clip=found.clip, fvd=found.fvd, inception=found.inception, size=(64, 64),
                     videomae=make_detectors(1).fvd, extra=[*EXTRA, "fvd_videomae"])  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Two prompts under two seeds each, and one under a single one."""
    for index, clip in enumerate(render(draw_scenes(range(5)))):
        path = tmp_path / "videos" / f"v{index}.safetensors"
        write_lossless(path, clip)
        path.with_suffix(".json").write_text(json.dumps({"prompt": f"a ring {index // 2}"}))
    return tmp_path / "videos"


def test_an_evaluation_has_them_where_they_are_requested(folder, requested, detectors, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache"}
    benchmark, path = ShapesBenchmark(size=3), tmp_path / "real.safetensors"
    run.make_reference(benchmark, requested, path, videos=folder, **settings)
    settings |= {"reference": path, "resamples": 20}
    results = run.evaluate(folder, None, benchmark, requested, tmp_path / "out", **settings)
    found = {name: entry.value for name, entry in results.metrics.items()}
    features = FeatureSet.load(tmp_path / "out" / "features.safetensors")
    clips = render(draw_scenes(range(5)))
    embeddings = requested.clip.detect(list(clips))
    assert found["consistency"] == pytest.approx(float(frame_consistency(embeddings).mean()), abs=1e-5)
    ids = [f"a ring {index // 2}" for index in range(5)]
    assert found["diversity"] == pytest.approx(
        float(diversity(video_embedding(embeddings), ids, ones(5))), abs=1e-4
    )
    rows = features.tensors["fid"]
    assert found["kid"] == pytest.approx(float(kid(rows, rows.flatten(0, 1), ones(5), ids)), rel=1e-6)
    assert found["fvd_videomae"] < 1e-6  # against itself
    assert all(results.metrics[name].low <= found[name] <= results.metrics[name].high for name in EXTRA)
    text = scores_markdown(results.to_json())
    assert all(label in text for label in ("KID ↓", "FVD (VideoMAE) ↓", "Frame consistency ↑", "Diversity ↑"))
    plain = run.evaluate(folder, None, benchmark, detectors, tmp_path / "plain", **settings)
    assert not {*EXTRA, "fvd_videomae"} & plain.metrics.keys()
    assert "KID" not in scores_markdown(plain.to_json())
    verdicts = compare_folders(tmp_path / "out", tmp_path / "out", benchmark, reference=path, resamples=20)
    assert any(verdict.startswith("KID: undecided") for verdict in verdicts)


def test_what_is_missing_is_reported(folder, requested, detectors, make_detectors, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache"}
    benchmark, path = ShapesBenchmark(size=3), tmp_path / "real.safetensors"
    run.make_reference(benchmark, detectors, path, videos=folder, **settings)
    settings |= {"reference": path, "resamples": 5}
    results = run.evaluate(folder, None, benchmark, requested, tmp_path / "out", **settings)
    assert (
        "holds no features for KID: run experiments/make_reference.py with detectors.extra=[kid]"
        in (results.absent["kid"])
    )
    assert "holds no statistics of videomae" in results.absent["fvd_videomae"]
    (folder / "v1.safetensors").unlink()
    (folder / "v3.safetensors").unlink()
    results = run.evaluate(folder, None, benchmark, requested, tmp_path / "out", **settings)
    assert math.isnan(results.metrics["diversity"].value)
    assert "No prompt has two videos: diversity is not defined." in results.notes
    found = make_detectors(0)
    misspelt = Detectors(fid=found.fid, size=(64, 64), extra=["kdi"])
    with pytest.raises(PosError, match=r"extra=\['kdi'\]: there is no metric kdi, only kid, fvd_videomae"):
        run.evaluate(folder, None, benchmark, misspelt, tmp_path / "none", **settings)
    with pytest.raises(PosError, match="there is no metric kdi"):
        run.make_reference(benchmark, misspelt, path, videos=folder, device="cpu", cache=tmp_path)


def test_single_images_have_no_motion(folder, requested, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache", "frames": Frames(images=(0,), clip=1)}
    benchmark, path = ShapesBenchmark(size=3), tmp_path / "real.safetensors"
    run.make_reference(benchmark, requested, path, videos=folder, **settings)
    results = run.evaluate(
        folder, None, benchmark, requested, tmp_path / "out", reference=path, resamples=5, **settings
    )
    assert results.metrics.keys() == {"fid", "clip_fid", "clipsim", "kid", "diversity"}
    for name in ("fvd", "is", "fvd_videomae", "consistency"):
        assert "single images: there is no motion" in results.absent[name]


def test_features_are_kept_of_a_sample_that_does_not_depend_on_the_batches(monkeypatch):
    monkeypatch.setattr(gathering, "IMAGES_OF", 5)
    rows = {"fid": drawn(0, 23, 2, 3), "fvd": drawn(1, 23, 4)}

    def gathered(size: int, stop: int = 23, known: Gathered | None = None) -> Gathered:
        found = Gathered(known.tensors if known else {}, keep_images=True)
        for start in range(found.read, stop, size):
            found.add({name: part[start : min(start + size, stop)] for name, part in rows.items()})
        return found

    images = gathered(23).images
    assert images.shape == (10, 3)
    assert torch.equal(images, gathered(4).images)
    assert torch.equal(images, gathered(3, known=gathered(4, stop=11)).images)
    frames = [row.tolist() for row in rows["fid"].flatten(0, 1)]
    places = sorted({frames.index(row.tolist()) // 2 for row in images})
    assert len(places) == 5
    assert places != [0, 1, 2, 3, 4]
    assert Gathered({}, keep_images=False).images is None


def test_a_reference_keeps_them_in_its_file_and_in_the_cache(folder, requested, tmp_path):
    real = RealStatistics(RealVideos.of_folder(folder), requested, tmp_path, Frames())
    first = real.compute()
    first.save(tmp_path / "r.safetensors")
    again = RealStatistics(RealVideos.of_folder(folder), requested, tmp_path, Frames()).compute()
    assert torch.equal(Reference.load(tmp_path / "r.safetensors").images, first.images)
    assert torch.equal(again.images, first.images)
    assert first.images.shape == (25, 6)


def test_a_score_without_extras_is_the_papers(folder, requested, tmp_path):
    settings = {"videos": folder, "device": "cpu", "cache": tmp_path}
    run.make_reference(ShapesBenchmark(size=3), requested, tmp_path / "r.safetensors", **settings)
    rows = requested(render(draw_scenes(range(5))), ["a ring"] * 5)
    features = FeatureSet(list("abcde"), rows, requested.fingerprints)
    scored = score(features, Reference.load(tmp_path / "r.safetensors"), resamples=5)
    assert scored.samples.keys() == {"fid", "clip_fid", "clipsim", "fvd", "is"}
