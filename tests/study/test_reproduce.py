"""Every study builds from its configuration, and a small one runs to its report."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from pos.config.overrides import prepare
from pos.errors import PosError
from pos.evaluation.reference import Reference
from pos.metrics.registry import registered
from pos.storage import asset, lock_folder
from pos.study import report as presentation
from pos.study.report import write_files
from pos.study.reproduce import build_figure, build_study, reproduce
from pos.study.scores import score_study
from pos.study.study import Study

CONF = Path(__file__).parents[2] / "conf"
STUDIES = sorted(path.stem for path in (CONF / "study").glob("*.yaml"))
ALONE = {"setting"}
"""Studies of one row, for sweeps."""
SHAPES_BACKBONE = (
    "unet", "autoencoder", "clip", "tokenizer", "steps", "guidance", "decode_chunk", "acceleration", "device",
    "precision",
)  # fmt: skip
KNOWN = {  # parts with known answers, in 16 frames of 64x64 as the detectors of Shapes take them
    "backbone": (
        "backbone._target_=tests.closed_form.ColourBackbone",
        "+backbone.frames=16",
        "+backbone.size=64",
        *(f"~backbone.{key}" for key in SHAPES_BACKBONE),
    ),
    "retriever": ("retriever.encoder._target_=tests.closed_form.WordCounts",),
    "pool": ("pool.size=20",),
    "rewriter": (
        "~rewriter.engine",
        "+rewriter.engine._target_=tests.closed_form.WordsReplaced",
        "+rewriter.engine.words={ring: torus}",
    ),
    "npnet": ("~npnet.backbone", "+npnet.backbone._target_=tests.closed_form.ColourBackbone"),
}


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., DictConfig]:
    """The configuration of `reproduce` with known parts, unless others are chosen; 3 prompts."""

    def make(*overrides: str) -> DictConfig:
        chosen = {override.split("=")[0] for override in overrides}
        known = [word for group, words in KNOWN.items() if group not in chosen for word in words]
        small = ["resamples=20", "report_prompts=2"]
        if "profile" not in chosen:
            small += ["steps=2", "benchmark.size=3"]
        folders = (f"out={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}")
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("reproduce", prepare([*known, *small, *folders, *overrides]))

    return make


TEXT = ["spr", "pos", "pos_star"]
"""Rows of Table 1 that rewrite."""
BUT_THE_FIRST = ["ona", *TEXT, "ona_diffused", "pos_diffused"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_builds_its_rows(configured, name: str):
    cfg = configured(f"study={name}")
    study, figure = build_study(cfg), build_figure(cfg)
    assert study.name == name
    assert study.gaps == {}
    assert len({row.label for row in study.rows.values()}) == len(study.rows)
    hashes = {pipeline.config_hash for pipeline in study.pipelines.values()}
    assert len(hashes) == len(study.rows), "two rows are the same"
    if name in ALONE:
        return
    assert study.rows or figure is not None
    for first in list(study.rows.values())[:1]:
        is_plain = not (first.method.retrieves or first.method.predicts)
        assert is_plain, "differences are from the plain model"
        assert len(study.rows) > 1


def test_every_table_and_figure_of_the_paper_has_its_study():
    tables = {"table1", "table2", "table3", "table4a", "table4b", "table4c", "table4d"}
    assert {*tables, "figure1", "figure2", "figure5", "figure6"} <= set(STUDIES)


def test_the_rows_are_the_papers(configured):
    rows = build_study(configured("study=table1")).rows
    assert list(rows) == ["baseline", "ona", "spr", "pos", "pos_star", "ona_diffused", "pos_diffused"]
    used = [(r.method.inverts, r.method.predicts, r.method.rewrites) for r in rows.values()]
    assert used == [
        (False, False, False),
        (True, False, False),
        (False, False, True),
        (True, False, True),
        (False, True, True),
        (False, False, False),
        (False, False, True),
    ]
    assert [row.method.diffuses for row in rows.values()] == [False] * 5 + [True] * 2
    assert build_study(configured("study=table2")).rows["pos_star"].against == "pos"
    etas = [row.method.eta for row in build_study(configured("study=figure6")).rows.values()]
    assert etas == [0, 0.1, 0.2, 0.3, 0.5, 1, 2, math.inf]
    gammas = [row.method.gamma for row in build_study(configured("study=table4b")).rows.values()]
    assert gammas == [0, 0.1, 0.2, 0.5, 1]


def test_a_row_is_changed_and_dropped_on_the_command_line(configured):
    study = build_study(
        configured("study.rows.ona.method.eta=1", "~study.rows.pos_star", "npnet=none", "guidance=2")
    )
    assert study.rows["ona"].method.eta == 1
    assert "pos_star" not in study.rows
    assert study.pipeline.npnet is None
    assert (study.pipeline.guidance, study.pipeline.steps) == (2, 2)


def test_the_parts_that_no_row_needs_are_not_built(configured):
    study = build_study(configured("study=guidance", "pool=folder", "pool.path=/nowhere"))
    parts = study.pipeline
    assert (parts.retriever, parts.rewriter, parts.npnet) == (None, None, None)


@pytest.mark.parametrize(
    ("profile", "prompts", "steps", "seeds"), [("default", 64, 10, 1), ("full", 2048, 50, 3)]
)
def test_the_profiles(configured, profile: str, prompts: int, steps: int, seeds: int):
    study = build_study(configured(f"profile={profile}"))
    assert (len(study.benchmark.prompts), study.pipeline.steps, len(study.seeds)) == (prompts, steps, seeds)
    assert len(study.requests) == prompts * seeds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["study=table4c", "rewriter=none", "~study.rows.baseline"],
            "No row of table4c can be .*no rewriter",
        ),
        (["study.rows=null"], "study.rows is empty: table1 needs at least one row"),
        (["manifest=/nowhere.json"], "Cannot read the manifest /nowhere.json"),
        (["reference=/nowhere.safetensors"], "/nowhere.safetensors"),
        (["study=table3"], "table3 is a study of image models, and colour makes videos of 16 frames"),
        (["backbone.frames=8"], "looks at 16 frames of a video, and colour makes videos of 8 frames"),
        (["backbone.frames=1"], "looks at 16 frames of a video, and colour makes images"),
        (["backbone.size=32"], "take videos of 64x64, and colour makes 32x32: choose detectors=paper"),
        (["seeds=-1"], "seeds=-1 cannot be read"),
        (["study=figure1", "seeds=0"], "figure1 needs at least 2 seeds to see noises differ"),
        (["detectors.extra=[kdi]"], "there is no metric kdi, only kid, "),
        (["benchmark.size=0"], "between 1 and 2048, not 0"),
        (["steps=0"], "steps=0"),
        (["batch_size=0"], "batch_size=0"),
        (["resamples=0"], "resamples must be at least 1, not 0"),
        (["guidance=-1"], r"guidance=-1 is not allowed: it is a number from 0, 1 for none"),
        (["shard.index=2", "shard.count=2"], "shard 2 of 2"),
        (["study.rows.ona.method.eta=-1"], r"method\.eta=-1"),
        (["study.rows.spr.method.gamma=1.5"], r"gamma=1\.5"),
        (["study.rows.spr.method.rewrite=no"], r"method\.rewrite=no"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(configured, tmp_path: Path, arguments: list[str], said: str):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Hydra wraps what a constructor raises
        reproduce(configured(*arguments))
    errors = [error for error in (raised.value, raised.value.__cause__) if isinstance(error, PosError)]
    assert errors, raised.value
    assert re.search(said, str(errors[0])), errors[0]
    assert len(str(errors[0]).splitlines()) == 1
    assert not list((tmp_path / "out").glob("*.md"))
    assert not (tmp_path / "out" / "videos").exists()


@pytest.mark.parametrize(
    ("arguments", "rows", "reason"),
    [
        (["rewriter=none"], ["spr", "pos", "pos_star", "pos_diffused"], "there is no rewriter"),
        (["npnet=none"], ["pos_star"], "no NPNet is given"),
        (["npnet.backbone._target_=pos.backbones.scvideo.load_shapes", "+npnet.backbone.unet=no.safetensors"],
         ["pos_star"], "no.safetensors"),
        (["pool=folder", "pool.path=/nowhere"], BUT_THE_FIRST, "/nowhere"),
        (["pool=folder"], BUT_THE_FIRST, "The key 'pool.path' needs a value"),
        (["pool.size=2"], [*TEXT, "pos_diffused"], "5 references cannot be retrieved from a pool of 2"),
        (["study=table4c", "pool.size=7"], ["k_10"], "10 references cannot be retrieved from a pool of 7"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_part_that_cannot_be_built_leaves_out_the_rows_that_need_it(
    configured, arguments: list[str], rows: list[str], reason: str
):
    gaps = build_study(configured(*arguments)).gaps
    assert list(gaps) == rows
    assert all(reason in gap for gap in gaps.values()), gaps


def test_another_benchmark_does_not_replace_results(configured, tmp_path: Path):
    rows = [f"~study.rows.{key}" for key in BUT_THE_FIRST]
    reproduce(configured(*rows))
    before = (tmp_path / "out" / "table1.json").read_bytes()
    with pytest.raises(PosError, match="holds results of the benchmark shapes-test, and this is shapes-val"):
        reproduce(configured(*rows, "benchmark.split=validation"))
    assert (tmp_path / "out" / "table1.json").read_bytes() == before
    (tmp_path / "out" / "table1.json").write_text("{")
    with pytest.raises(PosError, match=r"table1\.json is damaged .*: remove it"):
        reproduce(configured(*rows))


class TestFiles:
    @pytest.fixture
    def ran(self, configured, tmp_path: Path):
        """The command, with the shipped detectors and reference statistics."""
        return reproduce(configured()), tmp_path / "out"

    def test_a_run_writes_its_table_records_and_report(self, configured, ran):
        table, out = ran
        rows = ["baseline", "+ONA", "+SPR", "+POS", "+POS*", "+ONA, diffused", "+POS, diffused"]
        assert list(table.rows) == rows
        pairs = ["+ONA, diffused \N{MINUS SIGN} +ONA", "+POS, diffused \N{MINUS SIGN} +POS"]
        assert list(table.pairs) == pairs
        markdown = (out / "table1.md").read_text()
        assert markdown.startswith(table.to_markdown())
        assert "table1 on shapes-test: 3 prompts, T = 2" in markdown
        for heading in (
            "FID",
            "CLIP-FID",
            "CLIPSIM",
            "FVD",
            "IS",
            "Accuracy",
            "Evaluations",
            "Seconds",
            "Motion",
        ):
            assert heading in markdown
        assert "- 3 videos a row." in markdown
        assert "+SPR: 3 of 3 rewrites accepted" in markdown

        assert (out / "table1.tex").read_text().startswith(table.to_latex())
        assert "paper" not in markdown.replace("with those of the paper", "")  # never beside Shapes

        lines = list(csv.DictReader((out / "table1.csv").read_text().splitlines()))
        assert {line["row"] for line in lines} == {*rows, *pairs}
        results = json.loads((out / "table1.json").read_text(), parse_constant=pytest.fail)
        by_name = {(line["row"], line["metric"]): line for line in lines}
        for row in results["rows"].values():
            assert float(by_name[row["label"], "fvd"]["value"]) == row["metrics"]["fvd"]["value"]
        assert [row["cost"]["evaluations"] for row in results["rows"].values()] == [2, 4, 2, 4, 6, 2, 2]
        records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        assert len(records) == 21

        page = (out / "table1.html").read_text()
        assert (out / "report.html").read_text() == page  # that of the study that was run last
        study = build_study(configured())
        shown, hidden = study.benchmark.prompts[:2], study.benchmark.prompts[2]
        assert all(prompt.text in page for prompt in shown)
        assert hidden.text not in page
        assert page.count("data:image/webp;base64,") == 2 * (7 + 1)
        assert records[0]["prompt"] == shown[0].text
        assert not re.search(r"(src|href)=.?https?:", page)

        # Again: nothing is made, and the numbers are the same to the last digit.
        before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
        assert reproduce(configured()).to_csv() == table.to_csv()
        after = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
        assert {path.name for path in before if before[path] != after[path]} == set()
        assert before.keys() == after.keys()

    def test_shards_leave_the_scoring_to_a_later_run(self, configured, tmp_path: Path):
        rows = [f"~study.rows.{key}" for key in BUT_THE_FIRST[1:]]
        for index in (0, 1):
            assert reproduce(configured(*rows, f"shard.index={index}", "shard.count=2")) is None
            assert not list((tmp_path / "out").glob("table1.*"))
        table = reproduce(configured(*rows))
        assert list(table.rows) == ["baseline", "+ONA"]

    def test_a_folder_in_use_is_neither_generated_nor_scored(self, configured, tmp_path: Path):
        rows = [f"~study.rows.{key}" for key in BUT_THE_FIRST]
        for folder in (tmp_path / "out", tmp_path / "out" / "shard-0-of-1"):
            with lock_folder(folder), pytest.raises(PosError, match=f"Another run is writing to {folder}"):
                reproduce(configured(*rows))
            assert not list((tmp_path / "out").glob("table1.*"))

    def test_a_sweep_draws_its_own_curve_else_the_recorded_one(
        self, configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        keys = ["eta_0_1", "eta_0_2", "eta_0_3", "eta_0_5", "eta_2"]
        recorded = tmp_path / "recorded.json"
        drawn = [metric.name for metric in registered() if metric.plotted]
        assert set(drawn) == {"fvd", "clipsim", "accuracy"}
        monkeypatch.setattr(presentation, "RECORDED_SWEEP", recorded.as_posix())

        def run(*overrides: str) -> str:
            study: Study = build_study(configured(*overrides))
            study.generate()
            cfg = configured(*overrides)
            results = score_study(study, instantiate(cfg.detectors), reference)
            write_files(study, results, report_prompts=0, over=cfg.study.get("over"))
            recorded.write_text(json.dumps(results.to_json()))
            return (study.out / "report.html").read_text()

        reference = Reference.load(asset("shapes/reference.safetensors"))
        plain = [f"~study.rows.{key}" for key in ("spr", "pos", "pos_star")]
        sweep = run("study=figure6", *(f"~study.rows.{key}" for key in keys))
        assert sweep.count('class="curve"') == len(drawn)
        assert "This study." in sweep
        assert "∞" in sweep
        results = json.loads(recorded.read_text())
        later = run(*plain)
        assert later.count('class="curve"') == len(drawn)
        setting = results["setting"]
        assert f"Recorded: +ONA on {setting['prompts']} prompts of {setting['benchmark']}, T = 2" in later
