"""The autoencoder's file carries its configuration; pixels keep range and layout."""

import pytest
import torch

from pos.errors import PosError
from pos.networks.autoencoder import (
    build_autoencoder,
    load_autoencoder,
    reconstruct,
    save_autoencoder,
    to_pixels,
    to_unit_range,
)
from pos.networks.weights import save_weights

TINY = {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4, "scaling_factor": 0.7}


def test_pixels_survive_the_unit_range_exactly():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_pixels(to_unit_range(pixels)), pixels)
    assert to_unit_range(pixels).aminmax() == (-1, 1)
    assert to_pixels(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_saved_autoencoder_reconstructs_alike(tmp_path):
    torch.manual_seed(0)
    autoencoder = build_autoencoder(TINY).eval().requires_grad_(False)
    for parameter in autoencoder.parameters():
        parameter.copy_(parameter.half().float())  # what the file can hold
    save_autoencoder(autoencoder, tmp_path / "a.safetensors")
    loaded = load_autoencoder(tmp_path / "a.safetensors")
    videos = torch.randint(
        0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(reconstruct(loaded, videos), reconstruct(autoencoder, videos))
    assert reconstruct(loaded, videos).shape == videos.shape
    assert loaded.config.scaling_factor == 0.7
    assert not loaded.training


def test_frames_are_coded_each_by_itself():
    torch.manual_seed(0)
    autoencoder = build_autoencoder(TINY).eval().requires_grad_(False)
    videos = torch.randint(
        0, 256, (1, 3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    alone = reconstruct(autoencoder, videos[:, 1:2])
    assert (reconstruct(autoencoder, videos)[:, 1:2].int() - alone.int()).abs().max() <= 1


def test_wrong_configurations_are_refused(tmp_path):
    with pytest.raises(PosError, match="latent_chanels"):
        build_autoencoder({"block_out_channels": [8], "latent_chanels": 4, "norm_num_groups": 4})
    save_weights(torch.nn.Linear(1, 1), tmp_path / "l.safetensors")
    with pytest.raises(PosError, match="block_out_channels"):
        load_autoencoder(tmp_path / "l.safetensors")
