"""Shapes of features and logits, what each network can see, and its file."""

import pytest
import torch

from pos.errors import PosError
from pos.networks.shapes.classifiers import (
    FrameClassifier,
    VideoClassifier,
    build_classifier,
    load_classifier,
    save_classifier,
)
from pos.networks.shapes.towers import TemporalMixer

HEADS = {"shape": 6, "motion": 10}
TOWER = {"widths": [8, 8, 8], "dim": 32, "grid": 4}


@pytest.fixture
def videos() -> torch.Tensor:
    return torch.randint(
        0, 256, (2, 16, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture
def frame() -> FrameClassifier:
    torch.manual_seed(0)
    return FrameClassifier(HEADS, **TOWER).eval().requires_grad_(False)


@pytest.fixture
def video() -> VideoClassifier:
    torch.manual_seed(0)
    return VideoClassifier(HEADS, **TOWER, layers=1).eval().requires_grad_(False)


def test_shapes(frame, video, videos):
    assert frame.features(videos).shape == (2, 16, 64)
    assert video.features(videos).shape == (2, 64)
    assert {head: logits.shape for head, logits in video(videos).items()} == {
        "shape": (2, 6),
        "motion": (2, 10),
    }
    assert frame(videos)["motion"].shape == (2, 16, 10)


def test_frames_are_seen_each_by_itself_and_videos_in_order(frame, video, videos):
    backwards = videos.flip(1)
    assert torch.allclose(frame.features(backwards).flip(1), frame.features(videos), atol=1e-5)
    assert not torch.allclose(video.features(backwards), video.features(videos), atol=1e-3)


def test_a_place_in_the_frame_is_seen(video, videos):
    assert not torch.allclose(video.features(videos.roll(16, -1)), video.features(videos), atol=1e-3)


@pytest.mark.parametrize("neighbours", [False, True])
def test_the_file_rebuilds_the_network(neighbours, videos, tmp_path):
    torch.manual_seed(0)
    video = VideoClassifier(HEADS, **TOWER, layers=1, neighbours=neighbours).eval().requires_grad_(False)
    save_classifier(video, tmp_path / "v.safetensors")
    loaded = load_classifier(tmp_path / "v.safetensors")
    assert isinstance(loaded, VideoClassifier)
    assert torch.allclose(loaded.features(videos), video.features(videos), atol=1e-2)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_neighbour_convolution_reads_three_frames():
    torch.manual_seed(0)
    mixer = TemporalMixer(32, layers=0, neighbours=True).requires_grad_(False)
    vectors = torch.zeros(1, 9, 32)
    vectors[0, 4] = 1
    kernel = mixer.neighbours.weight.sum((1, 2)) + 9 * mixer.neighbours.bias  # the three taps, once each
    expected = (vectors[0].sum(0) + kernel + mixer.positions[:9].sum(0)) / 9
    assert torch.allclose(mixer(vectors)[0], expected, atol=1e-6)


def test_wrong_configurations_are_refused():
    with pytest.raises(PosError, match="feature_dim is 65"):
        FrameClassifier(HEADS, **TOWER, feature_dim=65)
    with pytest.raises(PosError, match=r"'sound'.*frame, video"):
        build_classifier({"kind": "sound"})
    with pytest.raises(PosError, match="layerz"):
        build_classifier({"kind": "video", "heads": HEADS, **TOWER, "layerz": 1})
