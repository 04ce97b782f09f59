"""Grids of text as LaTeX, for ``booktabs``; ✓ needs ``amssymb``, as most classes for papers load it."""

from __future__ import annotations

from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after the end of a row it would open an argument
    "]": "{]}",
    "*": "{*}",  # likewise
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "∞": r"$\infty$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "η": r"$\eta$",
    "\N{GREEK SMALL LETTER GAMMA}": r"$\gamma$",
    "\n": " ",
}


def escape(text: str) -> str:
    """Text with LaTeX's special characters escaped; characters not in ``_SPECIAL`` stay UTF-8."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def table(
    caption: str,
    headings: Sequence[str],
    blocks: Sequence[tuple[str, dict[str, list[str]]]],
    notes: Sequence[str],
) -> str:
    r"""A ``table*`` of one ``tabular``.

    Args:
        caption: above it.
        headings: of the columns after the first.
        blocks: a title above some rows (none if empty), and their cells by label, one for each heading.
        notes: below it.
    """
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(headings)}}}",
        r"\toprule",
        _row("", headings),
    ]
    for title, rows in blocks:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{len(headings) + 1}}}{{l}}{{\emph{{{escape(title)}}}}} \\")
        lines += [_row(label, cells) for label, cells in rows.items()]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\footnotesize {escape(note)}" for note in notes]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _row(label: str, cells: Sequence[str]) -> str:
    return " & ".join(escape(text) for text in (label, *cells)) + r" \\"
