"""Tiny models with random weights in the layouts that their authors publish."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedModel,
)

LENGTH = 24  # tokens of a text

# What Stable Diffusion 1.4, 1.5 and XL are published with, for schedulers of several classes.
SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "trained_betas": None,
    "skip_prk_steps": True,
}  # fmt: skip


def drawn(module: nn.Module, seed: int, scale: float = 0.1) -> nn.Module:
    """Weights moved by noise of their own: no bias is 0, no layer what its initialisation made it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return module.eval()


def autoencoder(seed: int = 0, **changes) -> AutoencoderKL:
    """Latents of 4 channels, a quarter of the pixels' sides."""
    config = {
        "block_out_channels": [8, 8, 16], "latent_channels": 4, "norm_num_groups": 4, "scaling_factor": 0.7,
        "down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3,
    }  # fmt: skip
    return drawn(AutoencoderKL(**config, **changes), seed)


def image_unet(seed: int = 0, **changes) -> UNet2DConditionModel:
    """Two levels, and attention where Stable Diffusion has it."""
    config = {
        "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 12, "attention_head_dim": 2,
    }  # fmt: skip
    return drawn(UNet2DConditionModel(**{**config, **changes}), seed, 0.15)


def tokenizer(folder: Path, pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's tokenizer with letters for a vocabulary, as files that were published before 2024."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*string.ascii_lowercase, "!"]
    words = ["<|startoftext|>", *letters, *(f"{letter}</w>" for letter in letters), "<|endoftext|>"]
    words.insert(0, words.pop(words.index("!")))  # "!" is token 0 of CLIP's
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"model_max_length": LENGTH, "tokenizer_class": "CLIPTokenizer", "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return CLIPTokenizer.from_pretrained(folder)


def text_model(kind: type[PreTrainedModel], seed: int, **changes) -> PreTrainedModel:
    config = {
        "vocab_size": 56, "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 3,
        "num_attention_heads": 2, "max_position_embeddings": LENGTH, "bos_token_id": 1, "eos_token_id": 55,
        "pad_token_id": 1,
    }  # fmt: skip
    return drawn(kind(CLIPTextConfig(**{**config, **changes})), seed, 0.3)


def write_stable_diffusion(root: Path, seed: int = 0) -> StableDiffusionPipeline:
    """Stable Diffusion 1.x: diffusers' pipeline with DDIM, and its folder."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder(seed),
        text_encoder=text_model(CLIPTextModel, seed),
        tokenizer=tokenizer(root / "tokenizer"),
        unet=image_unet(seed),
        scheduler=DDIMScheduler.from_config(SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    write(pipeline, root)
    return pipeline


def write_stable_diffusion_xl(
    root: Path, seed: int = 0, zero_empty: bool = True
) -> StableDiffusionXLPipeline:
    """Stable Diffusion XL: diffusers' pipeline with DDIM, and its folder."""
    unet = {
        "cross_attention_dim": 28, "use_linear_projection": True, "transformer_layers_per_block": [2, 1],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 10,
    }  # fmt: skip
    pipeline = StableDiffusionXLPipeline(
        vae=autoencoder(seed),
        text_encoder=text_model(CLIPTextModel, seed),
        text_encoder_2=text_model(CLIPTextModelWithProjection, seed + 1, hidden_size=16, projection_dim=10),
        tokenizer=tokenizer(root / "tokenizer"),
        tokenizer_2=tokenizer(root / "tokenizer_2", pad="!"),
        unet=image_unet(seed, **unet),
        scheduler=DDIMScheduler.from_config(SCHEDULER),
        force_zeros_for_empty_prompt=zero_empty,
        add_watermarker=False,
    )
    write(pipeline, root)
    return pipeline


def write_modelscope(root: Path, seed: int = 0) -> TextToVideoSDPipeline:
    """ModelScope: diffusers' pipeline with DDIM, and its folder."""
    unet = UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=12,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    pipeline = TextToVideoSDPipeline(
        vae=autoencoder(seed),
        text_encoder=text_model(CLIPTextModel, seed, hidden_act="gelu"),
        tokenizer=tokenizer(root / "tokenizer", pad="!"),
        unet=drawn(unet, seed, 0.15),
        scheduler=DDIMScheduler.from_config(SCHEDULER),
    )
    write(pipeline, root)
    return pipeline


def write(pipeline: DiffusionPipeline, root: Path) -> None:
    """A pipeline's folder, with the tokenizers that are there and a scheduler as it is published."""
    pipeline.set_progress_bar_config(disable=True)
    kept = {path: path.read_bytes() for path in root.glob("tokenizer*/*")}
    pipeline.save_pretrained(root)
    for path in root.glob("tokenizer*/*"):
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    path = root / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "PNDMScheduler", **SCHEDULER}))
