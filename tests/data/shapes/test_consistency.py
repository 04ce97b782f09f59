import pytest

from pos.data.shapes.consistency import changed_attributes


@pytest.mark.parametrize(
    ("rewrite", "changed"),
    [
        ("A tiny scarlet hoop drifts to the left on a plain grey wall.", []),
        ("A small red ring moves right on a plain grey wall.", ["motion"]),
        ("A small ring moves left on a plain grey wall.", ["colour"]),
        ("A red ring and a blue ring move left", ["colour"]),
        ("A blue box.", ["shape", "colour", "motion"]),
        ("", ["shape", "colour", "motion"]),
    ],
)
def test_what_a_rewrite_no_longer_says(rewrite, changed):
    assert changed_attributes("red ring moving left", rewrite) == changed


def test_a_prompt_about_something_else_names_nothing_to_change():
    assert changed_attributes("someone rides the waves", "A red ring.") == []
