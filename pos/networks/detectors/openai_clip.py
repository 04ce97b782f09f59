"""OpenAI's CLIP ViT-B/32, of CLIPSIM and CLIP-FID, through open_clip."""

from __future__ import annotations

from typing import Any

from torch import nn

from pos.errors import require

ARCHITECTURE = "ViT-B-32-quickgelu"
"""As open_clip calls it; its plain ``ViT-B-32`` has another activation, which shifts cosines by 7e-4."""


def build_clip() -> nn.Module:
    """A new network; its names are those of OpenAI's file.

    Raises:
        PosError: open_clip is not installed.
    """
    open_clip = require("open_clip", extra="metrics")
    return open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE))


def open_clip_tokenizer() -> Any:
    """Texts to token ids (b, 77), cut at 77 tokens; its vocabulary comes with the package.

    Raises:
        PosError: open_clip is not installed.
    """
    return require("open_clip", extra="metrics").get_tokenizer(ARCHITECTURE)
