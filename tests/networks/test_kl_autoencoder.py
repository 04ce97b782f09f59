"""Our autoencoder has diffusers' numbers and names, bit for bit."""

import pytest
import torch

from pos.errors import PosError
from pos.networks.autoencoder import build_autoencoder, load_autoencoder, save_autoencoder
from pos.networks.kl_autoencoder import KLAutoencoder
from pos.networks.weights import read_config, save_weights
from pos.storage import asset

SIZES = {
    "shapes": {"block_out_channels": [8, 16, 16], "layers_per_block": 1, "latent_channels": 16},
    "stable diffusion": {"block_out_channels": [8, 16], "layers_per_block": 2, "latent_channels": 4},
    "one level": {"block_out_channels": [8], "layers_per_block": 1, "latent_channels": 4},
}


@pytest.fixture(params=SIZES)
def both(request, tmp_path):
    torch.manual_seed(0)
    theirs = build_autoencoder({"norm_num_groups": 4, "scaling_factor": 0.3, **SIZES[request.param]})
    for parameter in theirs.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter)).copy_(parameter.half().float())
    save_autoencoder(theirs, tmp_path / "a.safetensors")
    return theirs.eval().requires_grad_(False), load_autoencoder(tmp_path / "a.safetensors")


@pytest.mark.parametrize("count", [1, 5, 64])  # from 64 on diffusers copies what it doubles
def test_numbers_and_layouts_are_diffusers(both, count):
    theirs, ours = (torch.nn.Module.to(network, memory_format=torch.channels_last) for network in both)
    images = torch.rand(count, 3, 16, 24, generator=torch.Generator().manual_seed(1)).mul(2).sub(1)
    expected, found = theirs.encode(images).latent_dist, ours.encode(images).latent_dist
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.logvar.clamp(-30, 20), expected.logvar)
    decoded = theirs.decode(expected.mean).sample
    assert torch.equal(ours.decode(expected.mean).sample, decoded)
    assert ours.decode(expected.mean).sample.stride() == decoded.stride()


def test_names_and_their_order_are_diffusers(both):
    theirs, ours = both
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert vars(ours.config).items() <= dict(theirs.config).items()


def test_the_shipped_file_has_no_more_than_we_read():
    config = read_config(asset("shapes/autoencoder.safetensors"))
    assert (
        load_autoencoder(asset("shapes/autoencoder.safetensors")).config.scaling_factor
        == config["scaling_factor"]
    )


def test_other_layers_are_refused(tmp_path):
    network = KLAutoencoder([8, 8], norm_num_groups=4)
    config = {"block_out_channels": [8, 8], "norm_num_groups": 4, "use_quant_conv": False}
    save_weights(network, tmp_path / "a.safetensors", config)
    with pytest.raises(PosError, match="use_quant_conv=False"):
        load_autoencoder(tmp_path / "a.safetensors")
