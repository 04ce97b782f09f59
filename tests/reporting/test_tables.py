"""Tables of a study's results."""

import csv
import io

import pytest

from pos.reporting.tables import ATTRIBUTES, COST, METRICS, Cell, Column, Table, difference, scores_markdown

FVD = Column("fvd", "FVD", "lower", 2)
ACCURACY = Column("accuracy", "Accuracy", "higher", 3)


@pytest.fixture
def results():
    def row(label, fvd, accuracy, differences):
        return {
            "label": label,
            "metrics": {
                "fvd": {"value": fvd, "low": fvd - 1, "high": fvd + 1},
                "accuracy": {"value": accuracy, "low": None, "high": None},
            },
            "differences": differences,
            "cost": {"evaluations": 20.4, "seconds": 0.5},
        }

    better = {"value": -12.345, "low": -15.0, "high": -10.0, "verdict": "better"}
    undecided = {"value": 0.01, "low": -0.02, "high": 0.04, "verdict": "undecided"}
    return {
        "rows": {
            "baseline": row("baseline", 1036.7, 0.5, None),
            "ona": row("+ONA", 24.355, None, {"fvd": better, "accuracy": undecided}),
        }
    }


def test_markdown_has_values_marks_and_differences(results):
    text = Table.of("Table 1", results, (FVD, ACCURACY, *COST)).to_markdown()
    assert "| baseline | 1,036.70 |" in text
    assert "24.36 ✓" in text or "24.35 ✓" in text
    assert "\N{MINUS SIGN}12.35 [\N{MINUS SIGN}15.00, \N{MINUS SIGN}10.00] ✓" in text
    assert "+0.010 [\N{MINUS SIGN}0.020, +0.040] |" in text  # undecided: no mark
    assert "FVD ↓" in text
    assert "Accuracy ↑" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 + 2 + 1  # two headers with rules, two rows of values, one of differences
    assert len({len(line) for line in rows[:4]}) == 1  # aligned


def test_a_baseline_alone_has_no_differences(results):
    del results["rows"]["ona"]
    assert "Difference" not in Table.of("Table 1", results, (FVD,)).to_markdown()


def test_csv_keeps_full_precision(results):
    rows = list(csv.DictReader(io.StringIO(Table.of("Table 1", results, (FVD, *COST)).to_csv())))
    fvd = next(row for row in rows if row["row"] == "+ONA" and row["metric"] == "fvd")
    assert float(fvd["value"]) == 24.355
    assert (float(fvd["difference"]), fvd["verdict"], fvd["better"]) == (-12.345, "better", "lower")
    cost = next(row for row in rows if row["metric"] == "evaluations")
    assert (cost["value"], cost["difference"], cost["better"]) == ("20.4", "", "")


def test_what_is_not_defined_is_a_dash():
    assert difference(Cell(None), FVD) == "\N{EN DASH}"


def test_a_misspelt_column_is_not_passed_over(results):
    with pytest.raises(KeyError):
        Table.of("Table 1", results, (Column("fvdd", "FVD", "lower", 2),))


def test_scores_of_a_folder():
    metrics = {c.key: {"value": 1.5, "low": 1.0, "high": 2.0} for c in METRICS + ATTRIBUTES}
    metrics["accuracy_texture"] = {"value": None, "low": None, "high": None}
    text = scores_markdown({"metrics": metrics, "absent": {}, "notes": ["Few."]})
    assert text.endswith("\n\nFew.\n")
    found = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if "|" in line}
    assert [cell.strip() for cell in found["FVD ↓"]] == ["1.50", "1.00", "2.00"]
    assert [cell.strip() for cell in found["Texture ↑"]] == ["\N{EN DASH}"] * 3
