"""A small project with one command: the command line is tested apart from what the real commands do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MEASURED = ["-m", "action=measure", "objectives=[fvd,clipsim]", "out=swept"]

CONFIG = """\
# Show what arrives.
#
#   python experiments/show.py prompt="a b"
defaults:
  - method: plain
  - _self_

prompt: null # any text
negative_prompt: "" # another text
seeds: 0 # whole numbers
out: outputs/show # a folder
number: 1 # a number
needed: ??? # no default
action: show # what to do
objectives: [] # what a sweep looks at

nested:
  path: null # a path within
  model: null # a folder or a name
"""

METHOD = """\
# Nothing is done.
#
# A second paragraph.
_target_: pos.method.Method
noise: none
eta: 0.0
gamma: 0.0
"""

SCRIPT = """\
import json
import os
import sys
from pathlib import Path

from pos.cli import command
from pos.errors import PosError


def show(cfg):
    seen = {"cfg": {key: cfg[key] for key in ("prompt", "negative_prompt", "seeds", "out", "number")}}
    seen["path"] = cfg.nested.path
    seen["argv"] = sys.argv[1:]
    seen["full_error"] = os.environ.get("HYDRA_FULL_ERROR")
    seen["torch"] = "torch" in sys.modules
    print(json.dumps(seen))


def fail(cfg):
    raise PosError(f"The number {cfg.number} is too large: choose at most 1.\\n")


def interrupt(cfg):
    raise KeyboardInterrupt


def write(cfg):
    Path(cfg.out).mkdir(parents=True, exist_ok=True)
    (Path(cfg.out) / "number.txt").write_text(str(cfg.number))


def overflow(cfg):
    with open("/dev/full", "w") as stream:
        stream.write("x" * 100_000)


def build(cfg):
    from hydra.utils import instantiate

    instantiate(cfg.method)


def need(cfg):
    print(cfg.needed)


def bug(cfg):
    raise ValueError("a bug")


def exhaust(cfg):
    raise MemoryError


def measure(cfg):
    return {"fvd": 10 * cfg.number, "clipsim": {"value": cfg.number, "low": 0, "high": cfg.number + 1}}


def save(cfg):
    Path(cfg.out).write_text(str(cfg.number))


def lack(cfg):
    return {"fvd": {"value": None}, "clipsim": cfg.number} if cfg.number else {}


def stumble(cfg):
    try:
        fail(cfg)
    except PosError:
        raise KeyError("a bug")


def leave(cfg):
    spec = str(sys.modules["__main__"].__spec__)
    print(json.dumps({"found": os.environ.get("LEFT"), "argv": sys.argv, "spec": spec}))
    os.environ["LEFT"] = "here"


def die(cfg):
    os.kill(os.getpid(), 9)


# By name, and not from globals(): a launcher takes along what main refers to.
ACTIONS = {
    action.__name__: action
    for action in (
        *(show, fail, interrupt, write, save, overflow, build, need, bug, exhaust, measure, lack, stumble),
        *(leave, die),
    )
}


@command("show", conf=Path(__file__).resolve().parents[1] / "conf")
def main(cfg):
    return ACTIONS[cfg.action](cfg)


if __name__ == "__main__":
    main()
"""


def make(folder: Path) -> Path:
    """The project in ``folder``; returns its command."""
    (folder / "conf" / "method").mkdir(parents=True)
    (folder / "experiments").mkdir()
    (folder / "conf" / "show.yaml").write_text(CONFIG)
    (folder / "conf" / "method" / "plain.yaml").write_text(METHOD)
    (folder / "conf" / "method" / "other.yaml").write_text(METHOD.replace("Nothing", "Something else"))
    script = folder / "experiments" / "show.py"
    script.write_text(SCRIPT)
    return script


def call(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with the project as working folder."""
    clean = {
        name: value for name, value in os.environ.items() if name not in ("POS_DEBUG", "HYDRA_FULL_ERROR")
    }
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=script.parent.parent,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def records(folder: Path) -> dict[str, dict]:
    """The jobs' records by the name of their folder."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("job.json")}
