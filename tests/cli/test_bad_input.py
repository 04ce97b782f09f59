"""Bad input on the command line of the evaluation: one sentence, or a number and what it means."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pos.data.shapes.splits import test_prompts as shapes_prompts
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.writing import write_lossless
from pos.networks.detectors.i3d import I3D
from pos.storage import asset
from tests.cli.test_commands import run as run_process
from tests.cli.test_commands import start
from tests.data.annotations import write_ucf101
from tests.data.clips import ramp, write

ROOT = Path(__file__).parents[2]
QUICK = ("device=cpu", "resamples=10")


@pytest.fixture
def invoke(tmp_path, monkeypatch, capsys):
    """A command in this process, in an empty folder: its exit status and the last line that it says."""
    monkeypatch.chdir(tmp_path)

    def call(command: str, *arguments: str) -> tuple[int, str]:
        spec = importlib.util.spec_from_file_location(command, ROOT / "experiments" / f"{command}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [f"{command}.py", *arguments])
        status = 0
        try:
            module.main()
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out if status == 0 else err.strip().splitlines()[-1]

    return call


@pytest.fixture
def good(tmp_path) -> Path:
    """Six clips of the first prompts of Shapes, as generate.py writes them."""
    for index, (prompt, clip) in enumerate(
        zip(shapes_prompts(6), render(draw_scenes(range(6))), strict=True)
    ):
        path = tmp_path / "good" / f"v{index}.safetensors"
        write_lossless(path, clip)
        path.with_suffix(".json").write_text(json.dumps({"prompt": prompt.text, "id": prompt.id}))
    return tmp_path / "good"


def empty(folder: Path) -> list[str]:
    (folder / "none").mkdir()
    return ["videos=none"]


def one(folder: Path) -> list[str]:
    (folder / "one").mkdir()
    write(folder / "one" / "v.mp4", ramp(16, 64, 64))
    (folder / "one" / "prompts.csv").write_text("video,prompt\nv.mp4,a red ring\n")
    return ["videos=one"]


def unreadable(folder: Path) -> list[str]:
    path = folder / "good" / "v3.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    return ["videos=good"]


def prompts(content: bytes, name: str = "p.csv"):
    def wrong(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["videos=good", f"prompts={name}"]

    return wrong


def weights(*arguments: str):
    return lambda _folder: ["videos=good", "detectors=paper", *arguments]


def stranger(folder: Path) -> list[str]:
    (folder / "m.json").write_text("{}")
    return ["videos=good", "manifest=m.json"]


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda _: ["videos=nowhere"], "The folder of videos nowhere does not exist."),
        (lambda _: ["videos=good/v0.json"], "The folder of videos good/v0.json is no folder."),
        (empty, "none holds no video: neither .safetensors, .mp4"),
        (one, "A score needs at least 2 videos, and there is 1."),
        (unreadable, "Cannot read the video good/v3.safetensors: .* Set unreadable=skip"),
        (prompts(b"video,prompt\nv0,a\nv1,b\n"), "4 videos of good have no prompt in p.csv, such as v2"),
        (prompts(b"video,prompt\nw,a\n"), "p.csv names 1 videos that good does not hold, such as w."),
        (
            prompts(b"video,prompt\nv0,a\nv0.safetensors,b\n"),
            "p.csv names 2 videos, and some of them twice: good has 1",
        ),
        (prompts(b"\xff\xfe\x00v"), "Cannot read the prompts file p.csv: it is not UTF-8 text."),
        (prompts(b"\xff\xfe", "p.txt"), "Cannot read the prompts file p.txt: it is not UTF-8 text."),
        (prompts(b"one\n", "p.txt"), "p.txt holds 1 prompts for 6 videos: give one a video."),
        (prompts(b"[1]\n", "p.jsonl"), "p.jsonl needs a column 'video' that names a file"),
        (weights(), "No metric can be computed. There are no weights of FID-Inception at weights/"),
        (weights(f"detectors.fid={asset('shapes/fid.safetensors')}"), "do not fit FIDInception: 564 missing"),
        (weights("detectors.fid=good/v0.json"), "good/v0.json is not a readable safetensors file"),
        (
            lambda _: ["videos=good", "reference=good/v0.safetensors"],
            "The entries detectors, source are missing in",
        ),
        (lambda _: ["videos=good", "splits=7"], "splits=7 is not allowed: 6 videos make 1 to 6 splits."),
        (
            lambda _: ["videos=good", "detectors.extra=[kdi]"],
            "there is no metric kdi, only kid, fvd_videomae",
        ),
        (stranger, "m.json is no manifest: its key 'format' must be 'pos-manifest-1'."),
    ],
)
def test_an_evaluation_that_cannot_be_is_one_sentence(invoke, tmp_path, wrong, said):
    status, sentence = invoke("evaluate", *QUICK, *wrong(tmp_path))
    assert status == 2
    assert sentence.startswith("error: ")
    assert re.search(said, sentence), sentence
    assert not (tmp_path / "outputs" / "evaluate" / "results.json").exists()


def test_few_videos_of_any_length_and_size_are_scored_and_told(invoke, good, tmp_path):
    write(good / "w0.mp4", ramp(7, 128, 96))
    write(good / "w1.mp4", ramp(40, 48, 80))
    for name in ("w0", "w1"):
        (good / f"{name}.json").write_text(json.dumps({"prompt": "a cat"}))
    (good / "broken.gif").write_bytes(b"GIF89a")
    (good / "broken.json").write_text(json.dumps({"prompt": "a cat"}))
    status, said = invoke("evaluate", *QUICK, "videos=good", "unreadable=skip")
    assert status == 0
    for sentence in (
        "1 of 8 videos hold fewer than 16 frames, and repeat some.",
        "1 of 8 videos hold more than 16 frames, over which those read are spread.",
        "Videos of 48x80, 64x64, 128x96 pixels were scaled and cropped to 64x64.",
        "Left out as unreadable: broken.gif.",
        "8 videos for 64 features: FID, CLIP-FID and FVD are inflated at this number and comparable only "
        "with those of equally many videos; so few leave most directions of the features without any spread.",
    ):
        assert sentence in said
    results = json.loads((tmp_path / "outputs" / "evaluate" / "results.json").read_text())
    assert results["coverage"]["videos"] == 8


def test_one_prompt_gives_values_without_intervals(invoke, good, tmp_path):
    (tmp_path / "p.csv").write_text("video,prompt\n" + "".join(f"v{n},a ring\n" for n in range(6)))
    status, said = invoke("evaluate", *QUICK, "videos=good", "prompts=p.csv")
    assert status == 0
    assert "All videos are of one prompt: there are no intervals, which are over prompts." in said
    found = json.loads((tmp_path / "outputs" / "evaluate" / "results.json").read_text())["metrics"]["fvd"]
    assert found["value"] > 0
    assert (found["low"], found["high"]) == (None, None)
    assert good.is_dir()


@pytest.mark.usefixtures("good")
def test_weights_that_give_no_numbers_are_named(invoke, tmp_path):
    state = I3D().state_dict()
    state["logits.conv3d.bias"] = torch.full((400,), torch.nan)
    save_file(state, tmp_path / "i3d.safetensors")
    paper = ("detectors=paper", "detectors.fvd=i3d.safetensors", "device=cpu")
    status, said = invoke("make_reference", *paper, "videos=good", "out=real.safetensors")
    assert status == 2
    assert "6 of 6 feature vectors hold NaN or infinite values" in said


def test_a_manifest_of_other_videos_is_one_sentence(invoke, good, tmp_path):
    write_ucf101(tmp_path / "lists")
    assert invoke("make_manifest", "benchmark=ucf101", "benchmark.folder=lists", "out=m.json")[0] == 0
    reference = f"reference={asset('shapes/reference.safetensors')}"
    for command, arguments, said in (
        (
            "evaluate",
            ["videos=good", reference],
            "None of the 6 videos of good has an id or a prompt of ucf101",
        ),
        (
            "make_reference",
            ["videos=good", "out=r.safetensors"],
            "good holds none of the 6 videos that the benchmark names",
        ),
        ("make_reference", ["videos=no", "out=r.safetensors"], "folder of real videos no does not exist"),
        ("make_reference", ["videos=good"], "videos is given: name the file to write with out=FILE"),
        ("make_reference", ["out=r.safetensors"], "name their folder with videos=DIR"),
    ):
        status, sentence = invoke(command, "manifest=m.json", "device=cpu", *arguments)
        assert status == 2
        assert said in sentence
    assert not (tmp_path / "r.safetensors").exists()
    assert good.is_dir()


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_like_one_that_was_not(tmp_path):
    for index, clip in enumerate(render(draw_scenes(range(300)))):
        write_lossless(tmp_path / "many" / f"{index:03}.safetensors", clip)
    rows = [f"{index:03},a ring number {index}" for index in range(300)]
    (tmp_path / "many" / "prompts.csv").write_text("\n".join(["video,prompt", *rows]) + "\n")
    arguments = ["videos=many", *QUICK, "batch_size=2"]
    process = start(tmp_path, "evaluate", *arguments)
    kept = tmp_path / "outputs" / "cache" / "features"
    for _ in range(2400):
        if (kept.is_dir() and len(list(kept.iterdir())) > 5) or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "outputs" / "evaluate" / "results.json").exists()
    before = {
        path.name: path.stat().st_mtime_ns for path in kept.glob("*.safetensors") if path.name[0] != "."
    }
    assert 0 < len(before) < 150
    assert run_process(tmp_path, "evaluate", *arguments)[0] == 0
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.safetensors") if path.name[0] != "."}
    assert before.items() <= after.items()
    assert run_process(tmp_path, "evaluate", *arguments, "out=once", "cache=other")[0] == 0
    results = [
        json.loads((tmp_path / out / "results.json").read_text())["metrics"]
        for out in ("outputs/evaluate", "once")
    ]
    assert results[0] == results[1]
