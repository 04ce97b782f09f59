"""The bench of the metrics, with networks small enough to run in a moment."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pos.errors import PosError
from pos.profiling import metrics as bench
from pos.profiling.metrics import MetricsBench, bench_metrics

PLAN = {
    "dims": 24,
    "vectors": [60, 10],
    "fid_videos": 2,
    "fvd_videos": 16,
    "side": 32,
    "workers": [0],
    "threads": 1,
    "seed": 0,
}


class Projection(nn.Module):
    """Any input to a few features."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(nn.functional.adaptive_avg_pool1d(x.flatten(2), 4).flatten(1))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FIDInception", Projection)
    monkeypatch.setattr(bench, "I3D", Projection)
    monkeypatch.setattr(bench, "clean_fid_model", lambda network: lambda x: network((x - 128) / 128))


def test_every_measurement_says_who_was_faster_and_that_both_agree() -> None:
    pytest.importorskip("cleanfid")
    threads = torch.get_num_threads()
    rows = list(bench_metrics(MetricsBench(**PLAN)))
    torch.set_num_threads(threads)
    assert [row["case"] for row in rows] == ["distance", "distance", "fid", "fvd"]
    for row in rows:
        assert row["ratio"] == pytest.approx(
            row["ours_s"] / row["reference_s"], abs=0.1, rel=0.2
        )  # of rounded seconds
        assert row["ours"] == pytest.approx(row["reference"], rel=1e-3, abs=1e-4)
    assert (rows[2]["images"], rows[3]["videos"]) == (20, 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fvd_videos": 20}, "fvd_videos=20 must be a multiple of 16"),
        ({"vectors": [0]}, "must be at least 1"),
        ({"workers": [-1]}, "workers=.-1. must be at least 0"),
    ],
)
def test_plans_that_cannot_be_run(change: dict, said: str) -> None:
    with pytest.raises(PosError, match=said):
        MetricsBench(**{**PLAN, **change})
