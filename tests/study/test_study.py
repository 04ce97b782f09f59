"""A study generates every video once, whatever stops it, and keeps those of other settings apart."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pos.data.benchmarks.manifest import Item, Manifest
from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.method import Method
from pos.pipeline import Pipeline
from pos.storage import lock_folder
from pos.study.rows import Row, Shard
from pos.study.study import Study
from pos.video_folder import VideoFolder
from tests.closed_form import ColourBackbone
from tests.known import PROMPTS, STUDY_ROWS, Silent, known_pipeline, known_study, made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Study]:
    """A study of known parts in the test's own folder."""
    return lambda *rows, **changes: known_study(tmp_path, *rows, **changes)


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all requests that reach a pipeline."""
    requests: list[str] = []
    generate = Pipeline.generate

    def spying(self: Pipeline, todo):
        requests.extend(request.id for request in todo)
        return generate(self, todo)

    monkeypatch.setattr(Pipeline, "generate", spying)
    return requests


class TestGenerate:
    def test_every_row_has_every_prompt_with_every_seed(self, make):
        study = make()
        study.generate()
        folders = sorted(path.name.rpartition("-")[0] for path in (study.out / "videos").iterdir())
        assert folders == sorted(STUDY_ROWS)
        for folder in (study.out / "videos").iterdir():
            expected = {
                f"{p.id}-s{s}.{kind}" for p in PROMPTS for s in (0, 1) for kind in ("json", "safetensors")
            }
            assert {path.name for path in folder.iterdir()} == expected
            for prompt in PROMPTS:
                provenance = json.loads((folder / f"{prompt.id}-s1.json").read_text())
                assert (provenance["prompt"], provenance["seed"]) == (prompt.text, 1)
                assert provenance["config"].startswith(folder.name.rpartition("-")[2])
                assert read_video(folder / f"{prompt.id}-s1.safetensors", 2).shape == (2, 3, 4, 4)

    @pytest.mark.parametrize("kept", [1, 4, 9, 17])
    def test_a_study_that_was_stopped_goes_on_and_repeats_nothing(
        self, make, monkeypatch: pytest.MonkeyPatch, kept: int
    ):
        lock, stored, store = threading.Lock(), [], VideoFolder.store

        def stopping(folder, sample):
            with lock:
                if len(stored) == kept:
                    raise PosError("Cannot write: no space left on device.")
                stored.append(folder.file(sample.request, "json").relative_to(study.out).as_posix())
            store(folder, sample)

        study = make()
        with monkeypatch.context() as patch:
            patch.setattr(VideoFolder, "store", stopping)
            with pytest.raises(PosError, match="no space left"):
                study.generate()
        before = made(study)
        assert {name for name in before if name.endswith(".json")} == set(stored)
        requested = []
        generate = Pipeline.generate
        monkeypatch.setattr(
            Pipeline, "generate", lambda self, todo: requested.extend(todo) or generate(self, todo)
        )
        study.generate()
        assert len(requested) == 18 - kept
        after = made(study)
        assert len(after) == 36
        assert before.items() <= after.items()

    def test_a_model_that_did_not_answer_is_asked_again_by_the_next_run(self, make, requested: list[str]):
        study = make()
        engine = Silent({"a": "one"})
        study.pipeline.rewriter = replace(study.pipeline.rewriter, engine=engine)
        study = make(pipeline=study.pipeline)
        study.generate()
        features = study.videos("spr").features_file("0" * 16)
        features.write_bytes(b"")
        requested.clear()

        def repeated() -> list[str]:
            made_before, rewriter = made(study), study.pipelines["spr"].rewriter
            study.pipelines["spr"].rewriter = replace(rewriter, engine=engine)  # of another process
            study.generate()
            return sorted(name for name, data in made(study).items() if data != made_before.get(name))

        assert (repeated(), requested, features.exists()) == (
            [],
            [],
            True,
        )  # still silent
        engine.silent = False
        changed = repeated()
        assert {name.split("/")[1].partition("-")[0] for name in changed} == {"spr"}
        assert len([name for name in changed if name.endswith(".json")]) == len(requested) == 6
        assert not features.exists()
        records = [json.loads((study.out / name).read_text()) for name in changed if name.endswith(".json")]
        assert all(record["rewrite"]["accepted"] for record in records)
        assert (repeated(), len(requested)) == ([], 6)

    def test_a_failing_disk_ends_the_generation_not_only_the_writing(
        self, make, monkeypatch: pytest.MonkeyPatch
    ):
        def failing(*_):
            raise PosError("Cannot write: no space left on device.")

        monkeypatch.setattr(VideoFolder, "store", failing)
        monkeypatch.setattr("pos.video_folder.BACKLOG", 2)
        study = make({"baseline": STUDY_ROWS["baseline"]}, seeds=range(40))
        with pytest.raises(PosError, match="no space left"):
            study.generate()
        assert len(study.pipeline.backbone.calls) / study.pipeline.steps <= 4, "of 60 batches"

    def test_videos_are_stored_while_the_next_are_generated(self, make, monkeypatch: pytest.MonkeyPatch):
        """An interruption loses at most the batch that is being generated."""
        predict = ColourBackbone.predict

        def dying(self, *arguments):
            if len(self.calls) == 5:  # in the second step of the third batch of two
                raise KeyboardInterrupt
            return predict(self, *arguments)

        monkeypatch.setattr(ColourBackbone, "predict", dying)
        study = make({"baseline": STUDY_ROWS["baseline"]})
        with pytest.raises(KeyboardInterrupt):
            study.generate()
        assert len([name for name in made(study) if name.endswith(".json")]) == 4

    @pytest.mark.parametrize("change", ["steps", "guidance", "eta"])
    def test_videos_of_other_settings_are_kept_apart(self, make, requested: list[str], change: str):
        row = STUDY_ROWS["ona"]
        study = make({"ona": row})
        study.generate()
        before = made(study)
        if change == "eta":
            other = make({"ona": Row("+ONA", replace(row.method, eta=1.0))})
        else:
            other = make({"ona": row})
            other = replace(other, pipeline=replace(other.pipeline, **{change: 3}))
        requested.clear()
        other.generate()
        assert len(requested) == 6
        after = made(study)
        assert len(after) == 2 * len(before)
        assert before.items() <= after.items()
        requested.clear()
        study.generate()
        assert requested == []

    def test_more_seeds_or_prompts_are_added_to_existing_ones(self, make, requested: list[str]):
        make(seeds=[0]).generate()
        requested.clear()
        make(seeds=[0, 1]).generate()
        assert len(requested) == 9
        requested.clear()
        make(benchmark=ShapesBenchmark("validation", 4)).generate()
        assert set(requested) == {"validation-0003"}

    def test_a_row_may_have_its_own_guidance(self, make):
        rows = {"one": Row("1", Method()), "four": Row("4", Method(), guidance=4)}
        study = make(rows)
        study.generate()
        records = [json.loads(path.read_text()) for path in (study.out / "videos").rglob("four-*/*.json")]
        assert {record["guidance"] for record in records} == {4.0}


class TestShards:
    def test_one_process_a_shard(self, make):
        study = make(shard=Shard(1, 2))
        with lock_folder(study.out / "shard-1-of-2"):
            with pytest.raises(PosError, match=r"Another run is writing to .*shard-1-of-2"):
                study.generate()
            make(shard=Shard(0, 2)).generate()
        study.generate()
        assert len(made(study)) == 36

    @pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
    def test_a_shard_that_there_is_not(self, index: int, count: int):
        with pytest.raises(PosError, match=f"shard {index} of {count} is not allowed"):
            Shard(index, count)


class TestGaps:
    def test_a_row_that_needs_a_missing_part_is_left_out_with_its_reason(self, make, caplog):
        rows = {**STUDY_ROWS, "pos_star": Row("+POS*", Method(noise="npnet", eta=1.0))}
        study = make(rows)
        assert study.gaps.keys() == {"pos_star"}
        assert "no NPNet is given" in study.gaps["pos_star"]
        assert "+POS* is left out: The method predicts noise" in caplog.text
        study.generate()
        assert len(list((study.out / "videos").iterdir())) == len(STUDY_ROWS)

    def test_the_reason_is_why_the_part_is_missing(self, make):
        study = make(missing={"rewriter": "The language model is not on this machine."})
        assert study.gaps == {"spr": "The language model is not on this machine."}

    def test_no_row_at_all(self, make):
        with pytest.raises(PosError, match=r"No row of table1 can be generated\. No clips\."):
            make({"ona": STUDY_ROWS["ona"]}, missing={"retriever": "No clips."})

    def test_a_row_needs_more_than_the_pool_has(self, make):
        spr = STUDY_ROWS["spr"]
        rows = {
            **STUDY_ROWS,
            "k_9": replace(spr, label="k 9", references=9),
            "pool_9": replace(STUDY_ROWS["ona"], label="9 clips", pool_size=9),
        }
        gaps = make(rows).gaps
        assert gaps.keys() == {"k_9", "pool_9"}
        assert "9 references cannot be retrieved from a pool of 3" in gaps["k_9"]
        assert "The pool has 3 clips: take 1 to as many of them, not 9" in gaps["pool_9"]


class TestOwnParts:
    def test_pool_references_and_rewriter(self, make):
        spr, ona = STUDY_ROWS["spr"], STUDY_ROWS["ona"]
        own = known_pipeline(make().out / "other", words={"plus": "minus"}).rewriter
        rows = {
            "baseline": STUDY_ROWS["baseline"],
            "one_clip": replace(ona, pool_size=1),
            "alone": replace(spr, label="alone", references=0),
            "other": replace(spr, label="other", rewriter=own),
            "spr": spr,
        }
        study = make(rows)
        study.generate()

        def records(key: str) -> list[dict]:
            return [json.loads(path.read_text()) for path in sorted(study.videos(key).path.glob("*.json"))]

        assert {entry["neighbours"][0]["id"] for entry in records("one_clip")} == {"red"}
        assert [entry["neighbours"] for entry in records("alone")] == [[]] * 6
        assert {len(entry["neighbours"]) for entry in records("spr")} == {2}
        for key, word in (("other", "minus"), ("spr", "plus")):
            assert any(word in entry["rewritten_prompt"].split() for entry in records(key)), key

    def test_what_a_row_shares_with_the_others_leaves_its_hash_alone(self, make):
        spr, ona = STUDY_ROWS["spr"], STUDY_ROWS["ona"]
        rows = {
            "spr": spr,
            "spr_2": replace(spr, label="k 2", references=2),
            "spr_1": replace(spr, label="k 1", references=1),
            "ona": ona,
            "ona_3": replace(ona, label="3 clips", pool_size=3),
            "ona_2": replace(ona, label="2 clips", pool_size=2),
        }
        hashes = {key: pipeline.config_hash for key, pipeline in make(rows).pipelines.items()}
        assert hashes["spr"] == hashes["spr_2"] != hashes["spr_1"]
        assert hashes["ona"] == hashes["ona_3"] != hashes["ona_2"]


class TestFolders:
    def test_another_study_uses_the_videos_of_the_same_settings(self, make, requested: list[str]):
        make().generate()
        requested.clear()
        rows = {"eta_inf": STUDY_ROWS["ona"], "eta_1": Row("eta 1", Method(noise="inversion", eta=1.0))}
        other = make(rows, name="figure6")
        other.generate()
        assert len(requested) == 6
        assert other.videos("eta_inf").path.name.startswith("ona-")
        assert other.videos("eta_1").path.name.startswith("eta_1-")

    def test_another_manifest_is_refused_and_nothing_is_generated(self, make, requested: list[str]):
        make().generate()
        requested.clear()
        items = [Item(prompt.id, f"{prompt.text}, slowly") for prompt in PROMPTS]
        study = make(benchmark=Manifest("msrvtt", items, {}, {}))
        said = f"{study.out} holds videos of another manifest than this one of msrvtt: its validation-0000 is"
        with pytest.raises(PosError, match=re.escape(said)):
            study.generate()
        assert requested == []


class TestBadInput:
    def test_no_seed(self, make):
        with pytest.raises(PosError, match="seeds is empty"):
            make(seeds=[])

    def test_two_rows_of_one_label(self, make):
        rows = {"ona": STUDY_ROWS["ona"], "other": replace(STUDY_ROWS["spr"], label="+ONA")}
        with pytest.raises(PosError, match=r"Two rows of table1 have the label '\+ONA'"):
            make(rows)
