"""Studies as a user runs them: every one to its end on Shapes, on several machines, stopped and resumed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.cli.test_commands import files, run, start

STUDIES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "study").glob("*.yaml"))
SMALL = (
    "benchmark.size=4",
    "steps=2",
    "report_prompts=1",
    "resamples=20",
    "device=cpu",
    "inversion_check=false",
)
PLAIN = ("pool.size=20", *(f"~study.rows.{key}" for key in ("spr", "pos", "pos_star")))
OF_IMAGES = {"table3"}
OWN = {"figure1": ("benchmark.size=2", "seeds=0,1"), "figure2": ("study.figure.clips=8",)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the caches of all studies."""
    return tmp_path_factory.mktemp("shared")


def made(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder).items() if name.startswith("videos/")}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(STUDIES) - OF_IMAGES))
def test_every_study_runs_to_its_end_on_shapes(tmp_path: Path, shared: Path, name: str):
    out = tmp_path / "out"
    arguments = [f"study={name}", *SMALL, *OWN.get(name, ()), f"out={out}", f"cache={shared / 'cache'}"]
    status, stdout, stderr = run(tmp_path, "reproduce", *arguments)
    assert status == 0, stderr
    results = json.loads((out / f"{name}.json").read_text(), parse_constant=pytest.fail)
    assert results["study"] == name
    assert stdout.startswith(f"**{name}")
    assert (out / "report.html").exists()
    text = (out / f"{name}.md").read_text()
    for key, row in results["rows"].items():
        assert row["absent"] == {}, (key, row["absent"])
        assert row["label"] in text
    shown = [line for line in text.splitlines() if line.startswith("![")]
    assert all((out / line.partition("(")[2].rstrip(")")).exists() for line in shown)
    assert bool(shown) == (name in ("figure1", "figure2", "figure5", "figure6", "table4b", "eta_star"))
    before = made(out)
    assert run(tmp_path, "reproduce", *arguments)[0] == 0
    assert made(out) == before


@pytest.mark.slow
def test_several_machines_fill_one_folder_and_one_scores(tmp_path: Path, shared: Path):
    arguments = [*SMALL, *PLAIN, "out=out", f"cache={shared / 'cache'}", "steps=20"]
    first, second, third = (
        start(tmp_path, "reproduce", *arguments, f"shard.index={index}", "shard.count=2")
        for index in (0, 1, 1)
    )
    ends = {}
    for process in (first, second, third):
        _, stderr = process.communicate(timeout=600)
        ends[process] = (process.returncode, stderr)
    assert ends[first][0] == 0, ends[first][1]
    codes = sorted(ends[process][0] for process in (second, third))
    assert codes == [0, 2], "one of two runs of the same shard is refused"
    (refused,) = (stderr for status, stderr in ends.values() if status == 2)
    assert "Another run is writing to out/shard-1-of-2: give each machine a shard.index of its own" in refused
    before = made(tmp_path / "out")
    assert sum(name.endswith(".json") for name in before) == 8
    assert not list((tmp_path / "out").glob("table1.*"))
    status, stdout, stderr = run(tmp_path, "reproduce", *arguments)
    assert status == 0, stderr
    assert "+ONA" in stdout
    assert before.items() <= made(tmp_path / "out").items()


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_ends_like_one_that_was_not(tmp_path: Path, shared: Path):
    arguments = [*SMALL, *PLAIN, f"cache={shared / 'cache'}", "benchmark.size=12", "batch_size=1", "steps=10"]
    process = start(tmp_path, "reproduce", *arguments, "out=out")
    for _ in range(12_000):  # ten minutes, as the other commands have
        if len(list((tmp_path / "out" / "videos").rglob("*.json"))) >= 3 or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    stopped = {name: data for name, data in made(tmp_path / "out").items() if name.endswith(".json")}
    assert 3 <= len(stopped) < 24
    tables = []
    for folder in ("out", "once"):
        status, _, stderr = run(tmp_path, "reproduce", *arguments, f"out={folder}")
        assert status == 0, stderr
        results = json.loads((tmp_path / folder / "table1.json").read_text())
        tables.append({key: (row["metrics"], row["differences"]) for key, row in results["rows"].items()})
    assert stopped.items() <= made(tmp_path / "out").items()
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study.rows.onna.method.eta=1"], "There is no key 'study.rows.onna.method.eta'. Did you mean"),
        (["~study.rows.onna"], "There is no key 'study.rows.onna'"),
        (["study=table3"], "table3 is a study of image models, and shapes makes videos of 16 frames"),
        (["manifest=no.json"], "Cannot read the manifest no.json: No such file or directory."),
        (["benchmark=coco"], "Cannot read the annotations data/coco/annotations/captions_val2014.json"),
        (["backbone=modelscope", "benchmark=shapes"], "hf download damo-vilab/text-to-video-ms-1.7b"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], said: str):
    status, stdout, stderr = run(tmp_path, "reproduce", *arguments)
    assert (status, stdout) == (2, "")
    error = stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error
    assert "Traceback" not in stderr
