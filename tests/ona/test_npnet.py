"""NPNet: its own starting noise, the prompt and the guidance decide what it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.diffusion.noise import base_noise
from pos.errors import PosError
from pos.ona.npnet import STREAM, NPNet

SHAPE = (2, 3, 4, 4)
VARIANCE = 0.3


class GaussianNoises(Backbone):
    """The exact denoiser of noises N(mean, VARIANCE), where the mean is the number of words of the prompt."""

    name, fingerprint = "gaussian", "g1"
    defaults = Defaults(3, 4, 4, 50, 1.0, 8.0)
    device, dtype = torch.device("cpu"), torch.float32

    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning({"mean": torch.tensor([float(len(prompt.split())) for prompt in prompts])})

    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        mean = conditioning.tensors["mean"].view(-1, 1, 1, 1, 1)
        variance = level.signal**2 * VARIANCE + level.noise**2
        return level.noise * (latents - level.signal * mean) / variance

    def levels(self, steps: int) -> LevelTable:
        return ddim_levels(steps)

    def encode(self, videos: Tensor) -> Tensor:
        raise AssertionError(f"NPNet sees no pixels, not {videos.shape}")

    decode = encode

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return 2, frames, height, width


def test_samples_the_distribution_of_noises_of_the_prompt() -> None:
    npnet = NPNet(GaussianNoises())
    ids = [f"id-{row}" for row in range(64)]
    noise, evaluations = npnet.predict_noise(["two words"] * 64, ids, [0] * 64, SHAPE, 200)
    assert noise.shape == (64, *SHAPE)
    assert evaluations == 200
    # The start is N(0, I) though the noisiest level holds a little signal: that much of the mean is lost.
    lost = 2.0 * ddim_levels(200)[200].signal * math.sqrt(VARIANCE)
    assert noise.mean().item() == pytest.approx(2.0 - lost, abs=0.02)
    assert noise.var().item() == pytest.approx(VARIANCE, rel=0.05)


def test_rows_depend_on_their_own_prompt_id_and_seed() -> None:
    npnet = NPNet(GaussianNoises())
    prompts, ids, seeds = ["one", "one", "one", "two words"], ["a", "b", "a", "a"], [0, 0, 1, 0]
    together, _ = npnet.predict_noise(prompts, ids, seeds, SHAPE, 5)
    for row in range(4):
        alone, _ = npnet.predict_noise([prompts[row]], [ids[row]], [seeds[row]], SHAPE, 5)
        torch.testing.assert_close(alone[0], together[row])
        for other in range(row):
            assert not torch.allclose(together[row], together[other])


def test_its_start_is_independent_of_the_base_noise() -> None:
    ids = [f"id-{row}" for row in range(64)]
    own, base = base_noise(SHAPE, ids, [0] * 64, STREAM), base_noise(SHAPE, ids, [0] * 64)
    correlation = torch.corrcoef(torch.stack([own.flatten(), base.flatten()]))[0, 1]
    assert abs(correlation) < 0.05
    noise, _ = NPNet(GaussianNoises()).predict_noise(["two words"] * 64, ids, [0] * 64, SHAPE, 50)
    assert torch.corrcoef(torch.stack([own.flatten(), noise.flatten()]))[0, 1] > 0.9


def test_guidance_moves_away_from_the_empty_prompt_and_doubles_the_cost() -> None:
    arguments = (["two words"], ["a"], [0], SHAPE, 50)
    plain, _ = NPNet(GaussianNoises()).predict_noise(*arguments)
    guided, evaluations = NPNet(GaussianNoises(), guidance=2.0).predict_noise(*arguments)
    assert evaluations == 100
    assert guided.mean() > plain.mean() + 1.0


def test_the_fingerprint_names_what_decides() -> None:
    assert NPNet(GaussianNoises()).fingerprint == NPNet(GaussianNoises()).fingerprint
    assert NPNet(GaussianNoises(), guidance=2.0).fingerprint != NPNet(GaussianNoises()).fingerprint


def test_bad_numbers_of_seeds() -> None:
    with pytest.raises(PosError, match="2 sample ids"):
        NPNet(GaussianNoises()).predict_noise(["a", "b"], ["a", "b"], [0], SHAPE, 5)
