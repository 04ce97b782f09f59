"""Training of the two CLIPs: clips (or frames of clips) against captions, by open_clip's loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.errors import require
from pos.networks.shapes.clip import ShapesCLIP, save_clip
from pos.networks.shapes.tokenizer import CONTEXT, load_tokenizer
from pos.storage import asset
from pos.training.classifier import degrade
from pos.training.data import sample_frames
from pos.training.task import Optimization, Task

_LARGEST_SCALE = math.log(100)  # of the logits, as in CLIP


class ClipTask(Task):
    """The symmetric contrastive loss; validation reports text-to-clip retrieval over all its clips.

    Args:
        text: arguments of ``CLIPTextConfig`` but for vocabulary, context and special tokens, which are those
            of the Shapes tokenizer.
        visual, embed_dim, temporal: see ``ShapesCLIP``.
        optimization: optimiser and schedule.
        seed: of frames and degradations.
        frames: frames drawn from each clip in a step; None for all.
        noise, blur: see ``degrade``.
    """

    network: ShapesCLIP

    def __init__(
        self,
        text: Mapping[str, Any],
        visual: Mapping[str, Any],
        embed_dim: int,
        temporal: bool,
        optimization: Optimization,
        seed: int,
        frames: int | None = None,
        noise: float = 12.0,
        blur: float = 0.8,
    ) -> None:
        super().__init__(ShapesCLIP({**text, **_vocabulary()}, visual, embed_dim, temporal), optimization)
        self.seed, self.frames, self.noise, self.blur = seed, frames, noise, blur

    def on_fit_start(self) -> None:
        loss = require("open_clip.loss", extra="metrics").ClipLoss
        # Every process compares its own pairs with those of all, gradients included.
        self._loss = loss(
            local_loss=True, gather_with_grad=True, rank=self.global_rank, world_size=self.trainer.world_size
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        generator = self.generator(self.seed)
        videos = batch["videos"]
        if self.frames is not None:
            videos = sample_frames(videos, self.frames, generator)
        clips = self.network.encode_video(degrade(videos, self.noise, self.blur, generator))
        texts = self.network.encode_text(batch["input_ids"])
        scale = self.network.logit_scale.clamp(max=_LARGEST_SCALE).exp()
        loss = self._loss(clips.float(), texts.float(), scale)
        self.log_dict({"loss": loss, "scale": scale}, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:  # noqa: ARG002
        clips = self.network.encode_video(batch["videos"]).float()
        texts = self.network.encode_text(batch["input_ids"]).float()
        self._seen.append((texts, clips, batch["attributes"]))

    def on_validation_epoch_end(self) -> None:
        texts, clips, attributes = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self.log_dict(retrieval(texts, clips, attributes))

    def export(self, path: Path) -> None:
        save_clip(self.network, path)


def retrieval(texts: Tensor, clips: Tensor, attributes: Tensor) -> dict[str, float]:
    """Text-to-clip retrieval among n clips from unit embeddings (n, d) and the clips' attributes (n, 6).

    R@1 and R@5 ask for the very clip. Clips of one set of attributes share their captions, so
    ``R@1, attributes`` also counts the retrieval of another clip with exactly the same attributes.
    """
    best = (texts @ clips.T).topk(min(5, len(clips)), dim=1).indices
    own = torch.arange(len(clips), device=clips.device)[:, None]
    return {
        "text-to-clip R@1": (best[:, :1] == own).float().mean().item(),
        "text-to-clip R@5": (best == own).any(1).float().mean().item(),
        "text-to-clip R@1, attributes": (attributes[best[:, 0]] == attributes).all(1).float().mean().item(),
        "clips": float(len(clips)),
    }


def _vocabulary() -> dict[str, int]:
    tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
