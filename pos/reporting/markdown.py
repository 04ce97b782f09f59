"""Grids of text as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def grid(corner: str, headings: Sequence[str], rows: dict[str, list[str]]) -> str:
    """A Markdown table whose source is aligned for reading in a terminal."""
    lines = [[corner, *headings], *([label, *cells] for label, cells in rows.items())]
    lines = [[_escaped(text) for text in line] for line in lines]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings) + 1)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def joined(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([joined(lines[0]), f"| {' | '.join(rule)} |", *map(joined, lines[1:])])


def _escaped(text: str) -> str:
    """The text with bars escaped and newlines removed, which would end the cell or the row."""
    return text.replace("|", "\\|").replace("\n", " ")
