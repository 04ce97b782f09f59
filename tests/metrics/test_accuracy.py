"""Attribute accuracy on values worked out by hand."""

import pytest
import torch

from pos.data.shapes.world import ATTRIBUTES
from pos.metrics.accuracy import ACCURACY, ATTRIBUTE_ACCURACY, UNNAMED, attribute_accuracy, named
from pos.metrics.metric import MetricInput


def test_prompts_name_attributes():
    table = named(["ring moving left", "someone rides the waves"])
    keys = list(ATTRIBUTES)
    expected = {"shape": ATTRIBUTES["shape"].index("ring"), "motion": ATTRIBUTES["motion"].index("left")}
    assert {key: int(table[0, keys.index(key)]) for key in expected} == expected
    assert (table[0] == UNNAMED).sum() == 4
    assert (table[1] == UNNAMED).all()


def test_only_named_attributes_count():
    judged = torch.tensor([[0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 0]])
    expected = torch.tensor([[0, 1, -1, -1, -1, -1], [5, -1, -1, 3, -1, -1]])
    accuracy = attribute_accuracy(judged, expected, torch.tensor([[1.0, 1.0], [0.0, 2.0]]).double())
    assert accuracy[0, 0] == pytest.approx(3 / 4)
    assert accuracy[0, 1:5].nan_to_num(-1).tolist() == [0.5, 1, -1, 1]
    assert accuracy[1, 0] == pytest.approx(1 / 2)
    assert accuracy[:, 3].isnan().all()


def test_the_metrics_read_one_column_each():
    rows = {
        "judged": torch.tensor([[0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 0], [0, 0, 0, 0, 0, 0]]),
        "named": torch.tensor([[0, 1, -1, -1, -1, -1], [5, -1, -1, 3, -1, -1], [-1, -1, -1, -1, -1, -1]]),
    }
    inputs = MetricInput(rows, ["a", "b", "c"], torch.tensor([[1.0, 1, 1], [0, 2, 1]]).double())
    columns = attribute_accuracy(rows["judged"], rows["named"], inputs.weights)
    metrics = [ACCURACY, *ATTRIBUTE_ACCURACY]
    found = torch.stack([metric.compute(inputs) for metric in metrics], 1)
    assert torch.equal(found.nan_to_num(-1), columns.nan_to_num(-1))
    assert [metric.name for metric in metrics] == ["accuracy", *(f"accuracy_{name}" for name in ATTRIBUTES)]
    assert ACCURACY.per_video(rows).tolist() == [2, 1, 0]
    assert ACCURACY.notes(inputs) == ["1 of 3 prompts name no attribute and do not count in accuracy."]
