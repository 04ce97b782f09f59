"""VideoMAE v2's encoder through transformers: cd-fvd (Ge et al. 2024) compares its pooled features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pos.errors import PosError

FRAMES, SIDE = 16, 224
GIANT = {
    "patch_size": 14,
    "hidden_size": 1408,
    "num_hidden_layers": 40,
    "num_attention_heads": 16,
    "intermediate_size": 6144,
}
"""ViT-g of the published ``vit_g_hybrid_pt_1200e_ssv2_ft.pth``: 1.01 billion weights."""


class VideoMAE(nn.Module):
    """Videos (b, 3, 16, 224, 224) in [0, 1] to features (b, d): the mean of the tokens, layer-normed.

    Args:
        config: sizes, as transformers names them; None is the published ViT-g.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        from transformers import VideoMAEConfig, VideoMAEModel

        super().__init__()
        sizes = VideoMAEConfig(**{"image_size": SIDE, "layer_norm_eps": 1e-6, **(config or GIANT)})
        self.side = sizes.image_size
        self.encoder = VideoMAEModel(sizes)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)

    def forward(self, videos: Tensor) -> Tensor:
        if videos.shape[2] != FRAMES:
            raise PosError(f"VideoMAE takes clips of {FRAMES} frames, not of {videos.shape[2]}.")
        tokens = self.encoder(videos.transpose(1, 2)).last_hidden_state
        return self.norm(tokens.mean(1))
