"""Prompts from files: one a line, a CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pos.errors import PosError
from pos.storage import read_text


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
    text = read_text(path, "prompts file")
    prompts = list(readers[path.suffix.lower()](text, path))
    if not prompts:
        raise PosError(f"The prompts file {path} holds no prompt.")
    return prompts


def _lines(text: str, _path: Path) -> Iterator[TextPrompt]:
    for line in text.split("\n"):
        if line.strip():
            yield TextPrompt(line.strip())


def _table(text: str, path: Path) -> Iterator[TextPrompt]:
    rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        if "prompt" not in (rows.fieldnames or ()):
            found = ", ".join(rows.fieldnames or ()) or "none"
            raise PosError(f"The prompts file {path} has no column 'prompt': its first line names {found}.")
        for row in rows:
            yield _checked(row, path, rows.line_num)
    except csv.Error as error:
        raise PosError(f"Line {rows.line_num} of the prompts file {path} is not CSV: {error}.") from error


def _records(text: str, path: Path) -> Iterator[TextPrompt]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise PosError(f"Line {number} of the prompts file {path} is not JSON: {error.msg}.") from error
        yield _checked(record if isinstance(record, dict) else {}, path, number)


def _checked(record: dict[str, Any], path: Path, number: int) -> TextPrompt:
    text, identity = record.get("prompt"), record.get("id")
    if not isinstance(text, str) or not text.strip():
        raise PosError(f"Line {number} of the prompts file {path} has no prompt: 'prompt' must hold words.")
    return TextPrompt(text, None if identity in (None, "") else str(identity))
