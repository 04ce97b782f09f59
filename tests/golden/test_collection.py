"""Recordings of other configurations and seeds pass without new code; strangers and changed numbers fail."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.golden.recordings import fill

TEST = Path(__file__).with_name("test_backbones.py")
SCHEDULER = {
    "beta_start": 0.001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "num_train_timesteps": 500,
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 0,
}
CONFIGS = {
    "classes": ["diffusers.TextToVideoSDPipeline", "diffusers.UNet3DConditionModel"],
    "unet_config": {
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
        "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
        "block_out_channels": [32, 32],
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 8,
    },
    "vae_config": {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D"],
        "block_out_channels": [8],
        "latent_channels": 4,
        "norm_num_groups": 4,
        "scaling_factor": 0.3,
    },
    "text_config": {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 6,
        "hidden_act": "quick_gelu",
        "bos_token_id": 38,
        "eos_token_id": 39,
        "pad_token_id": 39,
    },
    "scheduler": SCHEDULER,
}
IDS = [[38, 3, 7, 39, 39, 39], [38, 9, 39, 39, 39, 39]]
EMPTY = [[38, 39, 39, 39, 39, 39]]


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    return {
        "unet": fill(UNet3DConditionModel(**CONFIGS["unet_config"])),
        "vae": fill(AutoencoderKL(**CONFIGS["vae_config"])),
        "text_encoder": fill(CLIPTextModel(CLIPTextConfig(**CONFIGS["text_config"]))),
    }


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def record_pipeline(folder: Path, networks: dict[str, Any]) -> None:
    """Two prompts through diffusers' own pipeline: 3 and 4 steps, guidance 5, other seeds and networks."""
    from diffusers import DDIMScheduler, TextToVideoSDPipeline

    pipeline = TextToVideoSDPipeline(tokenizer=None, scheduler=DDIMScheduler(**SCHEDULER), **networks)
    pipeline.set_progress_bar_config(disable=True)
    text = networks["text_encoder"]
    prompts = text(torch.tensor(IDS)).last_hidden_state
    negative = text(torch.tensor(EMPTY * 2)).last_hidden_state
    tensors = {"latents": normal(11, 2, 4, 2, 8, 8), "unet.x": normal(12, 2, 4, 2, 8, 8)}
    tensors |= {"prompt_embeds": prompts, "negative_prompt_embeds": negative}
    tensors["unet.out"] = networks["unet"](tensors["unet.x"], 77, encoder_hidden_states=prompts).sample
    scenarios = {}
    for steps in (3, 4):
        tensors[f"S{steps}.final"] = pipeline(
            prompt_embeds=prompts,
            negative_prompt_embeds=negative,
            latents=tensors["latents"].clone(),
            num_inference_steps=steps,
            guidance_scale=5.0,
            height=8,
            width=8,
            output_type="latent",
        ).frames
        timesteps = pipeline.scheduler.timesteps.tolist()
        scenarios[f"S{steps}"] = {"S": steps, "guidance_scale": 5.0, "timesteps": timesteps}
    info = CONFIGS | {"input_ids": IDS, "uncond_input_ids": EMPTY * 2, "latents_seed": 11, "unet_x_seed": 12}
    write(folder / "another_pipeline.json", info | {"unet_t": 77, "pipeline": scenarios}, tensors)


@torch.no_grad()
def record_inversion(folder: Path, networks: dict[str, Any]) -> None:
    """Three steps of diffusers' inverse scheduler; Eq. 2 as printed, spelt out with its abar."""
    from diffusers import DDIMInverseScheduler, DDIMScheduler

    unet, vae = networks["unet"], networks["vae"]
    down, up = DDIMScheduler(**SCHEDULER), DDIMInverseScheduler(**SCHEDULER)
    down.set_timesteps(3)
    up.set_timesteps(3)
    context = networks["text_encoder"](torch.tensor(EMPTY)).last_hidden_state

    def predict(latents: Tensor, timestep: int) -> Tensor:
        return unet(latents, timestep, encoder_hidden_states=context).sample

    def denoise(latents: Tensor) -> Tensor:
        for timestep in down.timesteps:
            latents = down.step(predict(latents, timestep), timestep, latents).prev_sample
        return latents

    clean = 0.8 * normal(13, 1, 4, 2, 4, 4)
    noise = clean
    for timestep in up.timesteps:
        noise = up.step(predict(noise, timestep), timestep, noise).prev_sample
    targets = up.timesteps.tolist()
    asked = [0, *targets[:-1]]
    printed, abars = clean, [1.0, *(float(up.alphas_cumprod[t]) for t in targets)]
    for k, timestep in enumerate(asked):
        eps = predict(printed, timestep)
        x0 = (printed - (1 - abars[k]) ** 0.5 * eps) / abars[k] ** 0.5
        printed = abars[k + 1] ** 0.5 * x0 + (1 - abars[k + 1]) ** 0.5 * eps
    frames = normal(14, 2, 3, 4, 4).tanh()
    latents = vae.encode(frames).latent_dist.mean
    scaled = CONFIGS["vae_config"]["scaling_factor"] * latents
    tensors = {
        "frames": frames,
        "latent_mean_scaled": scaled.unflatten(0, (1, 2)).transpose(1, 2),
        "decoded": vae.decode(latents).sample,
        "z0": clean,
        "S3.inv_diffusers": noise,
        "S3.inv_eq2": printed,
        "S3.recon_diffusers": denoise(noise),
        "S3.recon_eq2": denoise(printed),
    }
    timesteps = {"network_timesteps_diffusers": targets, "network_timesteps_eq2": asked}
    write(folder / "another_inversion.json", CONFIGS | {"inversion": {"S3": timesteps}}, tensors)


def write(path: Path, info: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    path.write_text(json.dumps(info))
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()},
        path.with_suffix(".safetensors"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, networks: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("golden") / "backbones"
    folder.mkdir()
    record_pipeline(folder, networks)
    record_inversion(folder, networks)
    return folder


def run(folder: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"POS_GOLDEN": str(folder.parent)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--no-header",
        "-p",
        "no:cacheprovider",
        str(TEST),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_other_configurations_and_seeds_pass_without_new_code(folder: Path) -> None:
    result = run(folder)
    assert result.returncode == 0, result.stdout
    assert " 11 passed" in f" {result.stdout.splitlines()[-1]}"
    for case in ("pipeline-sampling-S3", "pipeline-sampling-S4", "inversion-next-S3", "inversion-printed-S3"):
        assert f"[another_{case}]" in result.stdout


@pytest.mark.slow
def test_a_changed_number_and_an_unknown_class_fail(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "backbones")
    changed = broken / "another_inversion.safetensors"
    tensors = load_file(changed)
    tensors["S3.inv_diffusers"] *= 1.001
    save_file(tensors, changed)
    stranger = copy.deepcopy(CONFIGS) | {"classes": ["somebody.OtherPipeline"], "pipeline": {}}
    (broken / "stranger.json").write_text(json.dumps(stranger))
    result = run(broken)
    assert result.returncode == 1, result.stdout
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2, failed
    assert any("another_inversion-next-S3" in line for line in failed)
    assert any("test_the_class_is_known[stranger]" in line for line in failed)
    assert "made by ['somebody.OtherPipeline']: no such class is known" in result.stdout


@pytest.mark.slow
def test_a_folder_without_recordings_fails(tmp_path: Path) -> None:
    result = run(tmp_path / "backbones")
    assert result.returncode == 1, result.stdout
    assert "test_the_folder_holds_recordings" in result.stdout
