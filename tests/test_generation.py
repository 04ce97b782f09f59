from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig

from pos.config.building import build_pipeline
from pos.config.loading import load_config, load_pipeline
from pos.config.overrides import prepare
from pos.data.prompts import Prompt
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.generation import make_requests, parse_seeds, run, slug
from pos.method import Method
from pos.ona.reconstruction import Check
from pos.pipeline import Pipeline
from pos.storage import lock_folder
from tests.closed_form import SPREAD, ColourBackbone
from tests.known import Silent, known_pipeline

CONF = Path(__file__).parents[1] / "conf"
EXACT = (
    "~backbone",
    "+backbone._target_=tests.closed_form.ColourBackbone",
    "+backbone.precision=${precision}",
)


@pytest.fixture
def configured(tmp_path: Path):
    """The configuration of `generate` with the backbone in closed form, writing below the test's folder."""

    def make(*overrides: str) -> DictConfig:
        folders = (f"out={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}")
        method = [] if any(word.startswith("method=") for word in overrides) else ["method=baseline"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("generate", prepare([*EXACT, *folders, *method, *overrides]))

    return make


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def test_a_video_its_preview_and_its_provenance_are_written(configured, tmp_path: Path):
    run(configured("prompt=a red ring (old), moving", "seeds=7", "steps=20"))
    out = tmp_path / "out"
    stem = "0000-a-red-ring-old-moving-s7"
    assert names(out) == [f"{stem}.gif", f"{stem}.json", f"{stem}.safetensors"]
    provenance = json.loads((out / f"{stem}.json").read_text())
    assert (provenance["prompt"], provenance["seed"]) == ("a red ring (old), moving", 7)
    assert provenance["steps"] == 20
    video = read_video(out / f"{stem}.safetensors", frames=2).float()
    assert video.shape == (2, 3, 4, 4)
    # Exact samples of N(colour, 0.1^2) in [-1, 1]: red is bright, the others are dark.
    assert video[:, 0].mean() > 230
    assert video[:, 1:].mean() < 25


def test_every_prompt_of_a_file_is_made_with_every_seed(configured, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("red\nblue\n")
    run(configured(f"prompts={tmp_path / 'prompts.txt'}", "seeds=0..1,5", "batch_size=4"))
    stems = [name.removesuffix(".json") for name in names(tmp_path / "out") if name.endswith(".json")]
    assert stems == [f"{index}-s{seed}" for index in ("0000-red", "0001-blue") for seed in (0, 1, 5)]


def test_a_run_goes_on_where_it_was_stopped_and_repeats_nothing(
    configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cfg = configured("prompt=red", "seeds=0..4", "batch_size=2")
    made = []
    generate = Pipeline.generate

    def stopping(self: Pipeline, requests):
        for sample in generate(self, requests):
            if len(made) == 3:
                raise KeyboardInterrupt
            made.append(sample.request.seed)
            yield sample

    monkeypatch.setattr(Pipeline, "generate", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(cfg)
    stopped = contents(tmp_path / "out")
    assert len(stopped) == 9

    monkeypatch.setattr(Pipeline, "generate", generate)
    requested = []
    monkeypatch.setattr(
        Pipeline,
        "generate",
        lambda self, todo: requested.extend(r.seed for r in todo) or generate(self, todo),
    )
    run(cfg)
    assert requested == [3, 4]
    finished = contents(tmp_path / "out")
    assert len(finished) == 15
    assert all(finished[name] == data for name, data in stopped.items())


def test_a_model_that_did_not_answer_is_asked_again_by_the_next_run(
    configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine, requested = Silent({"red": "blue"}), []
    generate = Pipeline.generate

    def known(_: DictConfig) -> Pipeline:
        pipeline = known_pipeline(tmp_path / "cache", Method(rewrite=True, gamma=0.5), steps=2)
        return replace(pipeline, rewriter=replace(pipeline.rewriter, engine=engine))

    def noted(self: Pipeline, requests):
        requested.append(len(requests))
        return generate(self, requests)

    monkeypatch.setattr("pos.generation.build_pipeline", known)
    monkeypatch.setattr(Pipeline, "generate", noted)
    cfg = configured("prompt=red", "seeds=0,1")
    for _ in range(2):
        run(cfg)
    engine.silent = False
    for _ in range(2):
        run(cfg)
    assert requested == [2, 0, 2, 0]
    record = json.loads((tmp_path / "out" / "0000-red-s1.json").read_text())
    assert (record["rewritten_prompt"], record["rewrite"]["answered"]) == ("blue", True)


@pytest.mark.parametrize("change", ["steps=5", "negative_prompt=blue", "guidance=2", "backbone.size=6"])
def test_videos_of_other_settings_are_neither_taken_nor_overwritten(configured, tmp_path: Path, change: str):
    backbone = "+backbone.size=4" if change.startswith("backbone") else "steps=4"
    run(configured("prompt=red", backbone))
    before = contents(tmp_path / "out")
    with pytest.raises(PosError, match=r"0000-red-s0\.json is of a video with other settings"):
        run(configured("prompt=red", f"+{change}" if change.startswith("backbone") else change))
    assert contents(tmp_path / "out") == before


def test_a_file_that_is_no_provenance_is_refused_and_kept(configured, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0000-red-s0.json").write_text("my notes")
    with pytest.raises(PosError, match=r"0000-red-s0\.json is damaged .* choose another out=DIR"):
        run(configured("prompt=red"))
    assert contents(tmp_path / "out") == {"0000-red-s0.json": b"my notes"}


def test_a_video_of_another_prompt_is_neither_taken_nor_overwritten(configured, tmp_path: Path):
    run(configured("prompt=red!"))
    before = contents(tmp_path / "out")
    with pytest.raises(PosError, match=r"0000-red-s0\.json is of another prompt, and is kept"):
        run(configured("prompt=red?"))
    assert contents(tmp_path / "out") == before


def test_a_prompt_that_a_file_lists_twice_is_two_videos(configured, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("red\nred\n")
    paths = run(configured(f"prompts={tmp_path / 'prompts.txt'}"))
    assert [path.name for path in paths] == ["0000-red-s0.json", "0001-red-s0.json"]
    first, second = (path.read_bytes() for path in (path.with_suffix(".safetensors") for path in paths))
    assert first == second
    assert run(configured(f"prompts={tmp_path / 'prompts.txt'}")) == paths


def test_two_runs_in_one_folder_are_refused(configured, tmp_path: Path):
    with lock_folder(tmp_path / "out"), pytest.raises(PosError, match="Another run is writing"):
        run(configured("prompt=red"))


def test_a_folder_that_cannot_be_written_is_named(configured, tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PosError, match=str(tmp_path / "out")):
        run(configured("prompt=red"))


def test_the_parts_a_method_does_not_ask_are_not_made(configured):
    pipeline = build_pipeline(
        configured("prompt=red", "method=baseline", "pool=folder", "pool.path=/nowhere")
    )
    assert (pipeline.retriever, pipeline.rewriter, pipeline.npnet) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ([], Check()),
        (["inversion_check=true"], Check()),
        (["inversion_check=false"], None),
        (["inversion_check=null"], None),
        (["inversion_check.min_psnr=30", "inversion_check.lower_eta=true"], Check(30, True)),
    ],
)
def test_the_look_at_inversions_is_a_choice(configured, words: list[str], check: Check | None):
    assert build_pipeline(configured("prompt=red", *words)).inversion_check == check


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], 'Give either prompt="some words" or prompts=FILE.'),
        (["prompt=a", "prompts=b.txt"], "Give either prompt"),
        (["prompt="], "The prompt is ''"),
        (["prompt= \t\n"], "at least one word"),
        (["prompts=absent.txt"], r"Cannot read the prompts file absent\.txt"),
        (["prompt=red", "seeds=-1"], "seeds=-1 cannot be read"),
        (["prompt=red", "seeds=a"], "seeds=a cannot be read"),
        (["prompt=red", "seeds="], "seeds= cannot be read"),
        (["prompt=red", "seeds=3..1"], r"The seeds 3\.\.1 are not allowed"),
        (["prompt=red", "seeds=0..1000000000"], "a range holds 1 to"),
        (["prompt=red", "steps=0"], "steps=0"),
        (["prompt=red", "steps=many"], "steps=many .* whole number"),
        (["prompt=red", "height=4.5"], r"height=4\.5 .* whole number"),
        (["prompt=red", "guidance=nan"], "guidance=nan"),
        (["prompt=red", "guidance=strong"], "guidance=strong"),
        (["prompt=red", "batch_size=0"], "batch_size=0"),
        (["prompt=red", "method=pos", "rewriter=none"], "no rewriter"),
        (["prompt=red", "method=pos_star", "method.gamma=0", "npnet=none"], "no NPNet"),
        (["prompt=red", "method=ona", "pool.size=0"], "pool"),
        (["prompt=red", "method=ona", "pool=folder", "pool.path=/nowhere"], "/nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    configured, tmp_path: Path, arguments: list[str], said: str
):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Hydra wraps what a constructor raises
        run(configured(*arguments))
    chain = [raised.value, raised.value.__cause__]
    errors = [error for error in chain if isinstance(error, PosError)]
    assert errors, raised.value
    assert re.search(said, str(errors[0])), errors[0]
    assert len(str(errors[0]).splitlines()) == 1
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


def test_an_absurdly_long_prompt_is_made_with_a_warning(
    configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        run(configured("prompt=" + "red and round " * 400))
    assert "Only the first 20 words" in caplog.text
    (name,) = [name for name in names(tmp_path / "out") if name.endswith(".json")]
    assert len(name) < 80


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        (7, [7]),
        ("0..3", [0, 1, 2, 3]),
        ("0,2, 5", [0, 2, 5]),
        ("[1, 2]", [1, 2]),
        ([3, 4], [3, 4]),
    ],
)
def test_seeds(text, seeds: list[int]):
    assert parse_seeds(text) == seeds


def test_repeated_seeds_count_once():
    assert parse_seeds("0..2,1,0") == [0, 1, 2]


def test_the_python_form_is_the_same_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pipeline = load_pipeline("method=baseline", "steps=30", "negative_prompt=a, b = c", *EXACT)
    assert (pipeline.steps, pipeline.negative_prompt, pipeline.method) == (30, "a, b = c", Method())
    (sample,) = pipeline.generate(make_requests(["a green, green hill"]))
    assert sample.video.float().mean((0, 2, 3)).argmax() == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("method=poss", "There is no method 'poss': choose one of baseline, ona, ona_diffused, pos, "),
        ("method.etta=1", "There is no key 'method.etta'. Did you mean 'method.eta'"),
        ("method.eta=-1", "method.eta=-1 is not allowed"),
        (
            "backbone=tuneavideo",
            r"'backbone.folder' needs a value: .*, what tuning wrote .* \(see conf/",
        ),
    ],
)
def test_the_python_form_says_what_the_command_says(override: str, said: str):
    with pytest.raises(PosError, match=said):
        load_pipeline(override)


def test_the_python_form_of_any_command():
    config = load_config("reproduce", "study=figure2", "study.figure.clips=7", "out=a, b")
    assert (config.study.name, config.study.figure.clips, config.out) == ("figure2", 7, "a, b")


def test_requests_are_every_prompt_with_every_seed_and_share_ids_across_seeds():
    made = make_requests(["red", Prompt("blue", "mine")], [0, 1])
    assert [(request.prompt, request.seed) for request in made] == [
        ("red", 0),
        ("red", 1),
        ("blue", 0),
        ("blue", 1),
    ]
    assert made[0].id == made[1].id != "red"
    assert made[2].id == "mine"


@given(st.text(max_size=200))
def test_a_slug_is_a_safe_piece_of_a_file_name(text: str):
    made = slug(text)
    assert 0 < len(made) <= 40
    assert not set(made) & set("/\\. \n\0:*?\"<>|'")


def test_the_exact_backbone_is_exact():
    """The check of this file's own instrument: long sampling ends in the data's distribution."""
    pipeline = Pipeline(backbone=ColourBackbone(), method=Method(), steps=100, batch_size=64)
    videos = torch.stack([s.video for s in pipeline.generate(make_requests(["blue"], range(64)))]).float()
    blue = videos[:, :, 2] / 127.5 - 1
    # The mean of a Gaussian around 1 that is cut off at 1.
    assert abs(blue.mean() - (1 - SPREAD / (2 * math.pi) ** 0.5)) < 0.01
