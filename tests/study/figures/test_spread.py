"""What noise and prompt make of the variance of single videos' scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pos.data.shapes.world import draw_scenes, render
from pos.errors import PosError
from pos.evaluation.extraction import extract
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.study.figures.spread import Spread, single_scores, variances
from tests.evaluation.conftest import build_detectors
from tests.known import STUDY_ROWS, known_study


def test_variances_of_known_effects():
    generator = torch.Generator().manual_seed(0)
    prompts = 3 * torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    noises = 2 * torch.randn(4000, 8, generator=generator, dtype=torch.float64)
    found = variances(prompts + noises)
    assert found["within"] == pytest.approx(2, rel=0.03)
    assert found["between"] == pytest.approx(3, rel=0.03)
    assert found["share_of_noise"] == pytest.approx(4 / 13, rel=0.05)


def test_variances_at_their_ends():
    alone = torch.arange(4.0, dtype=torch.float64)
    assert variances(alone[:, None].repeat(1, 3))["share_of_noise"] == 0
    assert variances(alone.repeat(5, 1))["share_of_noise"] == 1
    assert variances(torch.ones(5, 3, dtype=torch.float64))["share_of_noise"] is None
    assert variances(torch.tensor([[1.0, 2.0, 3.0]]))["share_of_noise"] == 1
    undefined = torch.tensor([[1.0, 2.0], [float("nan"), 1.0], [3.0, 5.0]])
    assert variances(undefined) == variances(undefined[[0, 2]])


def test_scores_of_single_videos():
    judged = torch.tensor([[0, 1, 2, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    named = torch.tensor([[0, 1, 1, -1, -1, -1], [1, -1, -1, -1, -1, -1], [-1, -1, -1, -1, -1, -1]])
    fvd = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    seen = FeatureSet(
        ["a", "b", "c"],
        {"judged": judged, "named": named, "fvd": fvd, "clipsim": torch.ones(3)},
        {"fvd": "x"},
    )
    real = FeatureSet(["r", "s"], {"fvd": torch.tensor([[1.0, 1.0], [-1.0, -1.0]])}, {"fvd": "x"})
    scores = single_scores(seen, Reference.of(real, "two clips"))
    assert scores["accuracy"][:2].tolist() == pytest.approx([2 / 3, 1])
    assert scores["accuracy"][2].isnan()
    assert scores["distance"].tolist() == pytest.approx([5, 0, 1])
    assert scores["clipsim"].tolist() == [1, 1, 1]
    other = Reference.of(FeatureSet(["r", "s"], real.tensors, {"fvd": "y"}), "of other weights")
    for reference in (None, other):
        assert single_scores(seen, reference).keys() == {"clipsim", "accuracy"}


def test_the_finding_of_a_study(tmp_path: Path):
    detectors = build_detectors()
    clips = render(draw_scenes(range(6)))
    names = [str(index) for index in range(6)]
    reference = Reference.of(extract(clips, names, names, detectors), "6 clips")
    study = known_study(tmp_path, size=64)
    study.generate()
    finding = Spread().measure(study, detectors, reference, "cpu")
    assert list(finding.measured) == list(STUDY_ROWS)
    for found in finding.measured.values():
        assert found.keys() == {"clipsim", "accuracy", "distance"}
        assert len(found["clipsim"]["prompts"]) == 3
        for entry in found["clipsim"]["prompts"]:
            assert entry["least"] <= entry["mean"] <= entry["most"]
    assert finding.measured["ona"]["clipsim"]["within"] == pytest.approx(0, abs=1e-6), "eta is infinite"
    drawing = finding.drawings["baseline-clipsim"].svg
    assert drawing.count("<circle") == 6
    assert "CLIPSIM of 2 noises a prompt, baseline" in drawing


def test_one_seed_is_refused_before_a_video_is_made(tmp_path: Path):
    study = known_study(tmp_path)
    Spread().check(study)
    study.seeds = [0]
    for refuses in (Spread().check, lambda study: Spread().measure(study, None, None, "cpu")):
        with pytest.raises(
            PosError, match="table1 needs at least 2 seeds to see noises differ, and there is 1"
        ):
            refuses(study)
