"""Tiny untrained networks of the real classes in place of the shipped ones."""

from collections.abc import Callable

import pytest
import torch

from pos.data.shapes.world import ATTRIBUTES, draw_scenes, render
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.detectors.shapes import of_networks
from pos.networks.shapes.classifiers import FrameClassifier, VideoClassifier
from pos.networks.shapes.clip import ShapesCLIP
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.storage import asset

HEADS = {name: len(values) for name, values in ATTRIBUTES.items()}
TOWER = {"widths": [4, 4, 8], "dim": 32, "grid": 2}


def build_detectors(seed: int = 0, feature_dim: int = 6) -> Detectors:
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return of_networks(
        fid=FrameClassifier({"shape": 6}, **TOWER, feature_dim=feature_dim),
        fvd=VideoClassifier(HEADS, **TOWER, layers=1, feature_dim=feature_dim),
        inception=VideoClassifier({"class": 5}, **TOWER, layers=1, feature_dim=feature_dim),
        clip=ShapesCLIP(text, TOWER, feature_dim, temporal=False),
        tokenizer=tokenizer,
        judge=VideoClassifier(dict(sorted(HEADS.items())), **TOWER, layers=1),
    )


@pytest.fixture(scope="session")
def make_detectors() -> Callable[..., Detectors]:
    return build_detectors


@pytest.fixture(scope="session")
def detectors() -> Detectors:
    return build_detectors()


@pytest.fixture(scope="session")
def clips() -> torch.Tensor:
    return render(draw_scenes(range(12)))
