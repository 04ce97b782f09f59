"""Tables of a study's results."""

import csv
import io
import xml.etree.ElementTree as ElementTree

import pytest

from pos.reporting.cells import ABSENT, COST, Cell, Column, attribute_columns, difference, metric_columns
from pos.reporting.page import BAR_HEIGHT, BAR_WIDTH
from pos.reporting.published import find_published
from pos.reporting.tables import Table, scores_markdown

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
    metrics = {c.key: {"value": 1.5, "low": 1.0, "high": 2.0} for c in metric_columns() + attribute_columns()}
    metrics["accuracy_texture"] = {"value": None, "low": None, "high": None}
    sizes = {"fvd": {"videos": [8, 1024], "values": [9.0, 1.5], "limit": None}}
    text = scores_markdown({"metrics": metrics, "sizes": sizes, "absent": {}, "notes": ["Few."]})
    scores, by_size = text.split("By the number of videos")
    assert lines_of(by_size)[""] == ["8", "1,024", "∞"]
    assert lines_of(by_size)["FVD ↓"] == ["9.00", "1.50", ABSENT]
    assert text.endswith("\n\nFew.\n")
    found = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in scores.splitlines() if "|" in line}
    assert [cell.strip() for cell in found["FVD ↓"]] == ["1.50", "1.00", "2.00"]
    assert [cell.strip() for cell in found["Texture ↑"]] == ["\N{EN DASH}"] * 3


def paper(tmp_path, text):
    header = "backbone,benchmark,method,eta,gamma,metric,value\n"
    (tmp_path / "table1.csv").write_text(header + text)
    return find_published("table1", "modelscope", "ucf101", tmp_path)


@pytest.fixture
def beside(results, tmp_path):
    """Measured beside published: FVD of both rows, no accuracy, +ONA at another eta."""
    results["rows"]["baseline"]["method"] = {"eta": 0.3, "gamma": 0.1}
    results["rows"]["ona"]["method"] = {"eta": 0.3, "gamma": 0.1}
    lines = "".join(f"modelscope,ucf101,{line}\n" for line in ("baseline,,,fvd,1000.5", "ona,0.2,,fvd,990"))
    return Table.of("Table_1", results, (FVD, ACCURACY, *COST), paper(tmp_path, lines))


def lines_of(markdown):
    found = {}
    for line in markdown.splitlines():
        if line.startswith("|"):
            label, *cells = [text.strip() for text in line.strip("|").split("|")]
            found.setdefault(label, cells)
    return found


def test_markdown_sets_the_paper_below_each_row(beside):
    text = beside.to_markdown()
    found = lines_of(text)
    assert found["baseline, paper"] == ["1,000.50", ABSENT, ABSENT, ABSENT]
    assert found["+ONA, paper"] == ["990.00", ABSENT, ABSENT, ABSENT]
    differences = text.split("Difference from the first row")[1]
    assert lines_of(differences)["+ONA, paper"] == ["\N{MINUS SIGN}10.50", ABSENT]
    assert "Lines called paper: as published in arXiv 2311.00949" in text
    assert "+ONA was run at eta 0.3 and is published at eta 0.2." in text
    assert "baseline was run" not in text


def test_csv_holds_the_published_numbers(beside):
    rows = {(row["row"], row["metric"]): row for row in csv.DictReader(io.StringIO(beside.to_csv()))}
    fvd = rows["+ONA", "fvd"]
    assert (fvd["published"], fvd["published_difference"]) == ("990.0", "-10.5")
    assert rows["+ONA", "accuracy"]["published"] == ""


def test_latex_reads_back(beside):
    text = beside.to_latex()
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    rows = [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in body]
    assert {len(row) for row in rows} == {5}
    assert [row[0] for row in rows] == [
        "", "baseline", "baseline, paper", "+ONA", "+ONA, paper", "+ONA", "+ONA, paper"
    ]  # fmt: skip
    assert rows[3][1].endswith(r"$\checkmark$")
    assert rows[5][1] == r"$-$12.35 {[}$-$15.00, $-$10.00{]} $\checkmark$"
    assert rows[5][3:] == ["--", "--"]  # cost has no differences
    assert r"\caption{Table\_1}" in text
    assert text.count(r"\midrule") == 2


def test_html_is_well_formed_and_sortable(beside):
    root = ElementTree.fromstring(beside.to_html())
    headings = root.findall("./thead/tr/th")
    assert [heading.get("data-key") for heading in headings][:3] == ["row", "fvd", "accuracy"]
    assert headings[1].get("data-better") == "lower"
    first, second = root.findall("./tbody/tr")
    assert [cell.get("data-value") for cell in first.findall("td")] == ["1036.7", "0.5", "20.4", "0.5"]
    cell = second.findall("td")[0]
    assert "paper 990.00 (\N{MINUS SIGN}10.50)" in "".join(cell.itertext())
    assert second.findall("td")[1].get("data-value") == ""


def test_intervals_are_drawn_to_one_scale_a_column(results):
    results["rows"]["spr"] = {
        **results["rows"]["ona"],
        "label": "+SPR",
        "differences": {"fvd": {"value": 10.0, "low": 5.0, "high": 15.0, "verdict": "worse"}},
    }
    table = Table.of("Table 1", results, (FVD,))
    assert table.span(FVD) == (-15.0, 15.0)
    dots, zeros = [], set()
    for svg in ElementTree.fromstring(table.to_html()).iter("svg"):
        dots.append(float(svg.find("circle").get("cx")))
        zeros.add(svg.find("path[@class='zero']").get("d"))
    middle = BAR_WIDTH / 2
    assert zeros == {f"M{middle:.1f} 0V{BAR_HEIGHT}"}
    assert dots[0] - middle == pytest.approx((middle - dots[1]) * 12.345 / 10, abs=0.2)
    assert dots[0] < middle < dots[1]


def test_gaps_give_their_reason_once(results):
    why = "I3D weights not found: run experiments/convert.py."
    for row in results["rows"].values():
        row["absent"] = {"fvd": why}
    del results["rows"]["ona"]["differences"]["fvd"]
    table = Table.of("Table 1", results, (FVD, ACCURACY))
    assert table.notes == [f"Not measured: FVD. {why}"]
    assert lines_of(table.to_markdown())["baseline"][0] == ABSENT
    results["rows"]["baseline"]["absent"] = {}
    table = Table.of("Table 1", results, (FVD, ACCURACY))
    assert table.notes == [f"Not measured: +ONA (FVD). {why}"]
    assert why in table.to_csv()
    assert ElementTree.fromstring(table.to_html()).find(".//td[@title]").get("title") == why


def test_labels_cannot_break_the_table(results):
    results["rows"]["ona"]["label"] = "a|b & <c>_*"
    table = Table.of("T", results, (FVD,))
    assert r"a\|b & <c>_*" in table.to_markdown()
    assert r"a\textbar{}b \& \textless{}c\textgreater{}\_{*} &" in table.to_latex()
    assert "a|b &amp; &lt;c&gt;_*" in table.to_html()
