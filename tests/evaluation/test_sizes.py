"""Distances at several sizes: the line they lie on, where it ends, and what cannot be extrapolated."""

import pytest
import torch

from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.evaluation.score import score
from pos.evaluation.sizes import Sizes, distances_by_size
from pos.metrics.frechet import FeatureStatistics

DIMS = 8
SHIFT, SPREAD = 0.3, 1.2
TRUE = DIMS * (SHIFT**2 + (SPREAD - 1) ** 2)  # between N(0, 1) and N(SHIFT, SPREAD^2)
DETECTORS = {"fid": "f", "clip": "c", "fvd": "v"}


@pytest.fixture(scope="module")
def real() -> Reference:
    """The standard normal, known exactly."""
    count = 10**9
    exact = FeatureStatistics(count, torch.zeros(DIMS).double(), torch.eye(DIMS).double() * (count - 1))
    return Reference(dict.fromkeys(DETECTORS, exact), DETECTORS, "exact")


def features(videos: int, seed: int = 0, seeds: int = 1) -> FeatureSet:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, DIMS, generator=draw) * SPREAD + SHIFT

    rows = {"fid": normal(videos, 2), "clip": normal(videos, 2), "fvd": normal(videos)}
    rows["clipsim"] = torch.rand(videos, generator=draw)
    return FeatureSet([f"p{index // seeds}" for index in range(videos)], rows, DETECTORS)


def test_the_line_ends_at_the_true_distance(real):
    """On the average over sets: at 128 videos FVD is a fifth too large, its limit is not."""
    found = [distances_by_size(features(128, seed), real, ["fvd"])["fvd"] for seed in range(30)]
    assert found[0].videos == [16, 32, 64, 128]
    means = torch.tensor([sizes.values for sizes in found]).mean(0)
    assert means[0] > means[1] > means[2] > means[3] > 1.15 * TRUE
    limit = sum(sizes.limit for sizes in found) / len(found)
    assert limit == pytest.approx(TRUE, abs=0.1)


def test_the_whole_set_is_what_is_scored(real):
    row = features(64)
    names = ["fid", "clip_fid", "clipsim", "fvd"]
    found = distances_by_size(row, real, names)
    assert list(found) == ["fid", "clip_fid", "fvd"]
    scored = score(row, real, metrics=names, resamples=1).estimates
    for name, sizes in found.items():
        assert sizes.values[-1] == pytest.approx(scored[name].value, rel=1e-9)
    assert distances_by_size(row, real, names) == found
    assert distances_by_size(row, real, names, seed=1)["fvd"].values[0] != found["fvd"].values[0]


def test_seeds_of_a_prompt_stay_together(real):
    """Copies of a video add nothing: the distance follows the number of prompts."""
    once = features(32)
    twice = FeatureSet(once.ids * 2, {name: torch.cat([t, t]) for name, t in once.tensors.items()}, DETECTORS)
    found = distances_by_size(twice, real, ["fvd"])["fvd"]
    assert found.videos == [8, 16, 32, 64]
    single = distances_by_size(once, real, ["fvd"], draws=200)["fvd"]
    doubled = distances_by_size(twice, real, ["fvd"], draws=200)["fvd"]
    # the covariance of copies is (n - 1) / (n - 1/2) of the single ones', which is near
    assert doubled.values == pytest.approx(single.values, rel=0.12)


def test_fewer_vectors_than_features_are_not_on_the_line(real):
    sizes = distances_by_size(features(24), real, ["fid", "fvd"])
    assert sizes["fvd"].videos == [3, 6, 12, 24]
    assert sizes["fvd"].limit is None  # 24 alone is 2 vectors a feature
    assert sizes["fid"].limit is not None  # two frames a video: 12 and 24
    assert sizes["fvd"].to_json()["limit"] is None
    without = distances_by_size(features(24), real, ["fid"], extrapolate=False)["fid"]
    assert without.limit is None
    assert "limit" not in without.to_json()
    for found in (sizes["fid"], sizes["fvd"], without):
        assert Sizes.from_json(found.to_json()) == found
    assert distances_by_size(features(3), real, ["fvd"])["fvd"].videos == [3]
