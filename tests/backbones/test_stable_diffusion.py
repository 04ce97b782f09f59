"""Stable Diffusion 1.5 and XL from tiny published folders, against diffusers' own pipelines."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from hydra import compose, initialize_config_dir

from pos.backbones.base import Conditioning
from pos.backbones.latent import LatentDiffusion
from pos.backbones.stable_diffusion import load_sd15, load_sdxl
from pos.config.overrides import prepare
from pos.data.video.reading import read_video
from pos.diffusion.ddim import Guided, sample
from pos.errors import PosError
from pos.generation import make_requests, run
from pos.method import Method
from pos.pipeline import Pipeline
from tests.backbones.published import write_stable_diffusion, write_stable_diffusion_xl

CONF = Path(__file__).parents[2] / "conf"
PROMPTS = ["a red ring moving left", "blue!"]
HEIGHT, WIDTH = 48, 40  # latents of 12x10 and 6x5: the network's levels need not divide them


@dataclass
class Model:
    """A backbone and diffusers' pipeline, from one folder."""

    folder: Path
    load: Callable[..., LatentDiffusion]
    pipeline: DiffusionPipeline

    def backbone(self, **changes) -> LatentDiffusion:
        return self.load(str(self.folder), **{"device": "cpu", "precision": "fp32", **changes})


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("sd15")
    return Model(folder, load_sd15, write_stable_diffusion(folder))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("sdxl")
    return Model(folder, load_sdxl, write_stable_diffusion_xl(folder))


@pytest.fixture(params=["sd15", "sdxl"])
def model(request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue(request.param)


def start(images: int = 2) -> torch.Tensor:
    return torch.randn(images, 4, 1, 12, 10, generator=torch.Generator().manual_seed(0))


def sampled(backbone: LatentDiffusion, steps: int, guidance: float, negative: str = "") -> torch.Tensor:
    condition = backbone.encode_text(PROMPTS)
    other = backbone.encode_text([negative]).repeat(len(PROMPTS))
    return sample(
        Guided(backbone.predict, lambda _: condition, other, guidance), start(), backbone.levels(steps)
    )


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-4) -> None:
    error = float((ours - theirs).norm() / theirs.norm())
    assert error < tolerance, error


@pytest.mark.parametrize(("steps", "guidance"), [(4, 7.5), (7, 3.0), (31, 5.0)])
def test_sampling_is_that_of_diffusers_pipeline(model: Model, steps: int, guidance: float) -> None:
    ours = sampled(model.backbone(), steps, guidance)
    theirs = model.pipeline(
        PROMPTS, height=HEIGHT, width=WIDTH, num_inference_steps=steps, guidance_scale=guidance,
        latents=start()[:, :, 0], output_type="latent",
    ).images  # fmt: skip
    assert ours.shape == (2, 4, 1, 12, 10)
    assert_close(ours[:, :, 0], theirs)


def test_a_negative_prompt_is_that_of_diffusers_pipeline(model: Model) -> None:
    theirs = model.pipeline(
        PROMPTS, negative_prompt=["ugly"] * 2, height=HEIGHT, width=WIDTH, num_inference_steps=4,
        guidance_scale=5.0, latents=start()[:, :, 0], output_type="latent",
    ).images  # fmt: skip
    ours = sampled(model.backbone(), 4, 5.0, "ugly")[:, :, 0]
    assert_close(ours, theirs)
    assert float((sampled(model.backbone(), 4, 5.0)[:, :, 0] - theirs).norm() / theirs.norm()) > 1e-3


def test_images_are_those_of_diffusers_pipeline(model: Model) -> None:
    pipeline = Pipeline(model.backbone(), Method(), height=HEIGHT, width=WIDTH, steps=5, guidance=4.0)
    (made,) = pipeline.generate(make_requests(["a ring"], [3]))
    asked = []
    pipeline.backbone.unet.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    list(pipeline.generate(make_requests(["a ring"], [3])))
    theirs = model.pipeline(
        "a ring", height=HEIGHT, width=WIDTH, num_inference_steps=5, guidance_scale=4.0,
        latents=asked[0][:1, :, 0], output_type="np",
    ).images  # fmt: skip
    assert made.video.shape == (1, 3, HEIGHT, WIDTH)
    wanted = torch.from_numpy(theirs[0]).permute(2, 0, 1) * 255
    assert (made.video[0].float() - wanted).abs().max() <= 1


def test_the_empty_prompt_of_xl_is_zeros_where_the_folder_says_so(sdxl: Model, tmp_path: Path) -> None:
    empty = sdxl.backbone().encode_text(["a ring", ""])
    assert all(not tensor[1].any() and tensor[0].any() for tensor in empty.tensors.values())
    assert empty.tensors["context"].shape == (2, 24, 28)
    assert empty.tensors["pooled"].shape == (2, 10)
    pipeline = write_stable_diffusion_xl(tmp_path, zero_empty=False)
    other = Model(tmp_path, load_sdxl, pipeline).backbone()
    assert all(tensor.any() for tensor in other.encode_text([""]).tensors.values())
    assert other.fingerprint != sdxl.backbone().fingerprint
    theirs = pipeline(
        PROMPTS, height=HEIGHT, width=WIDTH, num_inference_steps=3, guidance_scale=5.0,
        latents=start()[:, :, 0], output_type="latent",
    ).images  # fmt: skip
    assert_close(sampled(other, 3, 5.0)[:, :, 0], theirs)


def test_xl_knows_the_size_of_its_picture(sdxl: Model) -> None:
    backbone, told = sdxl.backbone(), []
    backbone.unet.unet.add_time_proj.register_forward_pre_hook(lambda _, inputs: told.append(inputs[0]))
    text = backbone.encode_text(PROMPTS)
    backbone.predict(start(), backbone.levels(4)[4], text)
    assert told[0].view(2, 6).tolist() == [[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]] * 2


def test_native_defaults(model: Model) -> None:
    native = model.backbone().defaults
    size, guidance = {"sd15": (512, 7.5), "sdxl": (1024, 5.0)}[model.backbone().name]
    assert (native.frames, native.height, native.width) == (1, size, size)
    assert (native.steps, native.guidance, native.ddim_eta) == (50, guidance, 0)


def test_only_videos_of_one_frame(model: Model) -> None:
    backbone = model.backbone()
    with pytest.raises(PosError, match=r"frames=16 is not possible: .* makes images, videos of 1 frame"):
        backbone.latent_shape(16, 64, 64)
    with pytest.raises(PosError, match=r"height=50, width=64 .* multiples of 4"):
        backbone.latent_shape(1, 50, 64)


@pytest.mark.parametrize(
    ("upcast", "precision", "expected"),
    [(True, "fp16", torch.float32), (True, "bf16", torch.bfloat16), (False, "fp16", torch.float16)],
)
def test_the_autoencoder_of_xl_leaves_fp16_where_it_overflows(
    sdxl: Model, tmp_path: Path, upcast: bool, precision: str, expected: torch.dtype
) -> None:
    folder = tmp_path / "sdxl"
    shutil.copytree(sdxl.folder, folder)
    config = folder / "vae" / "config.json"
    assert '"force_upcast": true' in config.read_text()
    config.write_text(
        config.read_text().replace('"force_upcast": true', f'"force_upcast": {str(upcast).lower()}')
    )
    backbone = load_sdxl(str(folder), device="cpu", precision=precision)
    assert next(backbone.codec.vae.parameters()).dtype == backbone.codec.dtype == expected
    assert next(backbone.unet.parameters()).dtype == backbone.dtype != torch.float32
    assert next(backbone.text.second.model.parameters()).dtype == backbone.dtype


def test_the_other_model_is_told_apart(sd15: Model, sdxl: Model) -> None:
    with pytest.raises(PosError, match=r"holds no Stable Diffusion 1\.x: .* backbone=sdxl"):
        load_sd15(str(sdxl.folder))
    with pytest.raises(PosError, match=r"text_encoder_2/config\.json is absent: get Stable Diffusion XL"):
        load_sdxl(str(sd15.folder))


def test_text_rows_keep_their_pooled_embedding(sdxl: Model) -> None:
    backbone = sdxl.backbone()
    text = backbone.encode_text(PROMPTS)
    swapped = Conditioning.concat([text[1:], text[:1]])
    out = backbone.predict(start(), backbone.levels(4)[2], text)
    for name in text.tensors:
        mixed = Conditioning({**text.tensors, name: swapped.tensors[name]})
        assert not torch.allclose(backbone.predict(start(), backbone.levels(4)[2], mixed), out, atol=1e-4)


@pytest.mark.parametrize("method", ["baseline", "ona", "spr", "pos"])
@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_every_method_runs_by_configuration(
    kind: str, method: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(kind)
    words = [
        f"backbone={kind}", f"backbone.folder={model.folder}", f"method={method}", "prompt=a red ring",
        "pool.size=6", "height=32", "width=32", "steps=2", "device=cpu", f"out={tmp_path / 'out'}",
        f"cache={tmp_path / 'cache'}",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("generate", prepare(words)))
    (video,) = (tmp_path / "out").glob("*.safetensors")
    assert read_video(video, frames=1).shape == (1, 3, 32, 32)
