"""Help from the configuration files: their comments are the documentation."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from pos.config.folder import ConfigFolders

_WIDTH = 118
_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#]*?)(?:\s+#\s*(?P<comment>.*))?")
_DEFAULT = re.compile(r"\s+- (?:optional )?/?([\w/]+)(?:@\w+)?: *([\w/${}-]+).*")
_CLOSING = """\
Any text works as a prompt or a path, without quotes for Hydra. group.key=value changes a value of a choice.
  -m key=a,b,c      run every combination of the values given so (a sweep), each in its own folder under `out`
                    and all in one table; hydra/launcher=joblib, submitit_local, submitit_slurm or ray run
                    several at a time, hydra/sweeper=optuna searches
  --config-dir DIR  a folder with your own choices, DIR/backbone/mine.yaml for example (docs/extending.md)
  --cfg job         print the configuration that would run, and stop
  --hydra-help      Hydra's own options
  POS_DEBUG=1       in the environment: the traceback of an error too
"""


def help_text(folders: ConfigFolders, config_name: str) -> str:
    """What a command does, its keys and its choices: the comments of its configuration and of its groups."""
    lines = folders.lines(config_name)
    keys = list(_keys(lines))
    width = max((len(name) + len(default) + 1 for name, default, _ in keys), default=0)
    parts = [heading(lines), "Keys (key=value):"]
    parts += [_entry(f"{name}={default}".ljust(width), comment) for name, default, comment in keys]
    for group, chosen in _groups(lines, folders):
        parts += ["", f"{group}={chosen}, one of:", *_options(group.removeprefix("+"), folders)]
    return "\n".join([*parts, "", _CLOSING])


def overview(folders: ConfigFolders, commands: list[str]) -> str:
    """The commands, each with the first sentence of its configuration."""
    width = max(map(len, commands))
    entries = [_entry(name.ljust(width), heading(folders.lines(name)).split("\n")[0]) for name in commands]
    return "\n".join(
        ["pos COMMAND key=value ...", "", *entries, "", "pos COMMAND --help lists a command's keys.", ""]
    )


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


def _groups(lines: list[str], folders: ConfigFolders) -> Iterator[tuple[str, str]]:
    """(group, default choice) of the defaults list, after those that the examples add (``+group=choice``).

    Where the choice of a group depends on others (``benchmark/defaults: ${benchmark}``), the groups that it
    chooses in turn are listed too.
    """
    for group in dict.fromkeys(re.findall(r"\+(\w+)=", heading(lines))):
        if folders.is_group(group):
            yield f"+{group}", "..."
    chosen: dict[str, str] = {}
    for line in lines:
        match = _DEFAULT.fullmatch(line)
        if match is None or not folders.is_group(match[1]):
            continue
        group, choice = match[1], re.sub(r"\$\{(\w+)\}", lambda other: chosen[other[1]], match[2])
        chosen[group] = choice
        yield group, choice
        if choice != match[2]:
            yield from _groups(folders.lines(f"{group}/{choice}"), folders)


def _options(group: str, folders: ConfigFolders) -> list[str]:
    names = folders.options(group)
    width = max(map(len, names), default=0)
    tops = [heading(folders.lines(f"{group}/{name}")).split("\n\n")[0] for name in names]
    return [_entry(name.ljust(width), " ".join(top.split())) for name, top in zip(names, tops, strict=True)]


def _entry(name: str, text: str) -> str:
    start = f"  {name}  "
    if not text:
        return start.rstrip()
    return textwrap.fill(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
