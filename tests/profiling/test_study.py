"""The bench of a study runs the real study in processes of its own and reports every phase."""

from __future__ import annotations

import pytest

from pos.errors import PosError
from pos.profiling.study import StudyBench, bench_study

PHASES = {"sampler", "decoder", "plain", "scoring", "ona", "ona_cached"}


def test_fewer_than_one_is_refused() -> None:
    for wrong in ({"per_process": 0}, {"processes": [1, 0]}):
        settings = {"per_process": 1, "batch_size": 1, "steps": 1, "processes": [1], "device": "cpu"} | wrong
        with pytest.raises(PosError, match="per_process and processes must be at least 1"):
            StudyBench(**settings, precision="fp32")


@pytest.mark.slow
def test_one_and_two_processes_are_measured() -> None:
    settings = {"per_process": 2, "batch_size": 1, "steps": 1, "device": "cpu", "precision": "fp32"}
    device, one, two = bench_study(processes=[1, 2], cache="outputs/cache", **settings)
    assert device["device"].startswith("CPU")
    assert one["videos_per_second"].keys() == PHASES
    assert two["videos_per_second"].keys() == PHASES | {"scoring_beside", "generation_beside"}
    for row in (one, two):
        assert min(row["videos_per_second"].values()) > 0
        assert row["of_the_sampler"].keys() == {"plain", "ona", "ona_cached"}
        rates = row["videos_per_second"]
        assert row["of_the_sampler"]["ona"] == pytest.approx(rates["ona"] / rates["sampler"], rel=0.05)
