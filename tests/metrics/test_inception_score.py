"""The inception score on values worked out by hand."""

import pytest
import torch

from pos.errors import PosError
from pos.metrics.inception_score import INCEPTION_SCORE, inception_score, split_scores
from pos.metrics.metric import MetricInput

ONE = torch.ones(1, 2).double()


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


def test_the_metric_reads_its_row_and_the_splits():
    classes = {"classes": torch.eye(3)[[0, 1, 2, 2]]}
    ones = torch.ones(1, 4).double()
    found = [
        float(INCEPTION_SCORE.compute(MetricInput(classes, list("abcd"), ones, splits))) for splits in (1, 2)
    ]
    assert found == pytest.approx([float(inception_score(classes["classes"], ones)), 1.5])
