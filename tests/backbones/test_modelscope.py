"""ModelScope from a tiny published folder, against diffusers' own pipeline."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import TextToVideoSDPipeline
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file, save_file
from torch import Tensor

from pos.backbones.latent import LatentDiffusion
from pos.backbones.modelscope import load_modelscope
from pos.config.overrides import prepare
from pos.data.video.reading import read_video
from pos.diffusion.ddim import Guided, sample
from pos.errors import PosError
from pos.generation import make_requests, run
from pos.method import Method
from pos.pipeline import Pipeline
from tests.backbones.published import tokenizer, write_modelscope

CONF = Path(__file__).parents[2] / "conf"
PROMPTS = ["a red ring moving left", "blue!"]
FRAMES, HEIGHT, WIDTH = 3, 32, 24  # latents of 3x8x6


@dataclass
class Model:
    """diffusers' pipeline, and the folder it was written to."""

    folder: Path
    pipeline: TextToVideoSDPipeline

    def backbone(self, **changes) -> LatentDiffusion:
        return load_modelscope(str(self.folder), **{"device": "cpu", "precision": "fp32", **changes})

    def latents(self, steps: int, guidance: float, **texts) -> Tensor:
        size = {"num_frames": FRAMES, "height": HEIGHT, "width": WIDTH}
        return self.pipeline(
            PROMPTS, **size, num_inference_steps=steps, guidance_scale=guidance, latents=start(),
            output_type="latent", **texts,
        ).frames  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("modelscope")
    return Model(folder, write_modelscope(folder))


def start(videos: int = 2) -> Tensor:
    return torch.randn(videos, 4, FRAMES, 8, 6, generator=torch.Generator().manual_seed(0))


def sampled(backbone: LatentDiffusion, steps: int, guidance: float, negative: str = "") -> Tensor:
    prompts, other = backbone.encode_text(PROMPTS), backbone.encode_text([negative] * 2)
    return sample(
        Guided(backbone.predict, lambda _: prompts, other, guidance), start(), backbone.levels(steps)
    )


def error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize(("steps", "guidance"), [(4, 9.0), (7, 3.0), (20, 9.0)])
def test_sampling_is_that_of_diffusers_pipeline(model: Model, steps: int, guidance: float) -> None:
    assert error(sampled(model.backbone(), steps, guidance), model.latents(steps, guidance)) < 1e-4


def test_a_negative_prompt_is_that_of_diffusers_pipeline(model: Model) -> None:
    theirs = model.latents(4, 9.0, negative_prompt=["ugly"] * 2)
    assert error(sampled(model.backbone(), 4, 9.0, "ugly"), theirs) < 1e-4
    assert error(sampled(model.backbone(), 4, 9.0), theirs) > 1e-3


def test_texts_are_those_of_diffusers_pipeline(model: Model) -> None:
    """Padding included: "!" is token 0, and also a word of the second prompt."""
    with torch.no_grad():
        theirs, empty = model.pipeline.encode_prompt(PROMPTS, torch.device("cpu"), 1, True)
    backbone = model.backbone()
    assert error(backbone.encode_text(PROMPTS).tensors["context"], theirs) < 1e-6
    assert error(backbone.encode_text([""] * 2).tensors["context"], empty) < 1e-6


def test_the_padding_is_the_models_whatever_the_tokenizer_says(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "modelscope"
    shutil.copytree(model.folder, folder)
    tokenizer(folder / "tokenizer", pad="<|endoftext|>")
    expected = model.backbone().encode_text(PROMPTS[:1]).tensors["context"]
    other = load_modelscope(str(folder), device="cpu", precision="fp32")
    assert other.encode_text(PROMPTS[:1]).tensors["context"].equal(expected)
    wrong = load_modelscope(str(folder), pad_token="<|endoftext|>", device="cpu", precision="fp32")
    assert error(wrong.encode_text(PROMPTS[:1]).tensors["context"], expected) > 1e-3
    assert wrong.fingerprint != other.fingerprint


def test_videos_are_those_of_diffusers_pipeline(model: Model) -> None:
    size = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    pipeline = Pipeline(model.backbone(decode_chunk=2), Method(), **size, steps=5)
    asked = []
    pipeline.backbone.unet.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    (made,) = pipeline.generate(make_requests(["a ring"], [3]))
    theirs = model.pipeline(
        "a ring", num_frames=FRAMES, height=HEIGHT, width=WIDTH, num_inference_steps=5, guidance_scale=9.0,
        latents=asked[0][:1], output_type="pt",
    ).frames  # fmt: skip
    assert made.video.shape == (FRAMES, 3, HEIGHT, WIDTH)
    assert (made.video.float() - 255 * theirs[0]).abs().max() <= 1


def test_native_defaults(model: Model) -> None:
    backbone = model.backbone()
    native = backbone.defaults
    assert (native.frames, native.height, native.width, native.fps) == (16, 256, 256, 8)
    assert (native.steps, native.guidance, native.ddim_eta) == (50, 9.0, 0)
    table = backbone.levels(50)
    assert [table[k].timestep for k in (0, 1, 2, 50)] == [0, 1, 21, 981]
    assert 1 - table[0].noise ** 2 == pytest.approx(0.99915)


def test_a_size_that_the_levels_do_not_divide(model: Model) -> None:
    with pytest.raises(PosError, match=r"height=36, width=32 .* multiples of 8"):
        model.backbone().latent_shape(16, 36, 32)


def test_weights_of_another_network(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "modelscope"
    shutil.copytree(model.folder, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["transformer_out.weight"] = state.pop("transformer_in.norm.weight")
    save_file(state, path)
    with pytest.raises(PosError, match=r"UNet3D.* transformer_in\.norm\.weight.* transformer_out\.weight"):
        load_modelscope(str(folder), device="cpu")


def test_a_token_that_is_none(model: Model) -> None:
    with pytest.raises(PosError, match="pad_token='ring' is no token"):
        model.backbone(pad_token="ring")


def test_an_absent_folder_says_where_it_is_published(tmp_path: Path) -> None:
    with pytest.raises(
        PosError, match=r"hf download damo-vilab/text-to-video-ms-1\.7b .* backbone\.folder=DIR"
    ):
        load_modelscope(str(tmp_path / "none"))


@pytest.mark.parametrize("method", ["baseline", "ona", "spr", "pos"])
def test_every_method_runs_by_configuration(model: Model, method: str, tmp_path: Path) -> None:
    words = [
        "backbone=modelscope", f"backbone.folder={model.folder}", f"method={method}", "prompt=a red ring",
        "pool.size=6", f"frames={FRAMES}", "height=32", "width=32", "steps=2", "device=cpu",
        f"out={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("generate", prepare(words)))
    (video,) = (tmp_path / "out").glob("*.safetensors")
    assert read_video(video, frames=FRAMES).shape == (FRAMES, 3, 32, 32)
