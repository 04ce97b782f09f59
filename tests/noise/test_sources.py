"""Noise sources against their formulas, and that a video's start depends on nothing but its own keys."""

import math
from unittest.mock import patch

import pytest
import torch

from pos.diffusion.ddim import sample
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.diffusion.noise import base_noise
from pos.errors import PosError
from pos.method import Method
from pos.noise.choice import TURNS
from pos.noise.diffused import Diffused
from pos.ona.guide import Guide
from pos.provenance import Plan, Request
from tests.closed_form import ColourPool
from tests.known import known_pipeline

SHAPE = (3, 2, 4, 4)
STEPS = 4


@pytest.fixture
def make(tmp_path):
    return lambda method, **changes: known_pipeline(tmp_path, method, **changes)


def colour(index: int) -> torch.Tensor:
    """Latents of a clip of the pool."""
    return (ColourPool().video(index, 2, 4, 4).float() / 127.5 - 1).transpose(0, 1)


def first_latents(pipeline, requests: list[Request]) -> torch.Tensor:
    """What the sampler starts from, in the order of the requests."""
    with patch("pos.pipeline.sample", wraps=sample) as sampler:
        list(pipeline.generate(requests))
    return torch.cat([call.args[1] for call in sampler.call_args_list])


REQUESTS = [Request("red ring", 0, "a"), Request("blue ring", 0, "b"), Request("red ring", 5, "a")]
EPS = base_noise(SHAPE, ["a", "b", "a"], [0, 0, 5])
CLIPS = torch.stack([colour(0), colour(2), colour(0)])


class TestDiffused:
    def test_it_is_the_forward_process_bit_for_bit(self, make):
        level = ddim_levels(STEPS)[STEPS]
        found = first_latents(make(Method(noise="diffused")), REQUESTS)
        assert torch.equal(found, level.signal * CLIPS + level.noise * EPS)

    def test_without_a_signal_it_is_the_plain_noise(self):
        table = LevelTable((Level(0, 1, 0), Level(500, 0.5, 0.5), Level(1000, 0.0, 1.0)), "flow")
        plans = [
            Plan(request, [], None, Guide([], latents=z)) for request, z in zip(REQUESTS, CLIPS, strict=True)
        ]
        assert torch.equal(Diffused(None, None).start(EPS, plans, table).noise, EPS)

    @pytest.mark.parametrize("signal", [0.5, 2])
    def test_the_signal_weighs_the_clip(self, make, signal):
        level = ddim_levels(STEPS)[STEPS]
        found = first_latents(make(Method(noise="diffused", signal=signal)), REQUESTS)
        assert torch.equal(found, (signal * level.signal) * CLIPS + level.noise * EPS)

    @pytest.mark.parametrize(("share", "steps"), [(1, 4), (0.75, 3), (0.6, 2), (0.1, 1)])
    def test_a_late_start_leaves_fewer_steps_and_counts_them(self, make, share, steps):
        pipeline = make(Method(noise="diffused", level=share))
        level = ddim_levels(STEPS)[steps]
        assert torch.equal(first_latents(pipeline, REQUESTS), level.signal * CLIPS + level.noise * EPS)
        (made,) = pipeline.generate(REQUESTS[:1])
        assert made.provenance.evaluations == steps

    def test_the_rewritten_prompt_keeps_its_noise_levels(self, make):
        """m of Eq. 8 counts the steps of the whole table, those too that a late start leaves out."""
        method = Method(noise="diffused", level=0.75, rewrite=True, gamma=0.5)
        pipeline = make(method)
        (made,) = pipeline.generate([Request("red ring", 0, "a")])
        assert made.provenance.rewritten_prompt == "blue ring"
        red = [condition[0, 0].item() > 0 for _, _, condition in pipeline.backbone.calls]
        assert red == [False, True, True]

    def test_several_clips_are_averaged(self, make):
        level = ddim_levels(STEPS)[STEPS]
        found = first_latents(make(Method(noise="diffused", clips=3)), REQUESTS[:1])
        mean = torch.stack([colour(0), colour(1), colour(2)]).mean(0)
        assert torch.allclose(found[0], level.signal * mean + level.noise * EPS[0], atol=1e-6)

    def test_no_evaluation_and_the_clips_are_recorded(self, make):
        (made,) = make(Method(noise="diffused")).generate(REQUESTS[:1])
        assert (made.provenance.evaluations, made.provenance.eta) == (STEPS, 0)
        assert [clip.id for clip in made.provenance.clips] == ["red"]
        assert made.provenance.inversion is None

    def test_too_many_clips_are_one_sentence(self, make):
        with pytest.raises(PosError, match=r"method.clips=4 is not possible: the pool has 3"):
            list(make(Method(noise="diffused", clips=4)).generate(REQUESTS))


@pytest.mark.parametrize(
    "method",
    [
        Method(noise="diffused"),
        Method(noise="diffused", neighbour="random"),
        Method(noise="diffused", neighbour="random", clips=2, vary="seed"),
        Method(noise="moment"),
        Method(noise="inversion", eta=1, dither=True),
        Method(noise="inversion", eta=1, neighbour="random"),
    ],
    ids=str,
)
def test_a_start_is_independent_of_batch_order_and_process(make, tmp_path, method):
    together = first_latents(make(method, batch_size=3), REQUESTS)
    alone = [
        first_latents(known_pipeline(tmp_path / str(row), method, batch_size=1), [request])[0]
        for row, request in enumerate(REQUESTS)
    ]
    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(first_latents(make(method, batch_size=2), REQUESTS[::-1]).flip(0), together)


class TestChoice:
    def clips(self, make, method: Method, prompt: str = "red ring", count: int = TURNS) -> list[str]:
        requests = [Request(prompt, seed, "a") for seed in range(count)]
        return [made.provenance.clips[0].id for made in make(method).generate(requests)]

    def test_the_seeds_of_a_prompt_share_a_clip(self, make):
        assert set(self.clips(make, Method(noise="diffused"))) == {"red"}
        assert len(set(self.clips(make, Method(noise="diffused", neighbour="random")))) == 1

    def test_or_take_one_neighbour_after_the_other(self, make):
        found = self.clips(make, Method(noise="diffused", vary="seed"))
        assert found[0] == "red"
        assert set(found[:3]) == {"red", "green", "blue"}
        assert found[3:] == found[2:3] * (TURNS - 3)  # the pool has no more

    def test_or_a_draw_each(self, make):
        found = self.clips(make, Method(noise="diffused", neighbour="random", vary="seed"), count=20)
        assert set(found) == {"red", "green", "blue"}

    def test_a_drawn_clip_has_no_similarity(self, make):
        (made,) = make(Method(noise="diffused", neighbour="random")).generate(REQUESTS[:1])
        assert made.provenance.clips[0].score is None
        assert made.provenance.neighbours == []

    def test_inversion_takes_them_too(self, make):
        found = self.clips(make, Method(noise="inversion", eta=1, vary="seed"), count=3)
        assert set(found) == {"red", "green", "blue"}


class TestMoment:
    def test_a_pool_of_still_clips(self, make):
        """All but the lowest coefficient have no power: there the noise is the level's alone."""
        level = ddim_levels(STEPS)[STEPS]
        (found,) = first_latents(make(Method(noise="moment")), REQUESTS[:1])
        mean = torch.stack([colour(0), colour(1), colour(2)]).mean(0)
        varying = found - level.signal * mean
        varying = varying - varying.mean((1, 2, 3), keepdim=True)
        expected = level.noise * (EPS[0] - EPS[0].mean((1, 2, 3), keepdim=True))
        assert torch.allclose(varying, expected, atol=1e-5)

    def test_no_clip_is_named(self, make):
        (made,) = make(Method(noise="moment")).generate(REQUESTS[:1])
        assert (made.provenance.clips, made.provenance.evaluations) == ([], STEPS)


class TestHash:
    def test_a_parameter_without_effect_does_not_enter(self, make):
        plain = make(Method()).config_hash
        assert (
            make(Method(dither=True, neighbour="random", vary="seed", signal=2, level=0.5)).config_hash
            == plain
        )
        inverted = Method(noise="inversion", eta=1)
        assert (
            make(Method(noise="inversion", eta=1, signal=2, level=0.5)).config_hash
            == make(inverted).config_hash
        )
        diffused = make(Method(noise="diffused")).config_hash
        assert make(Method(noise="diffused", eta=2, dither=True, inversion="printed")).config_hash == diffused

    @pytest.mark.parametrize(
        "changes",
        [{"signal": 2}, {"level": 0.5}, {"clips": 2}, {"neighbour": "random"}, {"vary": "seed"}],
        ids=str,
    )
    def test_one_with_an_effect_does(self, make, changes):
        assert (
            make(Method(noise="diffused", **changes)).config_hash
            != make(Method(noise="diffused")).config_hash
        )

    def test_dither_enters_with_inversion(self, make):
        hashes = {
            make(Method(noise="inversion", eta=1, dither=dither)).config_hash for dither in (True, False)
        }
        assert len(hashes) == 2


def test_a_start_at_an_infinite_eta_is_the_inverted_noise(make):
    found = first_latents(make(Method(noise="inversion", eta=math.inf)), REQUESTS)
    assert torch.equal(found[0], found[2])  # one clip, whatever the seed
