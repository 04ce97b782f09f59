"""Text pooling, padding, frames and clips of the small CLIP."""

import pytest
import torch

from pos.errors import PosError
from pos.networks.shapes.clip import ShapesCLIP, load_clip, save_clip

BOS, EOS, PAD = 1, 2, 0  # end of text is 2 on purpose: transformers then pools at the largest id
TEXT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}
VISUAL = {"widths": [8, 8, 8], "dim": 32, "grid": 4}


def build(temporal: bool) -> ShapesCLIP:
    torch.manual_seed(0)
    visual = {**VISUAL, "layers": 1} if temporal else VISUAL
    return ShapesCLIP(TEXT, visual, 8, temporal).eval().requires_grad_(False)


@pytest.fixture
def videos() -> torch.Tensor:
    return torch.randint(
        0, 256, (2, 4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_text_is_pooled_at_the_first_end_and_padding_changes_nothing():
    clip = build(temporal=True)
    short = torch.tensor([[BOS, 30, 9, 7, EOS]])
    padded = torch.tensor([[BOS, 30, 9, 7, EOS, PAD, PAD]])
    ended = torch.tensor([[BOS, 30, 9, 7, EOS, EOS, EOS]])
    expected = clip.encode_text(short)
    assert torch.allclose(clip.encode_text(padded), expected, atol=1e-6)
    assert torch.allclose(clip.encode_text(padded, (padded != PAD).long()), expected, atol=1e-6)
    assert torch.allclose(clip.encode_text(ended), expected, atol=1e-6)
    other = torch.tensor([[BOS, 30, 9, 8, EOS]])
    assert not torch.allclose(
        clip.encode_text(other), expected, atol=1e-4
    )  # a word after the largest id counts


def test_embeddings_are_unit_vectors(videos):
    for clip in (build(True), build(False)):
        embeddings = clip.encode_video(videos)
        assert embeddings.shape == (2, 8)
        assert torch.allclose(embeddings.norm(dim=-1), torch.ones(2))


def test_order_counts_for_clips_only(videos):
    temporal, framewise = build(True), build(False)
    assert not torch.allclose(temporal.encode_video(videos.flip(1)), temporal.encode_video(videos), atol=1e-4)
    assert torch.allclose(framewise.encode_video(videos.flip(1)), framewise.encode_video(videos), atol=1e-5)
    assert framewise.encode_frames(videos).shape == (2, 4, 8)
    with pytest.raises(PosError, match="temporal: false"):
        temporal.encode_frames(videos)


@pytest.mark.parametrize("temporal", [True, False])
def test_the_file_rebuilds_the_network(temporal, videos, tmp_path):
    clip = build(temporal)
    save_clip(clip, tmp_path / "c.safetensors")
    loaded = load_clip(tmp_path / "c.safetensors")
    assert torch.allclose(loaded.encode_video(videos), clip.encode_video(videos), atol=1e-2)
    assert loaded.config == clip.config
