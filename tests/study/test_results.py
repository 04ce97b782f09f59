"""Results of a study as types: summaries of provenances, and their JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate
from pos.evaluation.score import Difference
from pos.method import Method
from pos.ona.reconstruction import Reconstruction
from pos.provenance import Cost, NoiseStatistics
from pos.spr.rewriting import Rewrite
from pos.study.results import (
    NoiseSummary,
    RewriteSummary,
    RowResult,
    Setting,
    StudyResults,
    check_replaceable,
)
from tests.known import known_provenance


def known_setting(**changes) -> Setting:
    parts = {
        "benchmark": "shapes-test",
        "manifest": "abc",
        "prompts": 3,
        "seeds": [0, 1],
        "steps": 2,
        "guidance": 1.0,
        "backbone": "colour",
        "weights": "def",
        "precision": "float32",
        "device": "cpu",
        "settings": {"eta": 0.5, "source": "Table 1"},
        "detectors": {"fid": "ghi"},
        "resamples": 20,
        "reference": "12 clips",
    }
    return Setting(**parts | changes)


def known_results() -> StudyResults:
    """Two rows that were generated and one that was not."""
    baseline = RowResult(
        label="baseline",
        method=Method(),
        guidance=1.0,
        metrics={"fvd": Estimate(9.0, 8.0, 10.0)},
        cost=Cost(20, 1.0, 1.0, 0.0, 0.0),
        noise=NoiseSummary(0.0, 1.0),
        videos="videos/baseline-0123",
        missing={"is": "C3D weights not found."},
    )
    pos = replace(
        baseline,
        label="+POS",
        method=Method(noise="inversion", eta=math.inf, rewrite=True, gamma=0.5),
        differences={"fvd": Difference(-2.0, -3.0, -1.0, "better")},
        noise=NoiseSummary(0.0, 0.9, 0.1, 0.8, [0.7, 0.9], 1e-6, math.inf, 20.0),
        rewriting=RewriteSummary(3, 2, 1, {"dissimilar": 1}, 60, 20, 1),
    )
    gap = RowResult("+POS*", Method(noise="npnet", eta=1.0), missing={"fvd": "No NPNet."})
    rows = {"baseline": baseline, "pos": pos, "pos_star": gap}
    return StudyResults("table1", known_setting(), rows, ["A note."], {"cosine": 0.5})


class TestNoise:
    def test_means_are_over_videos_and_over_those_that_were_inverted(self):
        inversion = known_provenance().inversion
        first = replace(
            inversion, noise=NoiseStatistics(0.1, 0.8, [0.7, 0.9]), reconstruction=Reconstruction(20.0, 0, 0)
        )
        second = replace(
            inversion,
            noise=NoiseStatistics(0.1, 1.0, [0.9, 1.1]),
            residual=1e-3,
            reconstruction=Reconstruction(30.0, 0, 0),
        )
        entries = [
            known_provenance(start_noise=NoiseStatistics(0.0, 1.0, []), inversion=None),
            known_provenance(start_noise=NoiseStatistics(0.2, 0.8, []), inversion=first),
            known_provenance(start_noise=NoiseStatistics(0.1, 0.9, []), inversion=second),
        ]
        found = NoiseSummary.of(entries)
        assert (found.start_mean, found.start_std) == pytest.approx((0.1, 0.9))
        assert (found.inverted_mean, found.inverted_std) == pytest.approx((0.1, 0.9))
        assert found.inverted_channel_std == pytest.approx([0.8, 1.0])
        assert found.largest_residual == 1e-3
        assert (found.reconstruction_psnr, found.least_reconstruction_psnr) == (25.0, 20.0)
        plain = NoiseSummary.of(entries[:1])
        assert plain == NoiseSummary(0.0, 1.0)
        unchecked = known_provenance(inversion=replace(first, reconstruction=None))
        assert NoiseSummary.of([unchecked]).reconstruction_psnr is None
        assert NoiseSummary.of([known_provenance()]).reconstruction_psnr == math.inf


class TestRewrites:
    def test_they_count_once_a_prompt_whatever_the_seeds(self):
        faithful = Rewrite("a bright red ring moving to the left", True, 2, 0.8, None)
        recoloured = Rewrite("a bright blue ring", True, 1, 0.7, None)
        refused = Rewrite("green star", False, 3, 0.1, "dissimilar")
        entries = [
            known_provenance(id=name, prompt=prompt, rewrite=rewrite)
            for name, prompt, rewrite in (
                ("a", "red ring moving left", faithful),
                ("a", "red ring moving left", faithful),
                ("b", "red ring", recoloured),
                ("c", "green star", refused),
            )
        ]
        assert RewriteSummary.of(entries).to_json() == {
            "prompts": 3,
            "accepted": 2,
            "retried": 1,
            "fallbacks": {"dissimilar": 1},
            "instruction_tokens": 0,
            "reply_tokens": 0,
            "changed_attribute": 1,
        }

    def test_none_without_rewriting(self):
        assert RewriteSummary.of([known_provenance(rewrite=None)]) is None


class TestJson:
    def test_results_are_read_as_they_were_written(self, tmp_path: Path):
        results = known_results()
        path = tmp_path / "table1.json"
        path.write_text(json.dumps(results.to_json(), allow_nan=False))
        assert StudyResults.load(path) == results

    def test_the_keys_and_their_order(self):
        record = known_results().to_json()
        assert list(record) == ["study", "setting", "rows", "notes", "figure"]
        for row in record["rows"].values():
            assert list(row) == [
                "label", "method", "guidance", "metrics", "differences", "against", "cost", "noise",
                "rewriting", "videos", "absent",
            ]  # fmt: skip
        pos = record["rows"]["pos"]
        assert pos["noise"]["reconstruction_psnr"] == pos["method"]["eta"] == "inf"
        assert list(pos["differences"]["fvd"]) == ["value", "low", "high", "verdict"]

    def test_an_undefined_metric_is_null_and_comes_back_as_nan(self):
        undefined = Estimate(1.0, math.nan, math.nan)
        row = RowResult("a", Method(), metrics={"fvd": undefined})
        record = row.to_json()
        assert record["metrics"] == {"fvd": {"value": 1.0, "low": None, "high": None}}
        found = RowResult.from_json(record).metrics["fvd"]
        assert found.value == 1.0
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [("{", "Expecting"), ("[]", "it holds no object"), ('{"study": "table1"}', "it has no 'setting'")],
    )
    def test_a_damaged_file_is_named(self, tmp_path: Path, content: str, reason: str):
        path = tmp_path / "table1.json"
        path.write_text(content)
        with pytest.raises(PosError, match=rf"table1\.json is damaged \({reason}.*: remove it"):
            StudyResults.load(path)


class TestReplacing:
    def test_results_of_the_same_setting_may_be_replaced(self, tmp_path: Path):
        path = tmp_path / "table1.json"
        check_replaceable(path, known_setting())
        path.write_text(json.dumps({"setting": {"backbone": "colour", "benchmark": "shapes-test"}}))
        check_replaceable(path, known_setting())  # that of an earlier version has fewer keys

    @pytest.mark.parametrize("name", ["backbone", "benchmark"])
    def test_those_of_another_backbone_or_benchmark_may_not(self, tmp_path: Path, name: str):
        path = tmp_path / "table1.json"
        path.write_text(json.dumps(known_results().to_json()))
        with pytest.raises(
            PosError, match=f"holds results of the {name} {getattr(known_setting(), name)}, and"
        ):
            check_replaceable(path, known_setting(**{name: "another"}))
