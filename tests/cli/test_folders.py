"""The folders of a sweep and its jobs: each its own, whatever is typed, and within the sweep's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pos.cli.folders import job_folder, sweep_folder
from tests.cli.project import MEASURED, records


@pytest.mark.parametrize("letter", ["狗", "\N{DOG}", "a"])
def test_long_names_of_folders_are_cut_and_stay_different(letter: str):
    short = "a=1,b=2"
    long = "key0=" + 200 * letter + ",".join(f"key{i}={letter}" for i in range(60))
    assert job_folder(short) == short
    cut = {job_folder(long), job_folder(f"{long},z=1")}
    assert len(cut) == 2
    assert all(name.startswith("key0=") and len(name.encode()) < 255 for name in cut)


@given(
    st.text(st.sampled_from(list("./\\a=\n'-")), max_size=12), st.text(st.sampled_from("./a_"), max_size=6)
)
def test_any_name_is_one_folder_within_the_sweeps(typed: str, other: str):
    name = job_folder(typed)
    assert not set(name) & set("/\\\n")
    assert name not in (".", "..")
    assert typed == other or name != job_folder(other)


def test_paths_among_the_arguments_leave_every_job_a_folder_of_its_own(run, tmp_path: Path):
    paths = ["nested.path=../../clips", "nested.model=../../../models/a"]
    assert run("-m", "action=measure", *paths, "number=0,3,4", "out=a/swept")[0] == 0
    found = records(tmp_path / "a/swept")
    assert [record["values"]["clipsim"]["value"] for _, record in sorted(found.items())] == [0, 3, 4]
    assert all("nested.path='_clips'" in name and "number=" in name for name in found)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert {path.name for path in tmp_path.joinpath("a/swept").iterdir() if path.is_dir()} == found.keys()


def test_choices_in_folders_name_different_jobs(run, tmp_path: Path):
    assert run("-m", "action=measure", "nested.model=a/b,a_b,b/a", "out=swept")[0] == 0
    swept = tmp_path / "swept"
    made = {path.parent.relative_to(swept).as_posix() for path in swept.rglob("job.json")}
    assert len(made) == 3
    assert "action=measure,nested.model=a_b" in made
    assert not any("/" in name for name in made)


def test_jobs_without_a_record_of_their_own_are_named(run):
    status, stdout, stderr = run(*MEASURED, "number=1,2,3", "hydra.sweep.subdir=same")
    assert status == 2
    assert "**1 jobs**" in stdout
    assert "error: 2 of 3 jobs left no record in swept, the first is number=1: every job needs" in stderr
    status, _, stderr = run(*MEASURED, "number=1,2", "hydra.sweep.subdir=../../x/${hydra.job.num}", "out=b/c")
    assert status == 2
    assert "error: 2 of 2 jobs left no record in b/c, the first is number=1" in stderr
    assert run(*MEASURED, "number=1,1", "out=d")[0] == 0  # the same job twice


@pytest.mark.parametrize(
    "typed",
    [
        ["number=choice(1, 2)", "~method", "+nested.other='a,b'"],
        ["number=range(1,4)", "++nested.model=[1,2],{a: 1}", "prompt=it's, ${x}"],
        ["method=glob(*)", "number=1,2", "hydra.job.name=x", "seeds=0..3"],
        ["nested.path=null", "nested.model=\"a b\", 'c'"],
    ],
)
def test_no_way_to_write_an_argument_makes_a_job_look_lost(run, typed: list[str]):
    status, _, stderr = run(*MEASURED, *typed)
    assert status == 0, stderr


@pytest.mark.parametrize(
    ("out", "folder", "name"),
    [
        ("made/x.json", "made/x", "x.json"),
        ("null", "outputs/sweep", "reference.safetensors"),
    ],
)
def test_a_command_that_writes_a_file_writes_one_a_job(run, tmp_path: Path, out: str, folder: str, name: str):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/x.json").write_text("of a run before")
    assert run("-m", "action=save", "number=1,2", f"out={out}")[0] == 0
    for number in "12":
        assert (tmp_path / folder / f"action=save,number={number}" / name).read_text() == number
    assert (tmp_path / folder / "sweep.md").exists()


def test_a_folder_with_a_point_in_its_name_is_no_file():
    assert sweep_folder("outputs/eta0.5") == "outputs/eta0.5"
    assert sweep_folder("outputs/v1.final") == "outputs/v1.final"
