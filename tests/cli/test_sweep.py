"""Sweeps of the small project: records, tables, failures, launchers and what a job finds in its process."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.cli.project import MEASURED, call, records


@pytest.fixture
def swept(script: Path) -> Path:
    """The folder of a sweep, empty."""
    folder = script.parent.parent / "swept"
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return folder


def test_a_sweep_ends_with_its_table_figures_and_front(run, tmp_path: Path):
    status, stdout, _ = run(*MEASURED, "number=1,2,3", "seeds=0")
    assert status == 0
    assert "**3 jobs**" in stdout
    made = tmp_path / "swept"
    assert made.joinpath("sweep.md").read_text() in stdout
    lines = made.joinpath("sweep.csv").read_text().splitlines()
    assert lines[0] == "job,number,clipsim,clipsim_low,clipsim_high,fvd,seconds_of_job,failed"
    assert lines[1].split(",")[-7:-2] == ["1", "1", "0", "2", "10"]
    assert len(made.joinpath("pareto.csv").read_text().splitlines()) == 4  # each is best in one of the two
    assert made.joinpath("pareto.svg").exists()
    assert not list(made.glob("heat_*"))  # one key has no plane


def test_two_numbers_that_vary_give_heat_maps(run, tmp_path: Path):
    assert run(*MEASURED, "number=1,2", "+method.eta=0,0.5,inf")[0] == 2  # eta is there already
    assert run(*MEASURED, "number=1,2", "method.eta=0,0.5,inf")[0] == 0
    assert {path.name for path in tmp_path.joinpath("swept").glob("heat_*")} == {
        "heat_fvd.svg",
        "heat_clipsim.svg",
    }


def test_the_table_is_of_all_jobs_of_a_folder_and_failures_are_forgotten(run, tmp_path: Path):
    assert run("-m", "action=fail,write", "out=swept")[0] == 2
    assert run(*MEASURED, "number=1,2")[0] == 0
    table = (tmp_path / "swept/sweep.md").read_text()
    assert "**3 jobs**" in table
    assert "failed" not in table


def test_an_objective_that_is_no_metric_is_named(run):
    status, _, stderr = run("-m", "action=measure", "objectives=[fidd]", "number=1,2", "out=swept")
    assert status == 2
    assert "objectives names 'fidd': this command has only fvd, clipsim" in stderr


def test_an_objective_that_a_job_lacks_is_left_out_with_one_warning(run, tmp_path: Path, caplog):
    """A shard and a figure measure nothing, and a study lacks what its gaps say: no job failed."""
    assert run("-m", "action=lack", "objectives=[fvd,clipsim]", "number=0,1,2", "out=swept")[0] == 0
    found = records(tmp_path / "swept").values()
    assert [record["failed"] for record in found] == [None] * 3
    assert sorted(record["objectives"] for record in found) == [[], ["clipsim"], ["clipsim"]]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        "Objectives that jobs did not measure, of 3: fvd by 3, clipsim by 1. They are left out."
    ]


def test_a_job_leaves_nothing_in_the_environment_and_starts_processes_as_itself(run, tmp_path: Path):
    status, stdout, _ = run("-m", "action=leave", "number=1,2", "prompt=it's, ${x}", "out=swept")
    jobs = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    assert status == 0
    assert [job["found"] for job in jobs] == [None, None]
    assert [job["spec"] for job in jobs] == ["None", "None"]
    assert "LEFT" not in os.environ
    folder = tmp_path / "swept/action=leave,number=2"
    assert jobs[1]["argv"][1:] == ["action=leave", "number=2", "prompt=it's, ${x}", f"out={folder}"]


def test_a_damaged_record_is_named(run, tmp_path: Path):
    assert run("-m", "action=write", "number=1,2", "out=swept")[0] == 0
    (tmp_path / "swept/action=write,number=2/job.json").write_text("{")
    status, _, stderr = run("-m", "action=write", "number=1", "out=swept")
    assert status == 2
    assert "job.json is damaged" in stderr


@pytest.mark.parametrize(
    "launcher", ["joblib", "submitit_local", pytest.param("ray", marks=pytest.mark.slow)]
)
def test_launchers_run_every_job_and_name_the_failed_one(script: Path, swept: Path, launcher: str):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    arguments = [
        "action=write,fail,bug,leave",
        "prompt=it's, ${x}",
        "out=swept",
        f"hydra/launcher={launcher}",
    ]
    result = call(script, "-m", *arguments)
    assert result.returncode == 2, result.stderr
    assert "error: 2 of 4 jobs failed, the first is action=bug (ValueError: a bug)" in result.stderr
    found = records(swept)
    assert {name: record["failed"] for name, record in found.items()} == {
        "action=write": None,
        "action=leave": None,
        "action=fail": "The number 1 is too large: choose at most 1.",
        "action=bug": "ValueError: a bug",
    }
    assert (swept / "action=write/number.txt").read_text() == "1"
    assert "| action=fail" in (swept / "sweep.md").read_text()


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.slow)])
def test_a_killed_job_is_named_and_the_sweep_goes_on_when_it_is_repeated(
    script: Path, swept: Path, launcher: str
):
    arguments = ["out=swept", f"hydra/launcher={launcher}"]
    result = call(script, "-m", "action=measure,die,write", *arguments)
    assert result.returncode == 2
    assert result.stderr.endswith("the same command goes on with what is left.\n")
    assert "failed: It has not ended: it was killed, or is still running." in (swept / "sweep.md").read_text()
    assert call(script, "-m", "action=measure,write", *arguments).returncode == 0
    assert records(swept).keys() == {"action=measure", "action=write"}


def slurm(folder: Path) -> Path:
    """A cluster of one machine: sbatch keeps the script and runs its jobs one after another."""
    tools = folder / "bin"
    tools.mkdir()
    for name, text in {
        "sbatch": f"""
            cp "${{@: -1}}" {folder}/script.sh
            export SLURM_ARRAY_JOB_ID=12 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here SLURM_NTASKS=2
            for i in 0 1; do
                export SLURM_JOB_ID=$((12 + i)) SLURM_ARRAY_TASK_ID=$i
                bash {folder}/script.sh > {folder}/log-$i 2>&1 &
            done
            echo Submitted batch job 12""",
        "srun": """
            while [[ "$1" == -* ]]; do [[ "$1" == --*=* || "$1" == --unbuffered ]] && shift || shift 2; done
            for i in 0 1; do SLURM_NODEID=0 SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & done
            wait""",
        "sacct": "echo 'JobID|State'; echo '12_0|COMPLETED'; echo '12_1|COMPLETED'",
        "scontrol": "echo here",
    }.items():
        tool = tools / name
        tool.write_text(f"#!/bin/bash\n{textwrap.dedent(text)}\n")
        tool.chmod(0o755)
    return tools


def test_slurm_gets_a_script_that_runs_the_jobs(script: Path, swept: Path, tmp_path: Path):
    settings = ["partition=gpu", "gpus_per_node=2", "tasks_per_node=2", "timeout_min=90", "mem_gb=32"]
    result = call(
        script,
        *MEASURED,
        "number=1,2",
        "hydra/launcher=submitit_slurm",
        *(f"hydra.launcher.{setting}" for setting in settings),
        PATH=f"{slurm(tmp_path)}:{os.environ['PATH']}",
    )
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "script.sh").read_text()
    for line in [
        "--array=0-1%2",
        "--gpus-per-node=2",
        "--job-name=show",
        "--mem=32GB",
        "--nodes=1",
        "--ntasks-per-node=2",
        "--partition=gpu",
        "--time=90",
    ]:
        assert f"#SBATCH {line}\n" in text, text
    command = next(line for line in text.splitlines() if line.startswith("srun"))
    assert "submitit.core._submit" in command
    assert str(swept / ".submitit") in command
    assert [record["values"]["fvd"] for _, record in sorted(records(swept).items())] == [10, 20]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("hydra/launcher=joblib", "needs a package: install it with pip install 'pos-t2v[sweeps]'."),
        ("hydra/launcher=submitit_slurm", "needs a package: install it with pip install 'pos-t2v[sweeps]'."),
        ("hydra/launcher=ray", "needs a package: install it with pip install 'pos-t2v[ray]'."),
        ("hydra/sweeper=optuna", "needs a package: install it with pip install 'pos-t2v[sweeps]'."),
        ("hydra/launcher=joblip", "choose one of basic, joblib, submitit_local, submitit_slurm, ray."),
    ],
)
def test_a_launcher_whose_extra_is_missing_is_named(script: Path, tmp_path: Path, choice: str, said: str):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['hydra_plugins'] = None\n")
    result = call(script, "-m", "number=1,2", choice, PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert choice.replace("=", " '") in result.stderr or f"{choice} needs" in result.stderr
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_optuna_searches_for_two_objectives_and_repeats_itself(script: Path, swept: Path):
    """The same command asks for the same settings, so that what is kept by content is not made again."""
    pytest.importorskip("optuna")
    chosen = ["hydra/sweeper=optuna", "number=interval(0,1)", "hydra.sweeper.n_trials=3"]
    first = call(script, *MEASURED, *chosen)
    assert first.returncode == 0, first.stderr
    found = records(swept)
    assert len(found) == 3
    assert call(script, *MEASURED, *chosen).returncode == 0
    assert records(swept).keys() == found.keys()
    solutions = OmegaConf.load(swept / "optimization_results.yaml").solutions
    front = [record["values"]["fvd"] for record in found.values()]  # each is best in one of the two
    assert sorted(entry["values"][0] for entry in solutions) == sorted(front)
    assert len((swept / "pareto.csv").read_text().splitlines()) == 4


@pytest.mark.usefixtures("swept")
def test_a_failed_trial_does_not_end_the_search(script: Path):
    pytest.importorskip("optuna")
    chosen = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "action=choice(measure,fail)"]
    result = call(script, "-m", "objectives=[fvd,clipsim]", "out=swept", *chosen)
    assert result.returncode == 2
    assert "1 of 2 jobs failed, the first is action=fail" in result.stderr
    assert "**2 jobs, 1 failed**" in result.stdout


@pytest.mark.usefixtures("swept")
def test_optuna_says_which_objective_it_needs(script: Path):
    pytest.importorskip("optuna")
    chosen = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "number=choice(1,2)"]
    result = call(script, "-m", "action=lack", "objectives=[fvd,clipsim]", "out=swept", *chosen)
    assert result.returncode == 2
    assert "1 of 1 jobs failed" in result.stderr
    assert "The sweeper needs the objective 'fvd', and this job did not measure it" in result.stderr
    assert "TypeError" not in result.stderr
