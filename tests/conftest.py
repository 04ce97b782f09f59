"""Tiny networks of the Shapes kind on disk, for whatever loads its weights from files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# One thread for a worker of pytest-xdist and for a command that a test starts: more compete for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

UNET = {
    "in_channels": 4, "block_out_channels": [8, 16], "attention_levels": [True, False], "layers_per_block": 1,
    "heads": [2, 2], "cross_attention_dim": 12, "groups": 4, "feed_forward": 2,
}  # fmt: skip
VAE = {
    "in_channels": 3, "out_channels": 3, "block_out_channels": [4, 4, 4, 8], "layers_per_block": 1,
    "latent_channels": 4, "norm_num_groups": 4, "scaling_factor": 0.7,
}  # fmt: skip
TEXT = {
    "vocab_size": 2000, "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture(scope="session")
def write_tiny_shapes() -> Callable[..., dict[str, str]]:
    """``write(folder, seed=0)`` writes random weights and returns the arguments for ``load_shapes``."""

    def write(folder: Path, seed: int = 0) -> dict[str, str]:
        import torch

        from pos.networks.autoencoder import build_autoencoder, save_autoencoder
        from pos.networks.inflated.scvideo import InflatedUNet, save_unet
        from pos.networks.shapes.clip import ShapesCLIP, save_clip

        torch.manual_seed(seed)
        unet = InflatedUNet(**UNET)
        with torch.no_grad():
            for parameter in unet.parameters():  # no layer is left the identity
                parameter.add_(torch.randn_like(parameter) * 0.1)
        files = {name: folder / f"{name}.safetensors" for name in ("unet", "autoencoder", "clip")}
        save_unet(unet, files["unet"])
        save_autoencoder(build_autoencoder(VAE), files["autoencoder"])
        clip = ShapesCLIP(TEXT, {"widths": [8, 8, 8], "dim": 8, "grid": 4}, 8, temporal=False)
        save_clip(clip, files["clip"])
        return {name: str(path) for name, path in files.items()}

    return write
