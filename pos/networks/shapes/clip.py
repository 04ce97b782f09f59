"""The small CLIP of the Shapes world: one conditions the video model, another, trained apart, scores it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.shapes.text_tower import TextConfig, TextTower
from pos.networks.shapes.towers import FrameTower, TemporalMixer
from pos.networks.weights import rebuild, save_weights


class ShapesCLIP(nn.Module):
    """CLIP over videos: a text tower, a frame tower and, for clips, a mixer over frames.

    Args:
        text: arguments of ``TextConfig``; ``eos_token_id`` is where the text is pooled.
        visual: arguments of ``FrameTower`` (widths, dim, grid) and, when temporal, ``layers`` of
            ``TemporalMixer``.
        embed_dim: length of the shared embedding.
        temporal: True embeds a clip through the mixer over frames, so that motion counts; False takes the
            mean of its frames' embeddings, as CLIPSIM does.
    """

    def __init__(
        self, text: Mapping[str, Any], visual: Mapping[str, Any], embed_dim: int, temporal: bool
    ) -> None:
        super().__init__()
        self.config = {
            "text": dict(text),
            "visual": dict(visual),
            "embed_dim": embed_dim,
            "temporal": temporal,
        }
        self.text = TextTower(TextConfig(**text), embed_dim)
        tower = {name: value for name, value in visual.items() if name != "layers"}
        self.tower = FrameTower(**tower)
        self.mixer = TemporalMixer(tower["dim"], visual["layers"]) if temporal else None
        self.project = nn.Sequential(
            nn.LayerNorm(tower["dim"]), nn.Linear(tower["dim"], embed_dim, bias=False)
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Token ids (b, n) to unit embeddings (b, embed_dim), pooled at the first end-of-text token.

        The tower is causal, so padding after that token changes nothing and the mask may be left out.
        """
        states = self.text.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        ends = (input_ids == self.text.config.eos_token_id).int().argmax(-1)
        pooled = states[torch.arange(len(states), device=states.device), ends]
        return functional.normalize(self.text.text_projection(pooled), dim=-1)

    def encode_frames(self, videos: Tensor) -> Tensor:
        """Videos uint8 (b, f, 3, h, w) to unit embeddings of every frame (b, f, embed_dim).

        Raises:
            PosError: a temporal network, which was never trained on single frames.
        """
        if self.mixer is not None:
            raise PosError("This CLIP embeds whole clips: frames are embedded by one with temporal: false.")
        return functional.normalize(self.project(self.tower(videos)), dim=-1)

    def encode_video(self, videos: Tensor) -> Tensor:
        """Videos uint8 (b, f, 3, h, w) to unit embeddings (b, embed_dim)."""
        if self.mixer is None:
            return functional.normalize(self.encode_frames(videos).mean(1), dim=-1)
        return functional.normalize(self.project(self.mixer(self.tower(videos))), dim=-1)


def save_clip(clip: ShapesCLIP, path: Path | str) -> None:
    """Write the weights (fp16) and the configuration."""
    save_weights(clip, path, clip.config)


def load_clip(path: Path | str) -> ShapesCLIP:
    """A ShapesCLIP in evaluation mode from a safetensors file whose metadata holds its configuration.

    Raises:
        PosError: the file is absent, no safetensors file, without configuration, or does not fit it.
    """
    return rebuild(ShapesCLIP, path)
