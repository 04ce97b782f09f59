"""VideoMAE v2's encoder from its authors' checkpoint, in the names that transformers gives it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.conversion.reading import check_published, read_checkpoint
from pos.conversion.writing import Part
from pos.errors import PosError
from pos.networks.detectors.videomae import VideoMAE
from pos.networks.weights import misfit

_OUTER = {
    "patch_embed.proj": "encoder.embeddings.patch_embeddings.projection",
    "fc_norm": "norm",
}
_INNER = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_CLASSIFIER = ("head.weight", "head.bias")  # of Something-Something v2: FVD reads the features alone


def read_videomae(
    source: Path, config: Mapping[str, Any] | None = None, sha256: str | None = None
) -> dict[str, Part]:
    """ViT-g of VideoMAE v2 from ``vit_g_hybrid_pt_1200e_ssv2_ft.pth``, which cd-fvd reads.

    Args:
        source: the file; its tensors stand at the top, or under ``model`` or ``module``.
        config: other sizes than ViT-g's, as ``VideoMAE`` takes them.
        sha256: the expected hash; None takes any file.

    Raises:
        PosError: another file, one that cannot be read, or weights of another network.
    """
    theirs = read_checkpoint(check_published(source, sha256), inside=("model", "module"))
    state = {
        name: tensor
        for original, whole in theirs.items()
        if original not in _CLASSIFIER
        for name, tensor in _ours(original, whole)
    }
    with torch.device("meta"):
        network = VideoMAE(config)
    problems = misfit(state, network.state_dict())
    if problems:
        raise PosError(f"{source} is not the encoder of VideoMAE v2: {problems}.")
    return {"videomae": Part(state, dict(config or {}), "VideoMAE v2 (ViT-g, fine-tuned on SSv2)")}


def _ours(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """A tensor of theirs by our names; queries, keys and values are one there, the unknown keeps its name."""
    outer, _, leaf = name.rpartition(".")
    if outer in _OUTER:
        return [(f"{_OUTER[outer]}.{leaf}", tensor)]
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        return [(name, tensor)]
    layer, attention = (
        f"encoder.encoder.layer.{block[1]}",
        f"encoder.encoder.layer.{block[1]}.attention.attention",
    )
    if block[2] == "attn.qkv.weight":
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
        return [(f"{attention}.{part}.weight", rows) for part, rows in parts]
    if block[2] in ("attn.q_bias", "attn.v_bias"):
        return [(f"{attention}.{'query' if 'q_' in block[2] else 'value'}.bias", tensor)]
    inner, _, leaf = block[2].rpartition(".")
    return [(f"{layer}.{_INNER[inner]}.{leaf}" if inner in _INNER else name, tensor)]
