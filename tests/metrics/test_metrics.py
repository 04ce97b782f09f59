"""CLIPSIM, inception score and attribute accuracy on values worked out by hand."""

import math

import pytest
import torch

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.metrics.accuracy import UNNAMED, attribute_accuracy, named
from pos.metrics.clipsim import clip_similarity, clipsim
from pos.metrics.inception_score import inception_score, split_scores

ONE = torch.ones(1, 2).double()


def test_clipsim_is_the_raw_cosine_averaged_over_frames():
    text = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    frames = torch.tensor([[[3.0, 0], [0, 1], [-1, 0], [1, 1]], [[0, 1], [0, 2], [0, 9], [0, 1]]])
    values = clip_similarity(frames, text)
    assert values.tolist() == pytest.approx([(1 + 0 - 1 + math.sqrt(0.5)) / 4, 1.0])
    assert float(clipsim(values, ONE)) == pytest.approx(float(values.mean()))
    assert float(clipsim(values, torch.tensor([[3.0, 1.0]]).double())) == pytest.approx(
        float(values[0] * 3 + values[1]) / 4
    )


def test_inception_score_of_known_classes():
    certain, unsure = torch.eye(4)[[0, 1, 2, 3]], torch.full((4, 4), 0.25)
    ones = torch.ones(1, 4).double()
    assert float(inception_score(certain, ones)) == pytest.approx(4)  # certain and diverse
    assert float(inception_score(unsure, ones)) == pytest.approx(1)
    assert float(inception_score(certain[[0, 0, 0, 0]], ones)) == pytest.approx(1)  # certain, all the same
    assert float(inception_score(certain, torch.tensor([[2.0, 2, 0, 0]]).double())) == pytest.approx(2)


def test_inception_score_is_the_mean_divergence():
    rows = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]).double()
    marginal = rows.mean(0)
    expected = (rows * (rows / marginal).log()).sum(1).mean().exp()
    assert float(inception_score(rows, ONE)) == pytest.approx(float(expected))


def test_splits_are_contiguous():
    """Two certain classes in the first half, one in the second; three splits of seven are 2, 2 and 3 long."""
    classes = torch.eye(3)[[0, 1, 2, 2]]
    ones = torch.ones(1, 4).double()
    assert split_scores(classes, ones, 2).tolist() == [[pytest.approx(2), pytest.approx(1)]]
    assert float(inception_score(classes, ones, 2)) == pytest.approx(1.5)
    assert inception_score(classes, torch.tensor([[1.0, 1, 0, 0]]), 2).isnan().all()
    seven = torch.eye(7)
    scores = split_scores(seven, torch.ones(1, 7).double(), 3)
    assert scores.tolist() == [[pytest.approx(size) for size in (2, 2, 3)]]
    with pytest.raises(PosError, match="splits=5 is not allowed: 4 videos make 1 to 4 splits"):
        inception_score(classes, ones, 5)


def test_prompts_name_attributes():
    table = named(["ring moving left", "someone rides the waves"])
    keys = list(ATTRIBUTES)
    expected = {"shape": ATTRIBUTES["shape"].index("ring"), "motion": ATTRIBUTES["motion"].index("left")}
    assert {key: int(table[0, keys.index(key)]) for key in expected} == expected
    assert (table[0] == UNNAMED).sum() == 4
    assert (table[1] == UNNAMED).all()


def test_only_named_attributes_count():
    judged = torch.tensor([[0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 0]])
    wanted = torch.tensor([[0, 1, -1, -1, -1, -1], [5, -1, -1, 3, -1, -1]])
    accuracy = attribute_accuracy(judged, wanted, torch.tensor([[1.0, 1.0], [0.0, 2.0]]).double())
    assert accuracy[0, 0] == pytest.approx(3 / 4)
    assert accuracy[0, 1:5].nan_to_num(-1).tolist() == [0.5, 1, -1, 1]
    assert accuracy[1, 0] == pytest.approx(1 / 2)
    assert accuracy[:, 3].isnan().all()
