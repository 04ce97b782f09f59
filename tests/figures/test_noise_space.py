"""Are noises of similar clips nearer? Where the answer is known, the figure finds it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from pos.data.pools import Pool
from pos.errors import PosError
from pos.figures import noise_space
from pos.figures.noise_space import NoiseSpace, compared, draw_pairs, rank_correlation
from pos.retrieval import Retriever
from tests.closed_form import COLOURS, ColourPool, WordCounts
from tests.known import known_pipeline, known_study


class Shades(ColourPool):
    """Many clips of three colours; captions name the colour, so that similar captions are similar clips."""

    def __init__(self, count: int = 30) -> None:
        colours = list(COLOURS)
        self.ids = [colours[index % 3] for index in range(count)]
        self.captions = [f"{colours[index % 3]} {colours[index % 3]} wall {index}" for index in range(count)]
        self.fingerprint = f"shades {count}"


def study(folder: Path, pool: Pool):
    retriever = Retriever(pool, WordCounts(folder / "cache"), folder / "cache")
    return known_study(folder, pipeline=known_pipeline(folder / "cache", retriever=retriever, steps=2))


def test_similar_clips_have_near_noises(tmp_path: Path):
    finding = NoiseSpace(clips=20).measure(study(tmp_path, Shades()), None, None, "cpu")
    near, far, independent = (
        finding.measured[name] for name in ("nearest caption", "random clip", "independent noise")
    )
    assert near["cosine"]["value"] == pytest.approx(1, abs=1e-3), "clips of one colour are equal"
    assert near["distance"]["value"] == pytest.approx(0, abs=1e-3)
    assert far["cosine"]["value"] < 0.7
    assert independent["cosine"]["value"] == pytest.approx(0, abs=0.1)
    assert finding.measured["difference"]["low"] > 0
    assert finding.measured["rank_correlation"] > 0.5
    assert "Clips of similar captions are nearer in noise space" in finding.notes[-1]
    drawing = finding.drawings["noise-space"].svg
    assert drawing.count("<circle") == 40
    assert "independent noise" in drawing


def test_captions_that_say_nothing_of_the_clips_make_no_difference(tmp_path: Path):
    pool = Shades(60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()
    pool.captions = [pool.captions[index] for index in order]
    pool.fingerprint = "shuffled"
    finding = NoiseSpace(clips=60).measure(study(tmp_path, pool), None, None, "cpu")
    assert "no nearer" in finding.notes[-1]


def test_pairs_are_drawn_once_and_never_with_themselves():
    vectors = normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    similar, unrelated = draw_pairs(vectors, 40, torch.Generator().manual_seed(0))
    firsts = [first for first, _ in similar]
    assert len(set(firsts)) == 40
    assert firsts == [first for first, _ in unrelated]
    scores = vectors @ vectors.T
    scores.fill_diagonal_(-2)
    assert [second for _, second in similar] == scores[firsts].argmax(1).tolist()
    assert all(first != second for first, second in unrelated)
    assert len(draw_pairs(vectors, 99, torch.Generator().manual_seed(0))[0]) == 50


def test_independent_noise_is_root_two_apart():
    generator = torch.Generator().manual_seed(0)
    found = compared(*torch.randn(2, 30, 5000, generator=generator), generator)
    assert found["distance"]["value"] == pytest.approx(math.sqrt(2), rel=0.01)
    assert found["cosine"]["low"] < 0 < found["cosine"]["high"]


def test_rank_correlation_sees_order_alone():
    x = torch.tensor([0.1, 0.4, 0.2, 0.9])
    assert rank_correlation(x, x.exp()) == pytest.approx(1)
    assert rank_correlation(x, -x) == pytest.approx(-1)


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(PosError, match="clips=2: at least 3"):
        NoiseSpace(clips=2)
    with pytest.raises(PosError, match="A pool of 2 clips has no pairs"):
        NoiseSpace().measure(study(tmp_path, Shades(2)), None, None, "cpu")
    monkeypatch.setattr(noise_space, "RESAMPLES", 10)
    none = study(tmp_path / "b", Shades())
    none.pipeline.retriever, none.absent = None, {"retriever": "The pool is far away."}
    with pytest.raises(PosError, match=r"The pool is far away\."):
        NoiseSpace().measure(none, None, None, "cpu")
