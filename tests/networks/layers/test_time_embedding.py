"""Embeddings of timesteps have diffusers' numbers, bit for bit."""

import pytest
import torch
from diffusers.models import embeddings

from pos.networks.layers.time_embedding import TimestepEmbedding, Timesteps, sinusoids

TIMESTEPS = torch.tensor([0, 1, 19, 500, 981, 999])


@pytest.mark.parametrize("dim", [8, 64, 320, 7])
@pytest.mark.parametrize("shift", [0, 1])
def test_sinusoids_are_diffusers(dim, shift):
    expected = embeddings.get_timestep_embedding(TIMESTEPS, dim, downscale_freq_shift=shift)
    assert torch.equal(sinusoids(TIMESTEPS, dim, shift), expected)


@pytest.mark.parametrize("dim", [8, 320])
def test_timesteps_have_their_cosines_first(dim):
    expected = embeddings.Timesteps(dim, flip_sin_to_cos=True, downscale_freq_shift=0)(TIMESTEPS)
    assert torch.equal(Timesteps(dim)(TIMESTEPS), expected)


def test_the_mlp_is_diffusers():
    theirs, ours = embeddings.TimestepEmbedding(8, 32), TimestepEmbedding(8, 32)
    ours.load_state_dict(theirs.state_dict())
    inputs = Timesteps(8)(TIMESTEPS)
    assert torch.equal(ours(inputs), theirs(inputs))
