"""SCVideo in both sizes, from tiny weights on disk: what encode, predict and decode pass on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from pos.backbones.base import Conditioning
from pos.backbones.latent import LatentDiffusion
from pos.backbones.scvideo import load_shapes, load_stable_diffusion
from pos.errors import PosError
from pos.networks.inflated_unet import InflatedUNet, unet2d_config

VAE = {
    "in_channels": 3, "out_channels": 3, "block_out_channels": [8, 8, 16], "layers_per_block": 1,
    "latent_channels": 4, "norm_num_groups": 4, "scaling_factor": 0.7,
}  # fmt: skip
Write = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, write_tiny_shapes: Write) -> LatentDiffusion:
    return load_shapes(**write_tiny_shapes(tmp_path_factory.mktemp("shapes")), device="cpu")


@pytest.fixture
def videos() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 3, 16, 32), dtype=torch.uint8, generator=rng)


def test_encode_is_the_scaled_posterior_mean_of_every_frame(
    shapes: LatentDiffusion, videos: torch.Tensor
) -> None:
    latents = shapes.encode(videos)
    assert latents.shape == (2, *shapes.latent_shape(3, 16, 32)) == (2, 4, 3, 2, 4)
    frame = videos[1, 2].float() / 127.5 - 1
    with torch.no_grad():
        mean = shapes.codec.vae.encode(frame[None]).latent_dist.mean[0]
    torch.testing.assert_close(latents[1, :, 2], mean * 0.7, rtol=1e-4, atol=1e-5)
    assert torch.equal(shapes.encode(videos), latents)


def test_decode_undoes_the_layout_and_the_scale_of_encode(
    shapes: LatentDiffusion, videos: torch.Tensor
) -> None:
    latents = shapes.encode(videos)
    pixels = shapes.decode(latents)
    assert pixels.shape == videos.shape
    assert pixels.dtype == torch.uint8
    with torch.no_grad():
        frame = shapes.codec.vae.decode(latents[1, :, 2][None] / 0.7).sample[0]
    wanted = ((frame + 1) * 127.5).round().clamp(0, 255)
    assert (pixels[1, 2].float() - wanted).abs().max() <= 1  # float32 kernels of other batch sizes


def test_the_autoencoder_works_in_chunks(shapes: LatentDiffusion, videos: torch.Tensor) -> None:
    latents, pixels = shapes.encode(videos), shapes.decode(shapes.encode(videos))
    whole, shapes.codec.frames_at_once = shapes.codec.frames_at_once, 4
    torch.testing.assert_close(shapes.encode(videos), latents, rtol=1e-4, atol=1e-5)
    assert (shapes.decode(latents).int() - pixels.int()).abs().max() <= 1
    shapes.codec.frames_at_once = whole


def test_predict_is_the_network_at_the_levels_timestep(shapes: LatentDiffusion) -> None:
    latents = torch.randn(2, 4, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    text = shapes.encode_text(["a red ring", ""])
    table = shapes.levels(50)
    assert (table[50].timestep, table[1].timestep, table.prediction) == (981.0, 1.0, "epsilon")
    with torch.no_grad():
        wanted = shapes.unet(latents, torch.tensor([981.0, 981.0]), text.tensors["context"])
    torch.testing.assert_close(shapes.predict(latents, table[50], text), wanted)
    assert not torch.allclose(shapes.predict(latents, table[1], text), wanted, atol=1e-4)
    swapped = shapes.predict(latents, table[50], Conditioning.concat([text[1:], text[:1]]))
    assert not torch.allclose(swapped, wanted, atol=1e-5)


def test_text_rows_do_not_depend_on_their_batch(shapes: LatentDiffusion) -> None:
    prompts = ["a small red ring moving left over sand", "", "a dog, running"]
    together = shapes.encode_text(prompts).tensors["context"]
    assert together.shape == (3, 64, 12)
    for row, prompt in enumerate(prompts):
        alone = shapes.encode_text([prompt]).tensors["context"]
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_a_long_prompt_is_cut_with_one_warning_that_says_what_is_lost(
    shapes: LatentDiffusion, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = "a red ring moving left " * 40 + "past a blue star"
    with caplog.at_level(logging.WARNING):
        shapes.encode_text([prompt, "a red ring"])
        shapes.encode_text([prompt])
    assert len(caplog.records) == 1
    assert "64 tokens" in caplog.text
    lost = caplog.text.split("drops '")[1]
    assert lost.split("...")[0] in prompt


@pytest.mark.parametrize(
    ("size", "message"),
    [((0, 16, 16), "frames=0"), ((3, 20, 16), "height=20"), ((3, 16, 0), "width=0")],
)
def test_sizes_that_do_not_fit(shapes: LatentDiffusion, size: tuple[int, int, int], message: str) -> None:
    with pytest.raises(PosError, match=message):
        shapes.latent_shape(*size)
    if size[0] and size[2]:
        with pytest.raises(PosError, match=message):
            shapes.encode(torch.zeros(1, size[0], 3, *size[1:], dtype=torch.uint8))


def test_half_precision_keeps_the_samplers_dtype(
    tmp_path: Path, videos: torch.Tensor, write_tiny_shapes: Write
) -> None:
    backbone = load_shapes(**write_tiny_shapes(tmp_path), device="cpu", precision="bf16")
    latents = backbone.encode(videos)
    assert latents.dtype == torch.float32
    raw = backbone.predict(latents, backbone.levels(10)[5], backbone.encode_text(["x", "y"]))
    assert raw.dtype == torch.float32
    assert backbone.decode(latents).dtype == torch.uint8


def test_the_fingerprint_is_of_the_weights(tmp_path: Path, write_tiny_shapes: Write) -> None:
    files = write_tiny_shapes(tmp_path)
    first, again = load_shapes(**files), load_shapes(**files)
    assert first.fingerprint == again.fingerprint
    (tmp_path / "other").mkdir()
    other = write_tiny_shapes(tmp_path / "other", seed=1)
    for part in ("unet", "autoencoder", "clip"):
        assert load_shapes(**{**files, part: other[part]}).fingerprint != first.fingerprint


@pytest.mark.parametrize("choice", [{"device": "abacus"}, {"precision": "fp64"}])
def test_unknown_device_or_precision(
    tmp_path: Path, choice: dict[str, str], write_tiny_shapes: Write
) -> None:
    with pytest.raises(PosError, match=next(iter(choice.values()))):
        load_shapes(**write_tiny_shapes(tmp_path), **choice)


def test_absent_weights_are_named(tmp_path: Path, write_tiny_shapes: Write) -> None:
    files = write_tiny_shapes(tmp_path)
    with pytest.raises(PosError, match=r"nothing\.safetensors"):
        load_shapes(**{**files, "unet": "shapes/nothing.safetensors"})
    with pytest.raises(PosError, match="not one of InflatedUNet"):
        load_shapes(**{**files, "unet": files["autoencoder"]})


def write_stable_diffusion(root: Path) -> InflatedUNet:
    """Stable Diffusion's layout with tiny networks; returns the inflated one, stored beside it."""
    torch.manual_seed(0)
    image_unet = UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12, attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    image_unet.save_pretrained(root / "unet")
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    AutoencoderKL(**VAE, **blocks).save_pretrained(root / "vae")
    words = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=12, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8, bos_token_id=5, eos_token_id=6, pad_token_id=6,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(root / "text_encoder")
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (root / "tokenizer" / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    (root / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 8, "tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"})
    )
    unet = InflatedUNet(**unet2d_config(image_unet.config))
    unet.load_unet2d(image_unet.state_dict())
    save_file(unet.state_dict(), root / "inflated.safetensors")
    return unet.eval()


def test_full_size_reads_the_stable_diffusion_layout(tmp_path: Path) -> None:
    unet = write_stable_diffusion(tmp_path)
    backbone = load_stable_diffusion(
        str(tmp_path), str(tmp_path / "inflated.safetensors"), device="cpu", precision="fp32"
    )
    assert (backbone.defaults.frames, backbone.defaults.height, backbone.defaults.width) == (16, 256, 256)
    text = backbone.encode_text(["a b", ""])
    assert text.tensors["context"].shape == (2, 8, 12)
    latents = torch.randn(2, 4, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    level = backbone.levels(50)[25]
    with torch.no_grad():
        wanted = unet(latents, torch.tensor([level.timestep] * 2), text.tensors["context"])
    torch.testing.assert_close(backbone.predict(latents, level, text), wanted)


def test_full_size_names_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(PosError, match=r"config\.json is absent"):
        load_stable_diffusion(str(tmp_path), "none.safetensors")
    write_stable_diffusion(tmp_path)
    with pytest.raises(PosError, match=r"none\.safetensors is absent"):
        load_stable_diffusion(str(tmp_path), "none.safetensors")
