"""What went wrong, in one sentence: for our own errors, Hydra's, OmegaConf's and the operating system's."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra import compose, initialize_config_dir
from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import get_object
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from pos.config.folder import ConfigFolders
from pos.config.overrides import prepare, quote
from pos.errors import PosError

# Launchers and sweepers are packages of their own: the extra that installs each.
_PLUGINS = {
    "hydra/launcher": {
        **dict.fromkeys(("joblib", "submitit_local", "submitit_slurm"), "sweeps"),
        "ray": "ray",
    },
    "hydra/sweeper": {"optuna": "sweeps"},
}
# What launchers raise when the process of a job is gone.
_DEATHS = {"TerminatedWorkerError", "BrokenProcessPool", "UncompletedJobError", "WorkerCrashedError"}


@dataclass(frozen=True)
class Command:
    """A command as it was typed.

    Args:
        name: of its primary configuration.
        arguments: what follows it.
        folders: that its configuration is composed from.
    """

    name: str
    arguments: Sequence[str]
    folders: ConfigFolders


def explain(error: BaseException, command: Command) -> str | None:
    """One sentence for a mistake of the user's or a limit of the machine; None for a bug."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, PosError):
            return _one_line(str(link))
    for link in chain:
        sentence = _of_hydra(link, command)
        if sentence is not None:
            return _one_line(sentence)
    return _of_machine(error)


def own_key(key: str) -> str:
    """The key that a user gives: the retriever refers to the pool, a node of its own."""
    return key.removeprefix("retriever.")


def without_value(key: str) -> str:
    """That a key must be given."""
    return f"The key '{own_key(key)}' needs a value: {own_key(key)}=..."


def check_added(command: Command) -> None:
    """Hydra adds whatever ``+key=value`` names, and passes over an optional choice that is not there.

    Raises:
        PosError: a key added at the top is neither a group nor a key of the configuration, or an optional
            group has no such choice.
    """
    folders = command.folders
    optional = re.findall(r"- optional (\w+):", "\n".join(folders.lines(command.name)))
    for argument in command.arguments:
        group, _, choice = argument.partition("=")
        if group in optional and choice not in folders.options(group):
            raise PosError(_unknown_option(f"{group}/{choice}", folders))
        added = re.match(r"\++([\w/]+)(?:@[\w.]+)?=", argument)
        if added is None or folders.is_group(added[1]):
            continue
        if added[1] not in _known_keys(added[1], command):
            raise PosError(_unknown_key(added[1], command))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from; one that was merely being handled meanwhile explains no bug."""
    while error is not None:
        yield error
        error = error.__cause__


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _of_hydra(error: BaseException, command: Command) -> str | None:
    text = str(error)
    if isinstance(error, OverrideParseException):
        return (
            f"Cannot read '{error.override}': write key=value without spaces around '=', "
            'and quote the value for the shell (key="some words").'
        )
    if isinstance(error, MissingConfigException):
        return _unknown_option(error.missing_cfg_file, command.folders) or text
    if isinstance(error, InstantiationException):
        return _of_constructor(error)
    if isinstance(error, MissingMandatoryValue):
        return _needs(error.full_key, command)
    if isinstance(error, HydraException):
        several = re.match(r"Ambiguous value for argument '([^=]+)=(.*)'\n", text)
        if several:
            key, values = several.groups()
            return f"'{key}={values}' gives several values: add -m to run each, or write '{key}=[{values}]'."
        unknown = re.search(r"Could not (?:override|delete from config\.) '([^'\n]+)'", text)
        return _unknown_key(unknown[1], command) if unknown else text.split("\n\n")[0]
    if isinstance(error, OmegaConfBaseException):
        return text.splitlines()[0] + (f" (key '{error.full_key}')" if error.full_key else "")
    return None


def _needs(key: str, command: Command) -> str:
    """That a key has no value, what the configuration says it is, and the file that says more."""
    key, said = own_key(key), without_value(key)
    group, dot, _ = key.partition(".")
    chosen = [text.partition("=")[2] for text in command.arguments if text.startswith(f"{group}=")]
    file = f"{group}/{chosen[0] if chosen else ''}" if dot else command.name
    lines = command.folders.lines(file)
    if not lines:
        return said
    name = re.escape(key.rpartition(".")[2])
    comment = re.search(rf"^ *{name}: \?\?\? # (.+)$", "\n".join(lines), re.MULTILINE)
    return f"{said}{f', {comment[1]}' if comment else ''} (see conf/{file}.yaml)"


def _unknown_option(missing: str | None, folders: ConfigFolders) -> str | None:
    group, _, option = (missing or "").removesuffix(".yaml").rpartition("/")
    if group.startswith("hydra/"):
        return _unknown_plugin(group, option)
    options = folders.options(group) if group else []
    if not group or option in options:
        return None
    if not options:
        return f"There is no configuration '{missing}'.{_close(group, folders.groups())}"
    return f"There is no {group} '{option}': choose one of {', '.join(options)}.{_close(option, options)}"


def _unknown_plugin(group: str, option: str) -> str | None:
    extras = _PLUGINS.get(group, {})
    if option in extras:
        return f"{group}={option} needs a package: install it with pip install 'pos-t2v[{extras[option]}]'."
    options = ["basic", *extras]
    return f"There is no {group} '{option}': choose one of {', '.join(options)}.{_close(option, options)}"


def _unknown_key(key: str, command: Command) -> str:
    key = key.split("@")[0]
    known = sorted({*_known_keys(key, command), *command.folders.groups()})
    return f"There is no key '{key}'.{_close(key, known)} --help lists the keys, --cfg job shows all."


def _close(word: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(word, known, n=3)
    return f" Did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""


def _known_keys(unknown: str, command: Command) -> list[str]:
    """The dotted keys of the configuration as the other arguments choose it."""
    words = [word for word in prepare(command.arguments) if "=" in word and not word.startswith("-")]
    others = [word for word in words if word.lstrip("+~").split("=")[0] != unknown]
    own = [f"hydra.searchpath=[{quote(str(command.folders.own))}]"] if command.folders.own else []
    with initialize_config_dir(str(command.folders.main), version_base="1.3"):
        for overrides in (others, []):  # the others may be wrong too, or sweeps
            try:
                return _flatten(compose(command.name, [*own, *overrides]))
            except HydraException:
                continue
    return []


def _flatten(node: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in node:
        keys.append(f"{prefix}{key}")
        value = node._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            keys += _flatten(value, f"{prefix}{key}.")
    return keys


def _of_constructor(error: InstantiationException) -> str | None:
    """A node that could not be built because of an unknown or a missing key, or a bad value."""
    text, cause = str(error), error.__cause__
    if text.startswith("Error locating target"):
        return text.split(", set env var")[0] + f": {cause}."
    where = re.search(r"full_key: (\S+)", text)
    node = f"'{where[1]}'" if where else "the configuration"
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    target = re.search(r"target '([\w.]+)'", text)
    if isinstance(cause, TypeError) and unknown and target:
        allowed = list(inspect.signature(get_object(target[1])).parameters)
        close = _close(unknown[1], allowed)
        return f"There is no key '{unknown[1]}' in {node}, only {', '.join(allowed)}.{close}"
    if isinstance(cause, TypeError | ValueError):  # most often a value of the wrong kind
        return f"Cannot build {node}: {cause} (POS_DEBUG=1 shows where)."
    return None


def _of_machine(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    if type(error).__name__ in _DEATHS:
        return (
            "The process of a job was killed (is there enough memory?): what the others made stays, and the "
            "same command goes on with what is left."
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "Out of memory: lower batch_size, frames, height or width."
    return None
