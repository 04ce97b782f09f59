"""Prompts, and reading them from files: one a line, CSV or JSON lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pos.errors import PosError
from pos.storage import read_csv, read_text


@dataclass(frozen=True)
class Prompt:
    """A text to generate from.

    Args:
        text: in any language and script.
        id: equal ids (and seeds) get equal base noise; an empty one becomes the hash of the text.
        attributes: what the text names, as indices into ``pos.data.shapes.world.ATTRIBUTES``; empty outside
            of Shapes.
    """

    text: str
    id: str = ""
    attributes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", prompt_id(self.text))


def prompt_id(text: str) -> str:
    """The id of a prompt that has none of its own: the first 16 hex digits of its text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_prompts(path: Path | str) -> list[Prompt]:
    """Read a file of prompts.

    Args:
        path: ``.txt`` with one prompt a line (blank lines are skipped), ``.csv`` with the column
            ``prompt``, or ``.jsonl`` with the key ``prompt``; the column or key ``id`` is optional.

    Raises:
        PosError: the file is missing or not of these kinds, a row has no prompt, or there is none at all.
    """
    path = Path(path)
    readers = {".txt": _lines, ".csv": _table, ".jsonl": _records}
    if path.suffix.lower() not in readers:
        raise PosError(f"The prompts file {path} must end in .txt, .csv or .jsonl.")
    prompts = list(readers[path.suffix.lower()](path))
    if not prompts:
        raise PosError(f"The prompts file {path} holds no prompt.")
    return prompts


def _lines(path: Path) -> Iterator[Prompt]:
    for line in read_text(path, "prompts file").split("\n"):
        if line.strip():
            yield Prompt(line.strip())


def _table(path: Path) -> Iterator[Prompt]:
    for number, row in read_csv(path, "prompts file", ["prompt"]):
        yield _checked(row, path, number)


def _records(path: Path) -> Iterator[Prompt]:
    for number, line in enumerate(read_text(path, "prompts file").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise PosError(f"Line {number} of the prompts file {path} is not JSON: {error.msg}.") from error
        yield _checked(record if isinstance(record, dict) else {}, path, number)


def _checked(record: Mapping[Any, Any], path: Path, number: int) -> Prompt:
    text, identity = record.get("prompt"), record.get("id")
    if not isinstance(text, str) or not text.strip():
        raise PosError(f"Line {number} of the prompts file {path} has no prompt: 'prompt' must hold words.")
    return Prompt(text, "" if identity is None else str(identity))
