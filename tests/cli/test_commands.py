"""The commands as a user runs them: processes of their own, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pos.data.video.reading import read_video

ROOT = Path(__file__).parents[2]
EXACT = (
    "method=baseline",
    "~backbone",
    "+backbone._target_=tests.closed_form.ColourBackbone",
)


def start(
    folder: Path, command: str, *arguments: str, environment: dict[str, str] | None = None, **options
) -> subprocess.Popen[str]:
    clean = {
        name: value for name, value in os.environ.items() if name not in ("POS_DEBUG", "HYDRA_FULL_ERROR")
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "experiments" / f"{command}.py"), *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"preexec_fn": _hears_interrupts, **options},
    )


def _hears_interrupts() -> None:
    """As from a terminal: what a shell starts with ``&``, such as these tests, ignores SIGINT otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(folder: Path, command: str, *arguments: str, **options) -> tuple[int, str, str]:
    process = start(folder, command, *arguments, **options)
    stdout, stderr = process.communicate(timeout=600)
    return process.returncode, stdout, stderr


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("command", sorted(path.stem for path in (ROOT / "conf").glob("*.yaml")))
def test_help_is_there_in_under_5_seconds(tmp_path: Path, command: str):
    began = time.perf_counter()
    status, stdout, stderr = run(tmp_path, command, "--help")
    assert (status, stderr) == (0, "")
    assert f"pos {command}" in stdout
    assert time.perf_counter() - began < 5
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("generate", ["promt=a red ring"], "There is no key 'promt'. Did you mean 'prompt'"),
        ("generate", ["prompt=a", "method=poss"], "There is no method 'poss': choose one of baseline, "),
        ("generate", ["prompt=a", "bakbone=shapes"], "There is no key 'bakbone'. Did you mean 'backbone'"),
        ("evaluate", ["vidoes=x"], "There is no key 'vidoes'. Did you mean 'videos'"),
        ("make_manifest", ["benchmark=ucf"], "There is no benchmark 'ucf': choose one of coco, "),
        ("compare", ["refrence=x"], "There is no key 'refrence'. Did you mean 'reference'"),
        ("train", ["+experiment=shapes/jugde"], "There is no experiment/shapes 'jugde'"),
        ("reproduce", ["settings=typo"], "There is no settings 'typo': choose one of default, modelscope_"),
        ("reproduce", ["study=table9"], "There is no study 'table9': choose one of eta_star, "),
    ],
)
def test_misspelt_keys_and_groups_are_named_at_once(
    tmp_path: Path, command: str, arguments: list[str], said: str
):
    began = time.perf_counter()
    status, stdout, stderr = run(tmp_path, command, *arguments)
    assert time.perf_counter() - began < 5
    assert (status, stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", stderr), stderr
    assert said in stderr
    assert files(tmp_path) == {}


def test_a_full_disk_is_one_sentence_and_keeps_what_was_made(tmp_path: Path):
    arguments = [*EXACT, "prompt=red", "+backbone.size=64"]
    assert run(tmp_path, "generate", *arguments, "seeds=0")[0] == 0
    made = files(tmp_path)

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    status, _, stderr = run(tmp_path, "generate", *arguments, "seeds=0,1", preexec_fn=small_files_only)
    assert status == 2, stderr
    assert "error: Cannot write outputs/generate/0000-red-s1" in stderr
    assert "Traceback" not in stderr
    assert files(tmp_path) == made


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on_and_ends_like_one_that_was_not(tmp_path: Path, how: signal.Signals):
    arguments = [*EXACT, "prompt=blue", "seeds=0..39", "batch_size=1", "steps=50"]
    process = start(tmp_path, "generate", *arguments)
    first = tmp_path / "outputs/generate/0000-blue-s2.json"
    for _ in range(1200):
        if first.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL), stderr
    assert "Traceback" not in stderr
    stopped = {name: data for name, data in files(tmp_path).items() if name.endswith(".json")}
    assert 3 <= len(stopped) < 40

    assert run(tmp_path, "generate", *arguments)[0] == 0
    finished = files(tmp_path)
    assert stopped.items() <= finished.items()
    assert sum(name.endswith(".json") for name in finished) == 40
    (tmp_path / "once").mkdir()
    assert run(tmp_path / "once", "generate", *arguments)[0] == 0
    for seed in range(40):
        name = f"outputs/generate/0000-blue-s{seed}.safetensors"
        assert read_video(tmp_path / name, 2).equal(read_video(tmp_path / "once" / name, 2))


@pytest.mark.slow
def test_two_runs_into_one_folder(tmp_path: Path):
    arguments = [*EXACT, "prompt=blue", "seeds=0..399", "batch_size=1", "steps=50"]
    first = start(tmp_path, "generate", *arguments)
    for _ in range(1200):
        if (tmp_path / "outputs/generate/0000-blue-s0.json").exists() or first.poll() is not None:
            break
        time.sleep(0.05)
    status, _, stderr = run(tmp_path, "generate", *arguments)
    first.terminate()
    first.communicate(timeout=60)
    assert status == 2
    assert "Another run is writing to outputs/generate" in stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["baseline", "ona", "spr", "pos", "pos_star"])
def test_every_method_makes_a_video_of_any_prompt_with_the_shipped_weights(tmp_path: Path, method: str):
    prompt = 'it\'s a (red) ring, moving left & 50% "faster" = ${x}'
    arguments = [f"prompt={prompt}", f"method={method}", "steps=4", "seeds=3"]
    status, _, stderr = run(tmp_path, "generate", *arguments)
    assert status == 0, stderr
    (record,) = (tmp_path / "outputs/generate").glob("*.json")
    provenance = json.loads(record.read_text())
    assert (provenance["prompt"], provenance["seed"], provenance["steps"]) == (prompt, 3, 4)
    assert bool(provenance["rewritten_prompt"]) == (method in ("spr", "pos", "pos_star"))
    assert read_video(record.with_suffix(".safetensors"), 16).shape == (16, 3, 64, 64)

    before = files(tmp_path / "outputs/generate")
    assert run(tmp_path, "generate", *arguments)[0] == 0
    assert files(tmp_path / "outputs/generate") == before


@pytest.mark.slow
def test_a_sweep_makes_a_folder_for_each_value(tmp_path: Path):
    status, stdout, stderr = run(
        tmp_path, "generate", "-m", "prompt=a blue star, spinning", "method=ona", "method.eta=0,1", "steps=2"
    )
    assert status == 0, stderr
    made = [name for name in files(tmp_path / "outputs/generate") if name.endswith("-s0.json")]
    assert made == [
        f"method.eta={eta},method=ona,steps=2/0000-a-blue-star-spinning-s0.json" for eta in (0, 1)
    ]
    assert re.search(r"\| eta=1 +\| +\d+ \|", stdout)  # evaluations of a video
