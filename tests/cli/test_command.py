from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from tests.cli.project import call


def sentence(stderr: str) -> str:
    """The one line that stderr must be."""
    assert re.fullmatch(r"error: [^\n]+\n", stderr), stderr
    return stderr


@pytest.mark.parametrize(
    "text", ["a dog, running", "it's", 'a "b" \\', "(old) ${x}", "true", " 1,2 = 50% off! ", "狗\n"]
)
def test_a_real_process_receives_any_text(script: Path, text: str):
    result = call(script, f"prompt={text}", f"negative_prompt={text}", f"nested.path={text}")
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert (seen["cfg"]["prompt"], seen["cfg"]["negative_prompt"], seen["path"]) == (text, text, text)


def test_the_job_sees_its_process_as_it_was_started(run):
    status, stdout, stderr = run("prompt=a, b")
    seen = json.loads(stdout)
    assert (status, stderr) == (0, "")
    assert seen["argv"] == ["prompt=a, b"]
    assert not seen["full_error"]


def test_nothing_but_the_jobs_own_files_is_left_behind(run, tmp_path: Path):
    assert run("action=write", "out=here")[0] == 0
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "here",
        "here/number.txt",
    ]


@pytest.mark.parametrize("flag_last", [False, True])
def test_each_job_of_a_sweep_has_its_own_folder_and_the_whole_text(run, tmp_path: Path, flag_last: bool):
    arguments = ["prompt=a, it's ${x}", "number=1,2", "out=swept here"]
    status, stdout, _ = run(*arguments, "-m") if flag_last else run("-m", *arguments)
    jobs = [json.loads(line)["cfg"] for line in stdout.splitlines() if line.startswith("{")]
    assert status == 0
    assert [job["prompt"] for job in jobs] == ["a, it's ${x}"] * 2
    assert [job["out"] for job in jobs] == [str(tmp_path / f"swept here/number={n}") for n in (1, 2)]


def test_a_failed_job_of_a_sweep_does_not_stop_the_next(run, tmp_path: Path):
    status, _, stderr = run("-m", "action=fail,write", "out=swept")
    assert status == 2
    assert stderr.endswith(
        "error: 1 of 2 jobs failed, the first is action=fail (The number 1 is too large: choose at most 1): "
        "swept/sweep.md names all.\n"
    )
    assert (tmp_path / "swept/action=write/number.txt").read_text() == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["action=fail", "number=3"], "The number 3 is too large: choose at most 1."),
        (["numbr=3"], "There is no key 'numbr'. Did you mean 'number'?"),
        (["nested.pth=3"], "There is no key 'nested.pth'. Did you mean 'nested.path'"),
        (["metho=other"], "There is no key 'metho'. Did you mean 'method'"),
        (["method=oter"], "There is no method 'oter': choose one of other, plain. Did you mean 'other'?"),
        (["+metho=other"], "There is no key 'metho'. Did you mean 'method'"),
        (["++numbr=2"], "There is no key 'numbr'. Did you mean 'number'"),
        (["+method=nowhere/x"], "There is no configuration 'method/nowhere/x'. Did you mean"),
        (["method=other", "method.etaa=1"], "There is no key 'method.etaa'. Did you mean 'method.eta'"),
        (["action=build", "+method.etta=1"], "There is no key 'etta' in 'method', only noise, "),
        (["action=build", "method.eta=-1"], "method.eta=-1 is not allowed"),
        (["action=build", "method.eta=nan"], "method.eta=nan is not allowed"),
        (["action=build", "method.inversion=[1]"], "inversion"),
        (["action=build", "method.eta=abc"], "method"),
        (["action=build", "method.gamma=1.5"], "gamma"),
        (["action=build", "method._target_=pos.nowhere.Method"], "pos.nowhere.Method"),
        (["number=1,2"], "'number=1,2' gives several values: add -m"),
        (["number=[1"], "Cannot read 'number=[1': write key=value"),
        (["a", "red", "ring"], "Cannot read 'a': write key=value"),
        (["action=need"], "The key 'needed' needs a value: needed=..., no default (see conf/"),
        (["number=${nothing}"], "'nothing' not found"),
        (["action=overflow"], "No space left on device"),
        (["action=exhaust"], "Out of memory: lower batch_size"),
        (["prompt=\udce9"], "'prompt' is not valid UTF-8"),
    ],
    ids=lambda value: " ".join(value).encode("ascii", "replace").decode() if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence_and_status_2(run, arguments: list[str], said: str):
    status, stdout, stderr = run(*arguments)
    assert status == 2
    assert stdout == ""
    assert said in sentence(stderr)


def test_a_real_process_fails_with_one_sentence(script: Path):
    result = call(script, "numbr=3")
    assert result.returncode == 2
    assert "'number'" in sentence(result.stderr)


@pytest.mark.parametrize("variable", ["POS_DEBUG", "HYDRA_FULL_ERROR"])
def test_the_traceback_is_shown_on_demand(run, monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, "1")
    status, _, stderr = run("action=fail")
    assert status == 2
    assert "Traceback" in stderr
    assert stderr.endswith("error: The number 1 is too large: choose at most 1.\n")


def test_a_bug_keeps_its_traceback(run):
    with pytest.raises(ValueError, match="a bug"):
        run("action=bug")


def test_a_bug_while_bad_input_was_handled_is_a_bug(run):
    with pytest.raises(KeyError, match="a bug"):
        run("action=stumble")


def test_ctrl_c_ends_with_130(run):
    status, _, stderr = run("action=interrupt")
    assert status == 130
    assert stderr.startswith("interrupted")
    assert "Traceback" not in stderr


def test_hydras_own_options_work(run):
    status, stdout, _ = run("prompt=a, b", "--cfg", "job")
    assert status == 0
    assert "prompt: a, b" in stdout


def test_an_unknown_option_is_refused(run):
    status, _, stderr = run("--nonsense")
    assert status == 2
    assert "--nonsense" in stderr


def test_help_and_errors_answer_at_once_and_import_no_network_library(script: Path):
    start = time.perf_counter()
    shown = call(script, "--help")
    assert shown.returncode == 0
    assert not json.loads(call(script).stdout)["torch"]
    assert time.perf_counter() - start < 10
