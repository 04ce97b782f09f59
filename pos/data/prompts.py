"""Prompts from files: one a line, a CSV or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pos.errors import PosError
from pos.storage import read_csv, read_text


@dataclass(frozen=True)
class TextPrompt:
    """A prompt and, where its file gives one, its id: equal ids get equal base noise."""

    text: str
    id: str | None = None


def read_prompts(path: Path | str) -> list[TextPrompt]:
    """Read a file of prompts.

    Args:
        path: ``.txt`` with one prompt a line (blank lines are passed over), ``.csv`` with the column
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


def _lines(path: Path) -> Iterator[TextPrompt]:
    for line in read_text(path, "prompts file").split("\n"):
        if line.strip():
            yield TextPrompt(line.strip())


def _table(path: Path) -> Iterator[TextPrompt]:
    for number, row in read_csv(path, "prompts file", ["prompt"]):
        yield _checked(row, path, number)


def _records(path: Path) -> Iterator[TextPrompt]:
    for number, line in enumerate(read_text(path, "prompts file").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise PosError(f"Line {number} of the prompts file {path} is not JSON: {error.msg}.") from error
        yield _checked(record if isinstance(record, dict) else {}, path, number)


def _checked(record: Mapping[Any, Any], path: Path, number: int) -> TextPrompt:
    text, identity = record.get("prompt"), record.get("id")
    if not isinstance(text, str) or not text.strip():
        raise PosError(f"Line {number} of the prompts file {path} has no prompt: 'prompt' must hold words.")
    return TextPrompt(text, None if identity in (None, "") else str(identity))
