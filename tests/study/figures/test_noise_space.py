"""Are noises of similar clips nearer? Where the answer is known, the figure finds it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from pos.data.pools.pool import Pool
from pos.errors import PosError
from pos.retrieval import Retriever
from pos.study.figures.noise_space import NoiseSpace, compared, draw_pairs, rank_correlation
from tests.closed_form import COLOURS, ColourPool, WordCounts
from tests.known import known_pipeline, known_study


class Shades(ColourPool):
    """Many clips of three colours; captions name the colour, so that similar captions are similar clips.

    No two clips are equal: one value of each is its own.
    """

    def __init__(self, count: int = 30) -> None:
        colours = list(COLOURS)
        self.ids = [colours[index % 3] for index in range(count)]
        self.captions = [f"{colours[index % 3]} {colours[index % 3]} wall {index}" for index in range(count)]
        self.fingerprint = f"shades {count}"

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        video = super().video(index, frames, height, width)
        video[0, list(COLOURS).index(self.ids[index]), 0, 0] = 255 - index
        return video


class Album(Shades):
    """Clips with several captions each, nearly the same, as Flickr30k has them; ids are of the pairs.

    Args:
        clips: how many.
        captions: of each, how many.
        said: every so many clips have the captions of the first of them.
    """

    def __init__(self, clips: int, captions: int, said: int = 1) -> None:
        super().__init__(clips)
        self.colours = self.ids
        self.ids = [f"{clip}.jpg#{number}" for clip in range(clips) for number in range(captions)]
        self.captions = [
            f"wall {clip // said} {clip // said} seen {number} times"
            for clip in range(clips)
            for number in range(captions)
        ]
        self.each, self.fingerprint = captions, f"album {clips} {captions} {said}"

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        pairs, self.ids = self.ids, self.colours
        video = super().video(index // self.each, frames, height, width)
        self.ids = pairs
        return video


def study(folder: Path, pool: Pool):
    retriever = Retriever(pool, WordCounts(folder / "cache"), folder / "cache")
    return known_study(folder, pipeline=known_pipeline(folder / "cache", retriever=retriever, steps=2))


def test_similar_clips_have_near_noises(tmp_path: Path):
    finding = NoiseSpace(clips=20).measure(study(tmp_path, Shades()), None, None, "cpu")
    near, far, independent = (
        finding.measured[name] for name in ("nearest caption", "random clip", "independent noise")
    )
    assert near["cosine"]["value"] == pytest.approx(1, abs=1e-3), "clips of one colour are nearly equal"
    assert near["distance"]["value"] == pytest.approx(0, abs=0.1)
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


@pytest.mark.parametrize("pool", [Album(8, 5), Album(8, 5, said=2), Album(30, 1, said=3)])
def test_no_clip_is_compared_with_itself_and_no_caption_with_itself(tmp_path: Path, pool: Album):
    measured = NoiseSpace(clips=40).measure(study(tmp_path, pool), None, None, "cpu").measured
    for name in ("nearest caption", "random clip"):
        assert len(measured[name]["cosines"]) == len(pool.captions)
        assert min(measured[name]["distances"]) > 1e-4, "one clip under two captions"
        assert max(measured["captions"][name]) < 1 - 1e-4, "one caption of two clips"


def test_a_pool_of_one_clip_has_nothing_to_compare(tmp_path: Path):
    with pytest.raises(
        PosError, match="of the pool has none to be compared with: all others are the same clip"
    ):
        NoiseSpace().measure(study(tmp_path, Album(1, 5)), None, None, "cpu")


def test_what_is_not_the_same_is_drawn_evenly():
    generator, same = torch.Generator().manual_seed(0), lambda one, other: one % 3 == other % 3
    drawn = Counter()
    for _ in range(1500):
        similar, unrelated = draw_pairs(torch.eye(9), 9, generator, same)
        drawn.update(unrelated)
        assert not any(same(*pair) for pair in similar + unrelated)
    assert len(drawn) == 9 * 6
    assert all(count == pytest.approx(1500 / 6, rel=0.3) for count in drawn.values())


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
    again = torch.Generator().manual_seed(0)
    assert firsts == torch.randperm(50, generator=again)[:40].tolist()
    steps = [1 + int(torch.randint(49, (), generator=again)) for _ in firsts]
    assert [second for _, second in unrelated] == [
        (first + step) % 50 for first, step in zip(firsts, steps, strict=True)
    ], "where no two are the same, none is drawn twice"
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


def test_equal_values_share_their_rank():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 4, (200,), generator=generator).float()
    y = x + torch.randint(0, 6, (200,), generator=generator)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-6)
    assert rank_correlation(torch.ones(4), torch.arange(4.0)) == 0, "what is constant orders nothing"


def test_bad_input(tmp_path: Path):
    with pytest.raises(PosError, match="clips=2: at least 3"):
        NoiseSpace(clips=2)
    few, none = study(tmp_path, Shades(2)), study(tmp_path / "b", Shades())
    none.pipeline.retriever, none.missing = None, {"retriever": "The pool is far away."}
    for refuses in (NoiseSpace().check, lambda study: NoiseSpace().measure(study, None, None, "cpu")):
        with pytest.raises(PosError, match="A pool of 2 clips has no pairs"):
            refuses(few)
        with pytest.raises(PosError, match=r"The pool is far away\."):
            refuses(none)
    NoiseSpace().check(study(tmp_path, Shades(3)))
