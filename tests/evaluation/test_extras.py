"""The metrics beyond the paper: KID, frame consistency and diversity, and FVD of another network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from torchmetrics.image.kid import poly_mmd

from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.real import RealVideos
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from pos.evaluation import gathering, run
from pos.evaluation.bootstrap import Resampling
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


def named(count: int) -> list[str]:
    return [str(place) for place in range(count)]


def ones(count: int) -> torch.Tensor:
    return torch.ones(1, count, dtype=torch.float64)


class TestKID:
    def test_is_torchmetrics_of_one_subset_that_is_the_whole_set(self):
        features, real = drawn(0, 40, 1, 16), drawn(1, 40, 16, scale=1.3)
        expected = poly_mmd(real.double(), features[:, 0].double())
        assert float(kid(features, real, ones(40), named(40))) == pytest.approx(float(expected), rel=1e-9)

    def test_is_the_mean_of_clean_fids_subsets(self):
        """Which are random: within four of their standard errors."""
        cleanfid = pytest.importorskip("cleanfid.fid")
        features, real = drawn(0, 200, 1, 8).double() + 0.3, drawn(1, 150, 8).double()
        np.random.seed(0)  # noqa: NPY002 - clean-fid draws from it
        draws = [
            cleanfid.kernel_distance(real.numpy(), features[:, 0].numpy(), num_subsets=1, max_subset_size=60)
            for _ in range(400)
        ]
        exact = float(kid(features, real, ones(200), named(200)))
        assert abs(np.mean(draws) - exact) < 4 * np.std(draws) / 20
        assert exact == pytest.approx(np.mean(draws), rel=0.1)
        assert exact > 4 * np.std(draws) / 20

    def test_is_without_bias(self):
        """Sets of one distribution: around zero at any size, on both sides of it."""
        found = [
            float(kid(drawn(s, 12, 1, 4), drawn(1000 + s, 15, 4), ones(12), named(12))) for s in range(300)
        ]
        assert abs(np.mean(found)) < 4 * np.std(found) / len(found) ** 0.5
        assert 0.2 < np.mean(np.array(found) < 0) < 0.8

    def test_frames_are_images_of_their_own(self, monkeypatch):
        features, real = drawn(0, 10, 3, 8), drawn(1, 30, 8)
        whole = kid(features, real, ones(10), named(10))
        assert torch.allclose(whole, kid(features.reshape(30, 1, 8), real, ones(30), named(30)))
        monkeypatch.setattr("pos.metrics.kid._ROWS", 7)  # blocks that do not divide anything
        assert torch.allclose(kid(features, real, ones(10), named(10)), whole)

    def test_weights_are_repetitions_that_make_no_pair(self):
        """A video of weight 0 is not there; equal weights of single images change nothing."""
        features, real = drawn(0, 10, 1, 8), drawn(1, 30, 8)
        weights = torch.cat([ones(10), 3 * ones(10), ones(10)])
        weights[2, 7:] = 0
        found = kid(features, real, weights, named(10))
        assert not torch.isclose(found[0], found[2])
        assert torch.isclose(found[0], found[1])
        assert torch.isclose(found[2], kid(features[:7], real, ones(7), named(7))[0])

    def test_resampling_does_not_inflate_it(self):
        """Videos of alike frames, under two alike seeds: their pairs must not count twice in a resample."""
        prompts = drawn(0, 30, 1, 1, 8) + 0.5 * drawn(1, 30, 2, 1, 8)
        features = (prompts + 0.1 * drawn(2, 30, 2, 3, 8)).reshape(60, 3, 8)
        ids = [f"p{place // 2}" for place in range(60)]
        weights = Resampling.of(ids, resamples=2000).weights
        found = kid(features, drawn(3, 90, 8), weights, ids)
        spread = found[1:].std()
        assert abs(found[1:].mean() - found[0]) < 0.2 * spread
        assert spread > 0


class TestConsistency:
    def test_is_the_cosine_of_the_angle_between_neighbours(self):
        angles = torch.tensor([[0.0, 0.3, 0.6, 0.9], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
        frames = torch.stack([angles.cos(), angles.sin()], -1) * torch.tensor([1, 2, 3, 4])[None, :, None]
        expected = torch.tensor([0.3, 0.0, 1.0]).cos()
        assert torch.allclose(frame_consistency(frames), expected, atol=1e-6)


class TestDiversity:
    def test_is_the_mean_over_prompts_of_the_mean_distance_of_pairs(self):
        angles = torch.tensor([0.0, 0.4, 1.0, 0.0, 0.2, 2.0])
        embeddings = torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, 7)[:, None]
        ids = ["a", "b", "a", "b", "a", "alone"]
        a = 3 - np.cos(1.0) - np.cos(0.2) - np.cos(0.8)
        b = 1 - np.cos(0.4)
        assert float(diversity(embeddings, ids, ones(6))) == pytest.approx((a / 3 + b) / 2, abs=1e-6)
        twice_b = torch.tensor([[1.0, 2, 1, 2, 1, 5]])
        assert float(diversity(embeddings, ids, twice_b)) == pytest.approx((a / 3 + 2 * b) / 3, abs=1e-6)

    def test_equal_videos_have_none_and_single_ones_are_not_defined(self):
        assert float(diversity(torch.ones(4, 3), ["a"] * 4, ones(4))) == pytest.approx(0, abs=1e-12)
        assert diversity(torch.ones(2, 3), ["a", "b"], ones(2)).isnan().all()

    def test_a_video_is_the_mean_of_its_normalised_frames(self):
        frames = drawn(0, 2, 3, 4) * torch.tensor([1.0, 10, 100])[None, :, None]
        assert torch.allclose(video_embedding(frames), normalize(frames, dim=-1).mean(1))


@pytest.fixture
def asked(make_detectors):
    """Detectors that were asked for the extras, with a second video network in VideoMAE's place."""
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


def test_an_evaluation_has_them_where_they_are_asked_for(folder, asked, detectors, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache"}
    benchmark, path = ShapesBenchmark(size=3), tmp_path / "real.safetensors"
    run.make_reference(benchmark, asked, path, videos=folder, **settings)
    settings |= {"reference": path, "resamples": 20}
    results = run.evaluate(folder, None, benchmark, asked, tmp_path / "out", **settings)
    found = {name: entry["value"] for name, entry in results["metrics"].items()}
    features = FeatureSet.load(tmp_path / "out" / "features.safetensors")
    clips = render(draw_scenes(range(5)))
    embeddings = asked.clip.detect(list(clips))
    assert found["consistency"] == pytest.approx(float(frame_consistency(embeddings).mean()), abs=1e-5)
    ids = [f"a ring {index // 2}" for index in range(5)]
    assert found["diversity"] == pytest.approx(
        float(diversity(video_embedding(embeddings), ids, ones(5))), abs=1e-4
    )
    rows = features.tensors["fid"]
    assert found["kid"] == pytest.approx(float(kid(rows, rows.flatten(0, 1), ones(5), ids)), rel=1e-6)
    assert found["fvd_videomae"] < 1e-6  # against itself
    assert all(
        results["metrics"][name]["low"] <= found[name] <= results["metrics"][name]["high"] for name in EXTRA
    )
    text = scores_markdown(results)
    assert all(label in text for label in ("KID ↓", "FVD (VideoMAE) ↓", "Frame consistency ↑", "Diversity ↑"))
    plain = run.evaluate(folder, None, benchmark, detectors, tmp_path / "plain", **settings)
    assert not {*EXTRA, "fvd_videomae"} & plain["metrics"].keys()
    assert "KID" not in scores_markdown(plain)
    verdicts = compare_folders(tmp_path / "out", tmp_path / "out", benchmark, reference=path, resamples=20)
    assert any(verdict.startswith("KID: undecided") for verdict in verdicts)


def test_what_they_lack_is_told(folder, asked, detectors, make_detectors, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache"}
    benchmark, path = ShapesBenchmark(size=3), tmp_path / "real.safetensors"
    run.make_reference(benchmark, detectors, path, videos=folder, **settings)
    settings |= {"reference": path, "resamples": 5}
    results = run.evaluate(folder, None, benchmark, asked, tmp_path / "out", **settings)
    assert (
        "holds no features for KID: run experiments/make_reference.py with detectors.extra=[kid]"
        in (results["absent"]["kid"])
    )
    assert "holds no statistics of videomae" in results["absent"]["fvd_videomae"]
    (folder / "v1.safetensors").unlink()
    (folder / "v3.safetensors").unlink()
    results = run.evaluate(folder, None, benchmark, asked, tmp_path / "out", **settings)
    assert results["metrics"]["diversity"]["value"] is None
    assert "No prompt has two videos: diversity is not defined." in results["notes"]
    found = make_detectors(0)
    misspelt = Detectors(fid=found.fid, size=(64, 64), extra=["kdi"])
    with pytest.raises(PosError, match=r"extra=\['kdi'\]: there is no metric kdi, only kid, fvd_videomae"):
        run.evaluate(folder, None, benchmark, misspelt, tmp_path / "none", **settings)
    with pytest.raises(PosError, match="there is no metric kdi"):
        run.make_reference(benchmark, misspelt, path, videos=folder, device="cpu", cache=tmp_path)


def test_single_images_have_no_motion(folder, asked, tmp_path):
    settings = {"device": "cpu", "cache": tmp_path / "cache", "frames": Frames(images=(0,), clip=1)}
    benchmark, path = ShapesBenchmark(size=3), tmp_path / "real.safetensors"
    run.make_reference(benchmark, asked, path, videos=folder, **settings)
    results = run.evaluate(
        folder, None, benchmark, asked, tmp_path / "out", reference=path, resamples=5, **settings
    )
    assert results["metrics"].keys() == {"fid", "clip_fid", "clipsim", "kid", "diversity"}
    for name in ("fvd", "is", "fvd_videomae", "consistency"):
        assert "single images: there is no motion" in results["absent"][name]


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


def test_a_reference_keeps_them_in_its_file_and_in_the_cache(folder, asked, tmp_path):
    real = RealStatistics(RealVideos.of_folder(folder), asked, tmp_path, Frames())
    first = real.compute()
    first.save(tmp_path / "r.safetensors")
    again = RealStatistics(RealVideos.of_folder(folder), asked, tmp_path, Frames()).compute()
    assert torch.equal(Reference.load(tmp_path / "r.safetensors").images, first.images)
    assert torch.equal(again.images, first.images)
    assert first.images.shape == (25, 6)


def test_a_score_without_extras_is_the_papers(folder, asked, tmp_path):
    settings = {"videos": folder, "device": "cpu", "cache": tmp_path}
    run.make_reference(ShapesBenchmark(size=3), asked, tmp_path / "r.safetensors", **settings)
    rows = asked(render(draw_scenes(range(5))), ["a ring"] * 5)
    features = FeatureSet(list("abcde"), rows, asked.fingerprints)
    scored = score(features, Reference.load(tmp_path / "r.safetensors"), resamples=5)
    assert scored.samples.keys() == {"fid", "clip_fid", "clipsim", "fvd", "is"}
