"""``results.json``: its bytes, its reading, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate
from pos.evaluation.frames import Frames
from pos.evaluation.results import Coverage, Evaluation
from pos.evaluation.sizes import Sizes

RESULTS = Evaluation(
    videos="my/videos",
    benchmark="shapes-test",
    manifest="0f",
    reference="2 of 3 videos",
    reference_record={"coverage": "2 of 3", "images": [0, 4]},
    detectors={"fid": "f", "clip": "c"},
    frames=Frames(images=(0, 1), clip=4, step=2),
    splits=10,
    coverage=Coverage(4, ["broken.gif"], 3, 1, 3),
    resamples=20,
    seed=1,
    metrics={"fid": Estimate(1.5, 1.0, 2.0), "clipsim": Estimate(0.25, 0.25, 0.5)},
    sizes={"fid": Sizes([2, 4], [3.0, 1.5], None), "fvd": Sizes([4], [0.5], None, extrapolated=False)},
    absent={"is": "IS has no detector."},
    notes=["4 vidéos, few."],
)
WRITTEN = """{
 "videos": "my/videos",
 "benchmark": "shapes-test",
 "manifest": "0f",
 "reference": "2 of 3 videos",
 "reference_record": {
  "coverage": "2 of 3",
  "images": [
   0,
   4
  ]
 },
 "detectors": {
  "fid": "f",
  "clip": "c"
 },
 "frames": {
  "images": [
   0,
   1
  ],
  "clip": 4,
  "step": 2
 },
 "splits": 10,
 "coverage": {
  "videos": 4,
  "unreadable": [
   "broken.gif"
  ],
  "prompts": 3,
  "benchmark_prompts": 1,
  "benchmark_prompts_in_all": 3
 },
 "resamples": 20,
 "seed": 1,
 "metrics": {
  "fid": {
   "value": 1.5,
   "low": 1.0,
   "high": 2.0
  },
  "clipsim": {
   "value": 0.25,
   "low": 0.25,
   "high": 0.5
  }
 },
 "sizes": {
  "fid": {
   "videos": [
    2,
    4
   ],
   "values": [
    3.0,
    1.5
   ],
   "limit": null
  },
  "fvd": {
   "videos": [
    4
   ],
   "values": [
    0.5
   ]
  }
 },
 "absent": {
  "is": "IS has no detector."
 },
 "notes": [
  "4 vidéos, few."
 ]
}
"""


def test_the_file_keeps_its_form(tmp_path):
    RESULTS.save(tmp_path)
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == WRITTEN
    assert Evaluation.load(tmp_path) == RESULTS


def test_undefined_values_are_null():
    undefined = replace(RESULTS, metrics={"diversity": Estimate(math.nan, math.nan, math.nan)})
    entry = undefined.to_json()["metrics"]["diversity"]
    assert entry == {"value": None, "low": None, "high": None}
    assert math.isnan(Evaluation.from_json(undefined.to_json()).metrics["diversity"].low)


def test_files_older_than_some_entries_are_read():
    record = {
        key: entry for key, entry in json.loads(WRITTEN).items() if key not in ("reference_record", "sizes")
    }
    found = Evaluation.from_json(record)
    assert (found.reference_record, found.sizes, found.metrics) == ({}, {}, RESULTS.metrics)


def test_what_is_no_evaluation_is_refused(tmp_path):
    record = json.loads(WRITTEN)
    for wrong in (
        {**record, "speed": 1},
        {**record, "coverage": {"videos": 4}},
        {"metrics": {}},
        {"rows": {}},
    ):
        with pytest.raises(PosError, match="no results of an evaluation by this version"):
            Evaluation.from_json(wrong)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(PosError, match=r"results.json is not JSON"):
        Evaluation.load(tmp_path)
    with pytest.raises(PosError, match=r"holds no results.json: run experiments/evaluate.py videos=DIR out="):
        Evaluation.load(tmp_path / "absent")
