"""Rewrites from a table, made by people or by any other program, in the place of a language model's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pos.errors import PosError
from pos.spr.cleaning import one_line
from pos.spr.engines import Reply
from pos.storage import content_hash, read_csv, read_text

NAMED = 5  # malformed rows that an error names


class TableEngine:
    """Answers a prompt with its rewrite in a file; the problem of a prompt that is not there is ``missing``.

    Args:
        path: ``.csv`` with the columns ``prompt`` and ``rewrite``, or ``.jsonl`` with these keys. White space
            between words does not count.

    Raises:
        PosError: the file is absent or of another kind, or rows of it are malformed: they are named.
    """

    def __init__(self, path: Path | str) -> None:
        self.rewrites = read_rewrites(Path(path))
        self.fingerprint = content_hash("table", sorted(self.rewrites.items()))

    def complete(
        self,
        instructions: Sequence[str],
        *,
        attempt: int,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> Iterator[dict[int, Reply]]:
        """All rewrites at once; here an instruction is the prompt itself."""
        found = (self.rewrites.get(one_line(prompt)) for prompt in instructions)
        yield {
            row: Reply(problem="missing") if rewrite is None else Reply(rewrite)
            for row, rewrite in enumerate(found)
        }


def read_rewrites(path: Path) -> dict[str, str]:
    """Rewrites by prompt.

    Raises:
        PosError: as ``TableEngine``.
    """
    readers = {".csv": _table, ".jsonl": _records}
    if path.suffix.lower() not in readers:
        raise PosError(f"The rewrites file {path} must end in .csv or .jsonl.")
    rewrites: dict[str, str] = {}
    faults: list[str] = []
    for number, record in readers[path.suffix.lower()](path):
        fault = _fault(record, rewrites)
        if fault is not None:
            faults.append(f"line {number} {fault}")
        else:
            rewrites[one_line(record["prompt"])] = one_line(record["rewrite"])
    if faults:
        more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise PosError(f"The rewrites file {path} has malformed rows: {'; '.join(faults[:NAMED])}{more}.")
    if not rewrites:
        raise PosError(f"The rewrites file {path} holds no rewrite.")
    return rewrites


def _table(path: Path) -> Iterator[tuple[int, Any]]:
    return read_csv(path, "rewrites file", ["prompt", "rewrite"])


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(read_text(path, "rewrites file").split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError:
                yield number, None


def _fault(record: Any, rewrites: dict[str, str]) -> str | None:
    """What is wrong with a row, if anything is."""
    if not isinstance(record, dict):
        return "is not a JSON object"
    if None in record:  # where csv puts what no column is for
        return "has more columns than the first line (text with commas belongs in quotes)"
    for name in ("prompt", "rewrite"):
        if not isinstance(record.get(name), str) or not record[name].strip():
            return f"has no {name}"
    other = rewrites.get(one_line(record["prompt"]))
    if other is not None and other != one_line(record["rewrite"]):
        return "gives another rewrite to a prompt that is there already"
    return None
