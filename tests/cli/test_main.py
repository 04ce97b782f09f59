"""The console script ``pos``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import pos
from pos.cli import main
from pos.cli.commands import COMMANDS
from pos.config.folder import config_folder


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The script in this process: status, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pos", *arguments])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_command_on_one_line(call, arguments: tuple[str, ...]):
    status, stdout, _ = call(*arguments)
    assert status == 0
    lines = [line.split()[0] for line in stdout.splitlines() if line.startswith("  ")]
    assert lines == list(COMMANDS)
    assert set(COMMANDS) == {path.stem for path in config_folder().glob("*.yaml")}


def test_the_version(call):
    assert call("--version") == (0, f"pos {pos.__version__}\n", "")


def test_a_command_is_the_script_of_its_name(call):
    status, stdout, _ = call("generate", "prompt=a, b", "--cfg", "job")
    assert status == 0
    assert "prompt: a, b" in stdout
    assert call("compare", "--help")[1].startswith("Compare two evaluated folders")
    status, _, stderr = call("generate", "promt=a")
    assert status == 2
    assert "Did you mean 'prompt'" in stderr


def test_an_unknown_command_is_one_sentence(call):
    status, stdout, stderr = call("generat", "prompt=a")
    assert (status, stdout) == (2, "")
    assert stderr.startswith(
        "error: There is no command 'generat': choose one of generate, diagnose, evaluate, "
    )
    assert stderr.endswith("Did you mean 'generate'?\n")


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"]])
def test_help_loads_no_network_library_and_answers_at_once(arguments: list[str]):
    code = (
        f"import sys; sys.argv = ['pos', *{arguments}]\nfrom pos.cli import main; main()\n"
        "assert not {'torch', 'numpy', 'diffusers'} & set(sys.modules)"
    )
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    after = os.times()  # of the processor: other tests may run at the same time
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1


def test_the_public_names():
    assert set(pos.__all__) <= set(dir(pos))
    assert all(getattr(pos, name) for name in pos.__all__)
    with pytest.raises(AttributeError, match="module 'pos' has no attribute 'pipelin'"):
        _ = pos.pipelin
