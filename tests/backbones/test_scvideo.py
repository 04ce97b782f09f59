"""SCVideo in both sizes, from tiny weights on disk: what encode, predict and decode pass on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from pos.backbones.base import Conditioning
from pos.backbones.latent import LatentDiffusion
from pos.backbones.scvideo import load_shapes, load_stable_diffusion
from pos.errors import PosError
from pos.networks.inflated.scvideo import InflatedUNet, unet2d_config
from tests.backbones.published import drawn, write_stable_diffusion

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
    whole, shapes.codec.frames_at_once = shapes.codec.frames_at_once, 4  # decode_chunk
    torch.testing.assert_close(shapes.encode(videos), latents, rtol=1e-4, atol=1e-5)
    assert (shapes.decode(latents).int() - pixels.int()).abs().max() <= 1
    shapes.codec.frames_at_once = whole


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_has_at_least_one_frame(tmp_path: Path, write_tiny_shapes: Write, chunk: int) -> None:
    with pytest.raises(PosError, match=f"decode_chunk={chunk} is not allowed"):
        load_shapes(**write_tiny_shapes(tmp_path), device="cpu", decode_chunk=chunk)


def test_pixels_that_are_not_finite_are_no_black_video(shapes: LatentDiffusion) -> None:
    """What Stable Diffusion XL's autoencoder makes in fp16."""
    latents = torch.zeros(1, 4, 2, 2, 2)
    latents[0, 0, 1] = torch.nan
    with pytest.raises(PosError, match=r"pixels are not finite in torch\.float32: use another"):
        shapes.decode(latents)


def test_predict_is_the_network_at_the_levels_timestep(shapes: LatentDiffusion) -> None:
    latents = torch.randn(2, 4, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    text = shapes.encode_text(["a red ring", ""])
    table = shapes.levels(50)
    assert (table[50].timestep, table[1].timestep, table.prediction) == (999.0, 1.0, "v")
    with torch.no_grad():
        wanted = shapes.unet(latents, torch.tensor([999.0, 999.0]), text.tensors["context"])
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


@dataclass
class FullSize:
    """Stable Diffusion's folder, its image UNet, and an inflated one with weights of its own."""

    folder: Path
    image_unet: UNet2DConditionModel
    unet: InflatedUNet

    @property
    def weights(self) -> str:
        return str(self.folder / "inflated.safetensors")

    def backbone(self, unet: str | None) -> LatentDiffusion:
        return load_stable_diffusion(str(self.folder), unet, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> FullSize:
    folder = tmp_path_factory.mktemp("sd14")
    image_unet = write_stable_diffusion(folder).unet
    unet = drawn(InflatedUNet(**unet2d_config(image_unet.config)), seed=1)
    save_file(unet.state_dict(), folder / "inflated.safetensors")
    return FullSize(folder, image_unet, unet)


def latents() -> torch.Tensor:
    return torch.randn(2, 4, 3, 8, 6, generator=torch.Generator().manual_seed(2))


def test_full_size_is_the_trained_network_over_stable_diffusions_parts(full_size: FullSize) -> None:
    backbone = full_size.backbone(full_size.weights)
    assert (backbone.defaults.frames, backbone.defaults.height, backbone.defaults.width) == (16, 256, 256)
    text = backbone.encode_text(["a ring", ""])
    assert text.tensors["context"].shape == (2, 24, 12)
    level = backbone.levels(50)[25]
    with torch.no_grad():
        wanted = full_size.unet(latents(), torch.tensor([level.timestep] * 2), text.tensors["context"])
    torch.testing.assert_close(backbone.predict(latents(), level, text), wanted, rtol=1e-5, atol=1e-5)


def test_untrained_it_is_stable_diffusion_on_identical_frames(
    full_size: FullSize, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = full_size.backbone(None)
    assert "SCVideo is untrained" in caplog.text
    text, level = backbone.encode_text(["a ring", "a blue ring"]), backbone.levels(50)[25]
    still = latents()[:, :, :1].expand(-1, -1, 3, -1, -1)
    with torch.no_grad():
        wanted = full_size.image_unet(still[:, :, 0], level.timestep, text.tensors["context"]).sample
    output = backbone.predict(still, level, text)
    assert (output - wanted[:, :, None]).norm() < 1e-5 * output.norm()
    moving = backbone.predict(latents(), level, text)
    with torch.no_grad():
        alone = full_size.image_unet(latents()[:, :, 1], level.timestep, text.tensors["context"]).sample
    assert (moving[:, :, 1] - alone).norm() > 3e-4 * alone.norm()
    assert backbone.fingerprint == full_size.backbone(None).fingerprint
    assert backbone.fingerprint != full_size.backbone(full_size.weights).fingerprint


def test_full_size_names_what_is_absent(full_size: FullSize, tmp_path: Path) -> None:
    with pytest.raises(PosError, match=r"unet/config\.json is absent: get Stable Diffusion 1\.4 with"):
        load_stable_diffusion(str(tmp_path), "none.safetensors")
    with pytest.raises(PosError, match=r"none\.safetensors is absent: .* backbone\.unet=null"):
        full_size.backbone("none.safetensors")
    with pytest.raises(PosError, match="do not fit InflatedUNet"):
        full_size.backbone(str(full_size.folder / "unet" / "diffusion_pytorch_model.safetensors"))
