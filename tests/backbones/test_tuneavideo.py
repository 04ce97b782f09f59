"""Tune-A-Video from a tiny folder as its authors write it, converted once, and the retrained variant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file

from pos.backbones.tuneavideo import load_retrained, load_tuneavideo
from pos.config.overrides import prepare
from pos.conversion.run import convert
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.generation import run
from pos.networks.inflated.scvideo import save_unet
from pos.networks.inflated.tuneavideo import TuneAVideoUNet, tuneavideo_config
from tests.backbones.published import drawn, write_stable_diffusion

CONF = Path(__file__).parents[2] / "conf"
SIZES = {
    "block_out_channels": [8, 16], "layers_per_block": 1, "cross_attention_dim": 12, "attention_head_dim": 2,
    "norm_num_groups": 4, "in_channels": 4,
}  # fmt: skip
BLOCKS = {
    "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
}
# config.json as diffusers 0.11.1 writes it for the authors' class
CONFIG = {
    "_class_name": "UNet3DConditionModel", "_diffusers_version": "0.11.1",
    "_name_or_path": "./checkpoints/stable-diffusion-v1-4", "act_fn": "silu", "center_input_sample": False,
    "class_embed_type": None, "downsample_padding": 1, "dual_cross_attention": False,
    "flip_sin_to_cos": True, "freq_shift": 0, "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock3DCrossAttn", "norm_eps": 1e-05, "num_class_embeds": None,
    "only_cross_attention": False, "out_channels": 4, "resnet_time_scale_shift": "default",
    "sample_size": 64, "upcast_attention": False, "use_linear_projection": False, **SIZES, **BLOCKS,
}  # fmt: skip


def composed(command: str, *words: object) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, prepare([str(word) for word in words]))


def write_tuned(folder: Path) -> TuneAVideoUNet:
    """The folder that tuning writes, as far as it is its own; its random network."""
    (folder / "unet").mkdir(parents=True)
    network = drawn(TuneAVideoUNet(**tuneavideo_config(CONFIG)), seed=3, scale=0.15)
    (folder / "unet" / "config.json").write_text(json.dumps(CONFIG))
    torch.save(network.state_dict(), pickle_of(folder))
    return network


def pickle_of(folder: Path) -> Path:
    return folder / "unet" / "diffusion_pytorch_model.bin"


def converted(folder: Path) -> list[Path]:
    """By configuration, beside the pickle."""
    out = folder / "unet"
    config = composed("convert", "weights=tuneavideo", f"source={pickle_of(folder)}", f"out={out}")
    return convert(instantiate(config.weights), config.source, config.out)


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd14")
    write_stable_diffusion(folder)
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TuneAVideoUNet]:
    folder = tmp_path_factory.mktemp("tuned")
    network = write_tuned(folder)
    converted(folder)
    return folder, network


def test_the_published_pickle_becomes_the_same_network(
    tuned: tuple[Path, TuneAVideoUNet], image_model: Path
) -> None:
    folder, network = tuned
    backbone = load_tuneavideo(str(folder), str(image_model), device="cpu", precision="fp32")
    text = backbone.encode_text(["a b", ""])
    latents = torch.randn(2, 4, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    level = backbone.levels(50)[25]
    with torch.no_grad():
        wanted = network(latents, torch.tensor([level.timestep] * 2), text.tensors["context"])
    torch.testing.assert_close(backbone.predict(latents, level, text), wanted)
    assert level.timestep == 481


def test_native_defaults(tuned: tuple[Path, TuneAVideoUNet], image_model: Path) -> None:
    config = composed("generate", "backbone=tuneavideo", f"backbone.folder={tuned[0]}", "device=cpu")
    config.backbone.image_model = str(image_model)
    defaults = instantiate(config).backbone.defaults
    assert (defaults.frames, defaults.height, defaults.width, defaults.fps) == (24, 512, 512, 8)
    assert (defaults.steps, defaults.guidance, defaults.ddim_eta) == (50, 12.5, 0)


@pytest.mark.parametrize("method", ["baseline", "ona", "spr", "pos"])
def test_every_method_runs_by_configuration(
    method: str, tuned: tuple[Path, TuneAVideoUNet], image_model: Path, tmp_path: Path
) -> None:
    generate(tmp_path, method, "backbone=tuneavideo", f"backbone.folder={tuned[0]}", image_model)


@pytest.mark.parametrize("method", ["baseline", "pos"])
def test_the_retrained_variant_runs_by_configuration(method: str, image_model: Path, tmp_path: Path) -> None:
    network = drawn(TuneAVideoUNet(**tuneavideo_config(CONFIG), temporal_convs=True), seed=4)
    save_unet(network, tmp_path / "trained.safetensors")
    trained = f"backbone.unet={tmp_path / 'trained.safetensors'}"
    generate(tmp_path, method, "backbone=tuneavideo_retrained", trained, image_model)


def generate(tmp_path: Path, method: str, backbone: str, weights: str, image_model: Path) -> None:
    config = composed(
        "generate", backbone, weights, f"backbone.image_model={image_model}", f"method={method}",
        "prompt=a red ring", "pool.size=6", "frames=3", "height=32", "width=32", "steps=2", "device=cpu",
        f"out={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}",
    )  # fmt: skip
    run(config)
    (video,) = (tmp_path / "out").glob("*.safetensors")
    assert read_video(video, frames=3).shape == (3, 3, 32, 32)


@torch.no_grad()
def test_sizes_are_those_that_the_autoencoder_divides(
    tuned: tuple[Path, TuneAVideoUNet], image_model: Path
) -> None:
    backbone = load_tuneavideo(str(tuned[0]), str(image_model), device="cpu", precision="fp32")
    shape = backbone.latent_shape(2, 36, 20)  # which the network's levels need not divide
    assert shape == (4, 2, 9, 5)
    latents, text = torch.ones(1, *shape), backbone.encode_text(["a b"])
    assert backbone.predict(latents, backbone.levels(50)[1], text).shape == latents.shape
    with pytest.raises(PosError, match="height=34, width=20 is not possible: multiples of 4"):
        backbone.latent_shape(2, 34, 20)


def test_a_pickle_is_named_with_the_command_that_converts_it(tmp_path: Path, image_model: Path) -> None:
    write_tuned(tmp_path)
    with pytest.raises(PosError, match=r"is a pickle.*convert\.py weights=tuneavideo source=.*\.bin out="):
        load_tuneavideo(str(tmp_path), str(image_model))


def test_absent_files_are_named_with_their_key(
    tmp_path: Path, image_model: Path, tuned: tuple[Path, TuneAVideoUNet]
) -> None:
    with pytest.raises(PosError, match=r"hf download Tune-A-Video-library/.*backbone\.folder"):
        load_tuneavideo(str(tmp_path), str(image_model))
    with pytest.raises(PosError, match=r"hf download CompVis/.*backbone\.image_model"):
        load_tuneavideo(str(tuned[0]), str(tmp_path))
    with pytest.raises(PosError, match=r"none\.safetensors is absent.*backbone\.unet"):
        load_retrained(str(tmp_path / "none.safetensors"), str(image_model))


def test_the_fingerprint_is_of_the_tuned_weights(
    tuned: tuple[Path, TuneAVideoUNet], image_model: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(tuned[0], tmp_path / "copy")
    first, again = (
        load_tuneavideo(str(folder), str(image_model), device="cpu").fingerprint
        for folder in (tuned[0], copy)
    )
    assert first == again
    file = pickle_of(copy).with_suffix(".safetensors")
    state = load_file(file)
    state["conv_out.bias"] += 1
    save_file(state, file)
    assert load_tuneavideo(str(copy), str(image_model), device="cpu").fingerprint != first


def test_a_pickle_that_does_not_fit_its_configuration(tmp_path: Path) -> None:
    network = write_tuned(tmp_path)
    state = network.state_dict()
    del state["conv_in.bias"]
    torch.save({**state, "stranger": torch.zeros(1)}, pickle_of(tmp_path))
    with pytest.raises(PosError, match=r"no network of Tune-A-Video.*conv_in\.bias.*stranger"):
        converted(tmp_path)
    (tmp_path / "unet" / "config.json").write_text("{}")
    with pytest.raises(PosError, match=r"lacks .*down_block_types"):
        converted(tmp_path)
    (tmp_path / "unet" / "config.json").write_text("{")
    with pytest.raises(PosError, match="is not JSON"):
        converted(tmp_path)
