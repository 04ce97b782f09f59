"""The results of a study: metrics, differences, cost, noise and rewrites of every row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pos.data.shapes.world import draw_scenes, render
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import extract
from pos.evaluation.reference import Reference
from pos.metrics.registry import registered
from pos.study import scores as scoring
from pos.study.results import StudyResults
from pos.study.rows import Shard
from pos.study.scores import score_study
from pos.study.study import Study
from tests.closed_form import ColourPool
from tests.evaluation.conftest import build_detectors
from tests.known import PROMPTS, STUDY_ROWS, known_study, made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Study]:
    """A study of known parts in the test's own folder."""
    return lambda *rows, **changes: known_study(tmp_path, *rows, **changes)


@pytest.fixture(scope="module")
def detectors() -> Detectors:
    return build_detectors()


@pytest.fixture(scope="module")
def reference(detectors: Detectors) -> Reference:
    clips = render(draw_scenes(range(12)))
    names = [str(index) for index in range(12)]
    return Reference.of(extract(clips, names, names, detectors), "12 clips")


@pytest.fixture
def scored(make, detectors, reference) -> tuple[Study, StudyResults]:
    study = make(size=64)
    study.generate()
    return study, score_study(study, detectors, reference)


def test_results_hold_what_a_table_needs(scored):
    study, found = scored
    results = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert StudyResults.from_json(results).to_json() == results
    assert (results["study"], list(results["rows"])) == ("table1", list(STUDY_ROWS))
    setting = results["setting"]
    assert (setting["prompts"], setting["seeds"], setting["steps"], setting["resamples"]) == (
        3,
        [0, 1],
        2,
        20,
    )
    assert setting["detectors"].keys() == {"fid", "fvd", "inception", "clip", "judge"}
    for key, row in results["rows"].items():
        assert row["label"] == STUDY_ROWS[key].label
        assert row["metrics"].keys() == {metric.name for metric in registered("paper", "shapes")}
        assert row["metrics"]["fid"].keys() == {"value", "low", "high"}
        assert (study.out / row["videos"]).is_dir()
        assert (row["rewriting"] is not None) == (key == "spr")
    baseline, ona, spr = results["rows"].values()
    assert baseline["differences"] is None
    assert ona["method"]["eta"] == "inf"
    for name, difference in ona["differences"].items():
        value, base = ona["metrics"][name]["value"], baseline["metrics"][name]["value"]
        if value is not None:
            assert difference["value"] == pytest.approx(value - base, abs=1e-9)
        assert difference["verdict"] in ("better", "worse", "undecided")
    rewriting = spr["rewriting"]
    assert (rewriting["prompts"], rewriting["accepted"], rewriting["changed_attribute"]) == (3, 3, 0)


def test_noise_is_reported(scored):
    _, results = scored
    baseline, ona, _ = (row.noise for row in results.rows.values())
    assert baseline.start_std == pytest.approx(1.0, abs=0.01)
    assert baseline.inverted_std is None
    assert ona.start_std == pytest.approx(ona.inverted_std)
    assert len(ona.inverted_channel_std) == 3
    assert ona.largest_residual is None


def test_cost_is_that_of_an_empty_cache(scored, make, detectors, reference, tmp_path: Path):
    _, results = scored
    again = make(size=64, out=tmp_path / "again")
    again.generate()
    repeated = score_study(again, detectors, reference)
    for key, row in results.rows.items():
        cost, later = row.cost.to_json(), repeated.rows[key].cost.to_json()
        assert cost["evaluations"] == later["evaluations"] == {"baseline": 2, "ona": 4, "spr": 2}[key]
        stages = [cost[f"seconds_{stage}"] for stage in ("sampling", "inversion", "rewriting")]
        assert cost["seconds"] == pytest.approx(sum(stages))
        assert [seconds > 0 for seconds in stages] == [True, key == "ona", key == "spr"]
        for stage in ("inversion", "rewriting"):
            assert later[f"seconds_{stage}"] == pytest.approx(cost[f"seconds_{stage}"])


def test_features_are_kept_and_belong_to_detectors_and_videos(
    scored, reference, detectors, monkeypatch: pytest.MonkeyPatch
):
    study, results = scored
    extracted = []
    monkeypatch.setattr(scoring, "extract", lambda _, ids, *__, **___: extracted.append(ids) or 1 / 0)
    assert score_study(study, detectors, reference).to_json() == results.to_json()
    assert extracted == []
    with pytest.raises(ZeroDivisionError):
        score_study(study, build_detectors(seed=1), reference)
    with pytest.raises(ZeroDivisionError):
        score_study(replace(study, seeds=[0]), detectors, reference)


def test_metrics_beyond_the_papers_are_scored_where_they_are_requested(scored, reference):
    study, results = scored
    requested = build_detectors()
    requested.extra = ["consistency", "diversity", "kid"]
    extended = score_study(study, requested, reference)
    for key, row in extended.to_json()["rows"].items():
        before = results.to_json()["rows"][key]["metrics"]
        assert {name: row["metrics"][name] for name in before} == before
        assert row["metrics"].keys() - before.keys() == {"diversity", "consistency"}
        assert row["absent"].keys() == {"kid"}
        assert "holds no features for KID" in row["absent"]["kid"]
    requested.extra = ["sharpness"]
    with pytest.raises(PosError, match="there is no metric sharpness, only kid, "):
        score_study(study, requested, reference)


def test_a_missing_video_is_named(scored, detectors, reference):
    study, results = scored
    path = study.out / results.rows["spr"].videos / f"{PROMPTS[1].id}-s1.json"
    path.unlink()
    with pytest.raises(PosError, match=f"{path} does not exist yet"):
        score_study(study, detectors, reference)
    with pytest.raises(PosError, match=f"{path} does not exist yet"):
        study.write_records(study.out / "results.jsonl")
    study.generate()
    score_study(study, detectors, reference)


def test_a_video_of_another_prompt_is_not_scored(scored, detectors, reference):
    study, results = scored
    path = study.out / results.rows["ona"].videos / f"{PROMPTS[0].id}-s0.json"
    path.write_text(path.read_text().replace(PROMPTS[0].text, "an older text"))
    with pytest.raises(PosError, match=f"{path} is of another prompt, and is kept"):
        score_study(study, detectors, reference)


def test_records_are_one_line_a_video(scored):
    study, _ = scored
    study.write_records(study.out / "results.jsonl")
    records = [json.loads(line) for line in (study.out / "results.jsonl").read_text().splitlines()]
    keys = [(record["row"], record["id"], record["seed"]) for record in records]
    assert keys == [(key, prompt.id, seed) for key in STUDY_ROWS for seed in (0, 1) for prompt in PROMPTS]


def test_samples_show_every_row_and_the_retrieved_clip(scored):
    study, results = scored
    (sample,) = study.samples([PROMPTS[2].id])
    provenance, videos, clip = sample
    assert list(videos) == list(provenance) == list(STUDY_ROWS)
    for key, video in videos.items():
        stem = f"{PROMPTS[2].id}-s0"
        assert (provenance[key].id, provenance[key].seed) == (PROMPTS[2].id, 0)
        path = study.out / results.rows[key].videos / f"{stem}.safetensors"
        assert video.equal(read_video(path, 16))
    found = provenance["ona"].neighbours[0]
    assert clip.equal(ColourPool().video(found.index, 16, 64, 64))
    plain = replace(study, rows={"baseline": STUDY_ROWS["baseline"]})
    assert [clip for *_, clip in plain.samples([PROMPTS[0].id])] == [None]


def test_they_fill_one_folder_and_then_it_is_scored(make, detectors, reference):
    rows = {"baseline": STUDY_ROWS["baseline"]}
    first, second = (make(rows, size=64, shard=Shard(index, 2)) for index in (0, 1))
    whole = make(rows, size=64)
    first.generate()
    half = made(whole)
    assert len(half) == 6
    with pytest.raises(PosError, match=r"\.json does not exist yet: generate the videos of all shards first"):
        score_study(whole, detectors, reference)
    second.generate()
    assert len(made(whole)) == 12
    assert half.items() <= made(whole).items()
    calls = len(whole.pipeline.backbone.calls)
    whole.generate()
    assert len(whole.pipeline.backbone.calls) == calls
    assert score_study(whole, detectors, reference).rows["baseline"].metrics["fvd"].value > 0
