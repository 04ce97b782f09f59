"""Scores and comparisons of sets of features, and the reference they are measured against."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate
from pos.evaluation.extraction import extract
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.evaluation.score import Difference, caveats, compare, missing, score
from pos.metrics import registry
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from pos.metrics.registry import get_metric, registered

WEIGHTS = {"fid": "a", "clip": "b", "fvd": "c", "inception": "d", "judge": "e"}


def features(seed: int = 0, n: int = 40, shift: float = 0.0, right: float = 0.5) -> FeatureSet:
    """A set of which all is known: ``shift`` from the reference, ``right`` is the judge's accuracy."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator) + shift

    named = torch.randint(0, 3, (n, 6), generator=generator)
    named[:, 5] = -1
    hits = torch.rand(n, 6, generator=generator) < right
    rows = {
        "fid": normal(n, 5, 4),
        "clip": normal(n, 5, 4),
        "fvd": normal(n, 4),
        "classes": torch.rand(n, 7, generator=generator).softmax(1),
        "clipsim": normal(n) * 0.1,
        "named": named,
        "judged": torch.where(hits, named, named + 1),
    }
    return FeatureSet([f"p{index}" for index in range(n)], rows, dict(WEIGHTS))


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of(features(99, n=2000), "simulated")


def test_the_values_are_those_of_the_set(reference):
    row = features(shift=0.5, right=0.75)
    estimates = score(row, reference, resamples=50).estimates
    assert list(estimates) == [metric.name for metric in registered("paper", "shapes")]
    for name, key in {"fid": "fid", "clip_fid": "clip", "fvd": "fvd"}.items():
        expected = frechet_distance(FeatureStatistics.of(row.tensors[key]), reference.statistics[key])
        assert estimates[name].value == pytest.approx(expected, rel=1e-6)
    assert estimates["clipsim"].value == pytest.approx(float(row.tensors["clipsim"].mean()))
    counted = row.tensors["named"][:, :5] == row.tensors["judged"][:, :5]
    assert estimates["accuracy"].value == pytest.approx(float(counted.double().mean()))
    motion = f"accuracy_{list(ATTRIBUTES)[3]}"
    assert estimates[motion].value == pytest.approx(float(counted[:, 3].double().mean()))
    assert math.isnan(estimates["accuracy_texture"].value)
    for name, estimate in estimates.items():
        assert name == "accuracy_texture" or estimate.low < estimate.value < estimate.high
        assert not name.startswith("accuracy") or not estimate.high > 1


def test_differences_know_their_direction(reference):
    baseline = score(features(0, shift=0.8, right=0.3), reference)
    better = score(features(1, shift=0.1, right=0.9), reference)
    forward, back = compare(better, baseline), compare(baseline, better)
    for name in ("fid", "clip_fid", "fvd"):
        assert forward[name].value < 0
        assert (forward[name].verdict, back[name].verdict) == ("better", "worse")
    assert forward["accuracy"].value > 0
    assert (forward["accuracy"].verdict, back["accuracy"].verdict) == ("better", "worse")
    assert forward["accuracy_texture"].verdict == "undecided"
    assert forward["fvd"].low == pytest.approx(-back["fvd"].high)


def test_a_row_does_not_differ_from_itself(reference):
    row = score(features(), reference)
    for difference in compare(row, row).values():
        assert math.isnan(difference.value) or (difference.low, difference.high) == (0, 0)
        assert difference.verdict == "undecided"


def test_equal_rows_seldom_differ_significantly(reference):
    verdicts = [
        compare(score(features(2 * s), reference), score(features(2 * s + 1), reference))["fvd"].verdict
        for s in range(20)
    ]
    assert verdicts.count("undecided") >= 16


def test_only_paired_rows_are_compared(reference):
    row = score(features(), reference)
    with pytest.raises(PosError, match="cannot be paired"):
        compare(row, score(features(), reference, seed=1))
    with pytest.raises(PosError, match="cannot be paired"):
        compare(row, score(features(n=30), reference))
    other = replace(features(), detectors={**WEIGHTS, "judge": "z"})
    with pytest.raises(PosError, match="different weights"):
        compare(row, score(other, reference))


def test_a_reference_of_other_weights_is_refused(reference):
    with pytest.raises(PosError, match=r"other weights of fvd than.*make_reference"):
        score(replace(features(), detectors={**WEIGHTS, "fvd": "z"}), reference)


def test_a_comparison_with_real_videos_needs_their_statistics(reference, monkeypatch):
    """A metric that compares features of which references hold no statistics says so."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    registry.register(replace(get_metric("is"), name="classes_fid", group="extra", reference="statistics"))
    found = missing(WEIGHTS, reference, {}, ["is", "classes_fid"])
    assert found == {
        "classes_fid": "References hold statistics of fid, clip, fvd, videomae alone, not of inception."
    }


def test_one_video_is_no_set(reference):
    with pytest.raises(PosError, match="at least 2 videos, and there is 1"):
        score(features(n=1), reference)


def test_records_are_json(reference):
    estimates = score(features(), reference).estimates
    assert estimates["accuracy_texture"].to_json() == {"value": None, "low": None, "high": None}
    difference = compare(*[score(features(), reference)] * 2)["fvd"]
    assert list(difference.to_json()) == ["value", "low", "high", "verdict"]
    assert Difference.from_json(difference.to_json()) == difference
    assert Estimate.from_json(estimates["fvd"].to_json()) == estimates["fvd"]
    assert math.isnan(Estimate.from_json(estimates["accuracy_texture"].to_json()).value)


def test_few_videos_and_prompts_without_attributes_are_reported(reference):
    row = features(n=30)
    row.tensors["named"][:2] = -1
    few, without = caveats(row, reference)
    assert few.startswith("30 videos for 4 features")
    assert without.startswith("2 of 30 prompts")
    assert caveats(features(n=40), reference) == []


def test_a_reference_survives_the_disk(reference, tmp_path):
    reference.save(tmp_path / "reference.safetensors")
    again = Reference.load(tmp_path / "reference.safetensors")
    assert (again.detectors, again.source) == (reference.detectors, "simulated")
    assert again.statistics["fid"].count == 10000  # five frames a video
    assert frechet_distance(again.statistics["fvd"], reference.statistics["fvd"]) < 1e-9
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(PosError, match="The entries detectors, source are missing in"):
        Reference.load(other)


def test_real_clips_are_near_themselves_and_inverted_ones_are_not(detectors, make_detectors, clips):
    """From pixels to distance, with untrained networks."""
    ids, prompts = [str(i) for i in range(12)], ["a ring"] * 12
    real = extract(clips, ids, prompts, detectors)
    reference = Reference.of(real, "twelve clips")
    assert score(real, reference, resamples=1).estimates["fvd"].value < 1e-6
    inverted = extract(255 - clips, ids, prompts, detectors)
    assert score(inverted, reference, resamples=1).estimates["fvd"].value > 1e-3
    with pytest.raises(PosError, match="other weights"):
        score(extract(clips, ids, prompts, make_detectors(1)), reference)
