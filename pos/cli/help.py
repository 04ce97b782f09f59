"""Help from the configuration files: their comments are the documentation, so that the two cannot part."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

_WIDTH = 118
_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#]*?)(?:\s+#\s*(?P<comment>.*))?")
_CLOSING = """\
Any text works as a prompt or a path, without quotes for Hydra. group.key=value changes a value of a choice.
  -m key=a,b,c      run every combination of the values given so (a sweep), each in its own folder under `out`
                    and all in one table; hydra/launcher=joblib, submitit_local, submitit_slurm or ray run
                    several at a time, hydra/sweeper=optuna searches
  --cfg job         print the configuration that would run, and stop
  --hydra-help      Hydra's own options
  POS_DEBUG=1       in the environment: the traceback of an error too
"""


def help_text(conf: Path, config_name: str) -> str:
    """What a command does, its keys and its choices: the comments of its configuration and of its groups."""
    lines = (conf / f"{config_name}.yaml").read_text(encoding="utf-8").splitlines()
    keys = list(_keys(lines))
    width = max((len(name) + len(default) + 1 for name, default, _ in keys), default=0)
    parts = [heading(lines), "Keys (key=value):"]
    parts += [_entry(f"{name}={default}".ljust(width), comment) for name, default, comment in keys]
    for group, chosen in _groups(lines, conf):
        parts += ["", f"{group}={chosen}, one of:", *_options(conf / group.removeprefix("+"))]
    return "\n".join([*parts, "", _CLOSING])


def heading(lines: list[str]) -> str:
    """The comment at the top of a file."""
    top = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            top.append(line[1:].removeprefix(" "))
    return "\n".join([*top, ""])


def _keys(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """(dotted key, default, comment) of every commented key outside the blocks for Hydra."""
    path: list[str] = []
    for line in lines:
        match = _KEY.fullmatch(line)
        if match is None:
            continue
        path = [*path[: len(match["indent"]) // 2], match["key"]]
        if path[0] not in ("defaults", "hydra") and match["comment"]:
            yield ".".join(path), match["value"].strip(), match["comment"]


def _groups(lines: list[str], conf: Path) -> Iterator[tuple[str, str]]:
    """(group, default choice) of the defaults list, after those that the examples add (``+group=choice``).

    Where the choice of one group follows from others (``suite: ${benchmark}``), what it chooses in turn is
    listed too.
    """
    for group in dict.fromkeys(re.findall(r"\+(\w+)=", heading(lines))):
        if (conf / group).is_dir():
            yield f"+{group}", "..."
    chosen: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(r"\s+- (?:optional )?/?([\w/]+)(?:@\w+)?: *([\w/${}-]+).*", line)
        if match is None or not (conf / match[1]).is_dir():
            continue
        group, choice = match[1], re.sub(r"\$\{(\w+)\}", lambda other: chosen[other[1]], match[2])
        chosen[group] = choice
        yield group, choice
        if choice != match[2]:
            followed = (conf / group / f"{choice}.yaml").read_text(encoding="utf-8")
            yield from _groups(followed.splitlines(), conf)


def _options(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.yaml"))
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    width = max(map(len, names), default=0)
    tops = [heading(path.read_text(encoding="utf-8").splitlines()).split("\n\n")[0] for path in files]
    return [_entry(name.ljust(width), " ".join(top.split())) for name, top in zip(names, tops, strict=True)]


def _entry(name: str, text: str) -> str:
    start = f"  {name}  "
    if not text:
        return start.rstrip()
    return textwrap.fill(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
