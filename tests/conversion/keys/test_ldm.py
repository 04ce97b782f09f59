"""The autoencoder's names against diffusers' own conversion of latent diffusion's checkpoints."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

from pos.conversion.keys.ldm import from_ldm, to_ldm
from pos.errors import PosError
from pos.networks.autoencoder import build_autoencoder
from tests.golden.recordings import fill

CONFIG = {"block_out_channels": [8, 8, 16], "layers_per_block": 2, "latent_channels": 4, "norm_num_groups": 4}


def test_diffusers_reads_our_names_as_we_do():
    vae = fill(build_autoencoder(CONFIG))
    theirs = to_ldm(vae.state_dict(), vae)
    read = convert_ldm_vae_checkpoint(dict(theirs), vae.config)
    assert read.keys() == vae.state_dict().keys()
    for name, tensor in vae.state_dict().items():
        assert torch.equal(read[name], tensor), name


def test_there_and_back():
    vae = fill(build_autoencoder(CONFIG))
    back = from_ldm(to_ldm(vae.state_dict(), vae), vae)
    assert back.keys() == vae.state_dict().keys()
    for name, tensor in vae.state_dict().items():
        assert torch.equal(back[name], tensor), name


def test_another_name_is_refused():
    with pytest.raises(PosError, match=r"'loss\.logvar' is unknown"):
        from_ldm({"loss.logvar": torch.zeros(1)}, build_autoencoder(CONFIG))
