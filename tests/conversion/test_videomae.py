"""VideoMAE v2's published layout becomes the network that transformers builds, with the same features."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pos.conversion.run import convert
from pos.conversion.videomae import read_videomae
from pos.errors import PosError
from pos.evaluation.detectors.paper import VideoMAEFeatures, load_videomae, paper_detectors
from pos.evaluation.frames import Frames
from pos.evaluation.reference import Reference
from pos.evaluation.score import missing
from pos.networks.detectors.videomae import GIANT, VideoMAE
from pos.networks.weights import read_config
from tests.golden.rebuilt import blocky, rule_tensor

WIDTH, HEADS, DEPTH, PATCH, SIDE, FRAMES = 24, 2, 2, 14, 28, 16
TINY: dict[str, Any] = {
    "image_size": SIDE,
    "patch_size": PATCH,
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 40,
}


def published() -> dict[str, Tensor]:
    """The names and shapes of ``VisionTransformer`` (OpenGVLab/VideoMAEv2), with a classifier of five."""
    shapes = {"patch_embed.proj.weight": (WIDTH, 3, 2, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)}
    for block in range(DEPTH):
        inner = {
            "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,),
            "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
            "attn.q_bias": (WIDTH,), "attn.v_bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH),
            "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
            "mlp.fc1.weight": (40, WIDTH), "mlp.fc1.bias": (40,),
            "mlp.fc2.weight": (WIDTH, 40), "mlp.fc2.bias": (WIDTH,),
        }  # fmt: skip
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in inner.items()}
    shapes |= {"fc_norm.weight": (WIDTH,), "fc_norm.bias": (WIDTH,)}
    shapes |= {"head.weight": (5, WIDTH), "head.bias": (5,)}
    return {name: rule_tensor(name, shape, "videomae", 1.5) for name, shape in shapes.items()}


def positions(count: int) -> Tensor:
    """Sines in even places and cosines in odd ones, by pairs of one frequency."""
    place, channel = torch.arange(count, dtype=torch.float64)[:, None], torch.arange(WIDTH)
    angle = place / 10000 ** (2 * (channel // 2) / WIDTH)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)


def features(state: dict[str, Tensor], video: Tensor) -> Tensor:
    """What the original computes of a video (3, 16, h, w): written out from its definition."""
    patches = functional.conv3d(
        video[None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], (2, PATCH, PATCH)
    )
    x = patches[0].flatten(1).T
    x = x + positions(len(x))
    for block in range(DEPTH):
        own = {name.removeprefix(f"blocks.{block}."): tensor for name, tensor in state.items()}
        bias = torch.cat([own["attn.q_bias"], torch.zeros(WIDTH), own["attn.v_bias"]])
        qkv = functional.linear(norm(x, own, "norm1"), own["attn.qkv.weight"], bias)
        q, k, v = qkv.view(len(x), 3, HEADS, WIDTH // HEADS).permute(1, 2, 0, 3)
        seen = (q @ k.mT / math.sqrt(WIDTH // HEADS)).softmax(-1) @ v
        x = x + functional.linear(
            seen.transpose(0, 1).flatten(1), own["attn.proj.weight"], own["attn.proj.bias"]
        )
        hidden = functional.gelu(
            functional.linear(norm(x, own, "norm2"), own["mlp.fc1.weight"], own["mlp.fc1.bias"])
        )
        x = x + functional.linear(hidden, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
    return norm(x.mean(0), state, "fc_norm")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "vit_g_hybrid_pt_1200e_ssv2_ft.pth"
    torch.save({"module": published()}, path)
    return path


def test_the_converted_network_has_the_features_of_the_original(checkpoint: Path, tmp_path: Path) -> None:
    convert(lambda source: read_videomae(source, TINY), checkpoint, tmp_path)
    assert read_config(tmp_path / "videomae.safetensors") == TINY
    detector = load_videomae(tmp_path / "videomae.safetensors")
    video = blocky(3, (2, FRAMES, 40, 60), 6)
    resized = functional.interpolate(
        video[1].float() / 255, (SIDE, SIDE), mode="bilinear", align_corners=False
    )
    expected = features(published(), resized.transpose(0, 1))
    found = detector.detect(list(video))
    assert found.shape == (2, WIDTH)
    assert torch.allclose(found[1], expected, atol=1e-4)
    assert expected.std() > 0.1
    assert not torch.allclose(found[0], expected, atol=1e-2)


def test_the_published_network_has_these_names_and_shapes() -> None:
    """Of the names that ViT-g's 40 blocks have, with biases of queries and values alone."""
    with torch.device("meta"):
        network = VideoMAE()
        assert network(torch.zeros(1, 3, 16, 224, 224)).shape == (1, 1408)
    state = network.state_dict()
    assert len(state) == 4 + 40 * 15
    width, hidden = 1408, int(1408 * 48 / 11)
    block = 4 * width * width + 2 * width * hidden + hidden + 8 * width  # biases: q, v, proj, fc2; two norms
    patches = 3 * 2 * 14 * 14 * width + width
    assert sum(tensor.numel() for tensor in state.values()) == 40 * block + patches + 2 * width
    assert GIANT["intermediate_size"] == hidden


def test_weights_of_another_network_are_told(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(PosError, match=r"is not the encoder of VideoMAE v2: .*missing: .*of another shape"):
        read_videomae(checkpoint)
    state = published() | {"blocks.0.gamma_1": torch.ones(WIDTH)}
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(PosError, match=r"1 unexpected: blocks.0.gamma_1"):
        read_videomae(tmp_path / "other.pth", TINY)
    with pytest.raises(PosError, match=r"whose sha256 is 00.*weights.sha256=null"):
        read_videomae(checkpoint, TINY, "00")


def test_clips_of_another_length_are_told(checkpoint: Path, tmp_path: Path) -> None:
    convert(lambda source: read_videomae(source, TINY), checkpoint, tmp_path)
    detector = load_videomae(tmp_path / "videomae.safetensors")
    assert isinstance(detector, VideoMAEFeatures)
    with pytest.raises(PosError, match="clips of 16 frames, not of 8"):
        detector.detect([torch.zeros(8, 3, 32, 32, dtype=torch.uint8)])


def test_it_is_loaded_where_it_is_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    places = dict.fromkeys(("fid", "clip", "fvd", "inception"), str(tmp_path / "absent.safetensors"))
    file = tmp_path / "videomae.safetensors"
    asked = {**places, "videomae": str(file), "extra": ["fvd_videomae"]}
    told = missing({}, Reference({}, {}, "nothing"), paper_detectors(**asked).absent, ["fvd_videomae"])
    assert re.match(
        r"There are no weights of VideoMAE v2 at .*videomae.safetensors: get vit_g_hybrid_pt_1200e_ssv2_ft.p"
        r"th of OpenGVLab .* experiments/convert.py weights=videomae, or .* detectors.videomae=PATH.",
        told["fvd_videomae"],
    )
    convert(lambda source: read_videomae(source, TINY), checkpoint, tmp_path)
    detectors = paper_detectors(**asked)
    rows = detectors.compared(blocky(3, (2, FRAMES, 30, 30), 6), Frames())
    assert {name: tuple(found.shape) for name, found in rows.items()} == {"videomae": (2, WIDTH)}
    assert paper_detectors(**{**asked, "extra": []}).videomae is None
