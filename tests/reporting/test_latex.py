"""LaTeX: any text survives, and the table is one that booktabs sets."""

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from pos.reporting.latex import escape, table

SPECIAL = set(r"\{}$&#%_^~")
UNITS = {
    r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"\{": "{", r"\}": "}", r"\$": "$",
    r"\&": "&", r"\#": "#", r"\%": "%", r"\_": "_", "{[}": "[", "{]}": "]", "{*}": "*",
}  # fmt: skip
PATTERN = re.compile("|".join(map(re.escape, sorted(UNITS, key=len, reverse=True))))


@given(st.text(string.printable.replace("\n", "")))
def test_text_comes_back(text):
    escaped = escape(text)
    assert not SPECIAL & set(PATTERN.sub("", escaped))  # nothing special is left bare
    assert PATTERN.sub(lambda unit: UNITS[unit[0]], escaped) == text


def test_signs_of_our_tables_become_math():
    assert escape("FVD ↓") == r"FVD $\downarrow$"
    assert escape("\N{MINUS SIGN}2.10 ✓") == r"$-$2.10 $\checkmark$"
    assert escape("+POS*, η = ∞") == r"+POS{*}, $\eta$ = $\infty$"


def test_the_table_is_set_by_booktabs():
    assert table(
        "R&D_1", ["FVD ↓", "50%"], [("", {"a": ["1", "2"]}), ("Change", {"[b]": ["3", "4"]})], ["See #4."]
    ) == (
        "\\begin{table*}\n\\centering\n\\caption{R\\&D\\_1}\n\\begin{tabular}{lrr}\n\\toprule\n"
        " & FVD $\\downarrow$ & 50\\% \\\\\n\\midrule\na & 1 & 2 \\\\\n\\midrule\n"
        "\\multicolumn{3}{l}{\\emph{Change}} \\\\\n{[}b{]} & 3 & 4 \\\\\n\\bottomrule\n\\end{tabular}\n"
        "\\par\\smallskip\\footnotesize See \\#4.\n\\end{table*}\n"
    )
