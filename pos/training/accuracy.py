"""What a video model in training can already do: samples of detailed prompts, judged by attribute."""

from __future__ import annotations

import copy
import random

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from pos.backbones.base import Defaults
from pos.backbones.latent import LatentDiffusion
from pos.backbones.text import ClipText
from pos.data.shapes.captions import DETAILS, caption
from pos.data.shapes.splits import references
from pos.data.shapes.world import ATTRIBUTES, FRAMES, SIZE
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.levels import Schedule
from pos.diffusion.noise import base_noise
from pos.networks.autoencoder import load_autoencoder
from pos.networks.inflated.trunk import InflatedTrunk
from pos.networks.shapes.classifiers import load_classifier
from pos.storage import locate


class SampleAccuracy:
    """Samples videos of detailed captions of reference scenes and lets the judge classify all six attributes.

    Args:
        autoencoder, judge: files, or names of shipped assets.
        prompts: how many captions, over all processes.
        steps: DDIM steps T.
        guidance: classifier-free guidance scale.
        batch_size: videos sampled at a time.
    """

    def __init__(
        self, autoencoder: str, judge: str, prompts: int, steps: int, guidance: float, batch_size: int = 128
    ) -> None:
        self.defaults = Defaults(FRAMES, SIZE, SIZE, steps, guidance, fps=8)
        self.autoencoder, self.judge = load_autoencoder(locate(autoencoder)), load_classifier(locate(judge))
        self.prompts, self.batch_size = prompts, batch_size

    @torch.no_grad()
    def __call__(
        self,
        network: InflatedTrunk,
        text_encoder: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        schedule: Schedule,
        rank: int,
        processes: int,
    ) -> dict[str, float]:
        """Accuracies (0..1) of this process' share of the prompts: each attribute's and their mean."""
        device = next(network.parameters()).device
        backbone = LatentDiffusion(
            copy.deepcopy(network),  # the backbone casts and freezes its network
            self.autoencoder,
            ClipText(copy.deepcopy(text_encoder), tokenizer),
            name="in training",
            defaults=self.defaults,
            fingerprint="in training",
            levels=schedule.levels,
            unit=SIZE,
            device=device,
            precision="fp32" if device.type == "cpu" else "bf16",
        )
        judge = self.judge.to(device)
        expected = torch.cat([clip.scene.attributes for clip in references(self.prompts)])
        rows = list(range(rank, self.prompts, processes))
        judged = []
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            texts = [caption(expected[row].tolist(), DETAILS - 1, random.Random(row)) for row in batch]
            logits = judge(self._sample(backbone, texts, batch).to(device))
            judged.append(torch.stack([logits[name].argmax(-1) for name in ATTRIBUTES], dim=1).cpu())
        right = (torch.cat(judged) == expected[rows]).float().mean(0)
        each = {f"accuracy, {name}": value.item() for name, value in zip(ATTRIBUTES, right, strict=True)}
        return {"accuracy with detailed prompts": right.mean().item(), **each}

    def _sample(self, backbone: LatentDiffusion, texts: list[str], rows: list[int]) -> Tensor:
        shape = backbone.latent_shape(FRAMES, SIZE, SIZE)
        noise = base_noise(shape, [f"reference-{row:05d}" for row in rows], [0] * len(rows))
        condition = backbone.encode_text(texts)
        empty = backbone.encode_text([""]).repeat(len(texts))
        predict = Guided(backbone.predict, lambda _: condition, empty, self.defaults.guidance)
        return backbone.decode(
            sample(predict, noise.to(backbone.device), backbone.levels(self.defaults.steps))
        )
