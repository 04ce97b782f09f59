"""The paper's detectors around tiny networks: what they read, what they say of what is missing or wrong."""

from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pos.errors import PosError
from pos.evaluation.detectors import paper
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.detectors.paper import (
    C3DClasses,
    ClipFeatures,
    I3DLogits,
    InceptionFeatures,
    paper_detectors,
)
from pos.evaluation.frames import Frames
from pos.evaluation.reference import Reference
from pos.evaluation.score import missing
from pos.networks.detectors.c3d import C3D
from pos.networks.detectors.i3d import I3D
from pos.networks.detectors.inception import FIDInception
from pos.networks.detectors.openai_clip import open_clip_tokenizer

PATHS = {name: f"nowhere/{name}.safetensors" for name in ("fid", "clip", "fvd", "inception")}


class Means(nn.Module):
    """A network that notes what it is fed and answers with the mean of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.fed: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.backends.cudnn.allow_tf32
        self.fed.append(x)
        return x.flatten(2).mean(-1) * self.weight

    encode_image = forward

    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens[:, 1:4].float()


def tiny() -> Detectors:
    return Detectors(
        fid=InceptionFeatures(Means()),
        clip=ClipFeatures(Means(), open_clip_tokenizer()),
        fvd=I3DLogits(Means()),
        inception=C3DClasses(Means()),
    )


def grey(level: int, height: int = 40, width: int = 60, frames: int = 16) -> Tensor:
    """Frame i is of grey level ``level + i``."""
    levels = level + torch.arange(frames, dtype=torch.uint8)
    return levels.view(-1, 1, 1, 1).expand(frames, 3, height, width)


def test_videos_of_any_size_go_through_together():
    detectors = tiny()
    videos = [grey(10), grey(10, 70, 33), grey(10, 64, 64)]
    rows = detectors(videos, ["a", "b", "c"])
    shapes = {"fid": (3, 5, 3), "fvd": (3, 3), "classes": (3, 3)}
    assert all(rows[name].shape == shape for name, shape in shapes.items())
    for name in ("fid", "fvd", "classes"):  # all grey, whatever the size
        assert torch.allclose(rows[name][0], rows[name][1], atol=1e-4)
    assert rows["fid"].shape[-1] == detectors.fid.network.fed[0].shape[1]


def test_each_metric_reads_the_frames_of_the_protocol():
    detectors = tiny()
    detectors([grey(0, frames=24)], ["a"], Frames(images=(0, 9), clip=3, step=10))
    assert detectors.fid.network.fed[0].mean((1, 2, 3)).tolist() == pytest.approx([-1, (9 - 128) / 128])
    clip = detectors.fvd.network.fed[0]
    assert clip.mean((0, 1, 3, 4)).tolist() == pytest.approx([frame / 127.5 - 1 for frame in (0, 10, 20)])
    assert detectors.inception.network.fed[0].mean((0, 1, 3, 4)).tolist() == pytest.approx([0, 10, 20])
    assert sum(len(part) for part in detectors.clip.network.fed) == 24  # CLIPSIM reads every frame


def test_real_videos_are_not_read_for_clipsim():
    detectors = tiny()
    features = detectors.compared([grey(0, frames=24)], Frames(images=(0, 9), clip=3, step=10))
    assert features.keys() == {"fid", "clip", "fvd"}
    assert sum(len(part) for part in detectors.clip.network.fed) == 2


def test_a_video_with_too_few_frames_is_reported():
    with pytest.raises(
        PosError, match=r"take uint8 videos \(49, 3, height, width\).*not torch.uint8 \(16, 3"
    ):
        tiny().compared([grey(0)], Frames(images=(0, 48)))
    with pytest.raises(PosError, match=r"one number of frames, and there are \[16, 20\]"):
        tiny()([grey(0), grey(0, frames=20)], ["a", "b"])
    with pytest.raises(PosError, match=r"not torch.float32"):
        tiny()([grey(0).float()], ["a"])


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (FIDInception, (1, 3, 224, 224), r"FID-Inception takes images \(3, 299, 299\), not \(3, 224, 224\)"),
        (
            I3D,
            (1, 3, 16, 256, 256),
            r"I3D takes clips \(3, 9 or more frames, 224, 224\), not \(3, 16, 256",
        ),
        (I3D, (1, 3, 8, 224, 224), r"not \(3, 8, 224, 224\)"),
        (C3D, (1, 3, 15, 112, 112), r"C3D takes clips .* of exactly 16 frames, not \(3, 15, 112, 112\)"),
    ],
)
def test_networks_refuse_what_they_were_not_trained_on(network, shape, message):
    with torch.device("meta"), pytest.raises(PosError, match=message):
        network()(torch.zeros(shape))


def test_long_prompts_are_cut_and_the_lost_words_named(caplog):
    clip = tiny().clip
    prompt = "a " * 75 + "dog at last"
    with caplog.at_level(logging.WARNING):
        clip.encode_text([prompt, "short"])
        clip.encode_text([prompt])
    assert caplog.text.count("it drops 'dog at last'") == 1


def test_missing_weights_are_reported_metric_by_metric():
    detectors = paper_detectors(**PATHS)
    reasons = missing(detectors.fingerprints, Reference({}, {}, "nothing"), detectors.absent)
    assert list(reasons) == ["fid", "clip_fid", "clipsim", "fvd", "is"]
    assert reasons["clip_fid"] == reasons["clipsim"]
    for name, words in {
        "fid": "no weights of FID-Inception at nowhere/fid.safetensors: get inception-2015-12-05.pt",
        "clipsim": "no weights of CLIP ViT-B/32 at nowhere/clip.safetensors: get ViT-B-32.pt",
        "fvd": "no weights of I3D at nowhere/fvd.safetensors: get i3d_pretrained_400.pt",
        "is": "no weights of C3D at nowhere/inception.safetensors: get conv3d_deepnetA_ucf.npz and mean2.npz",
    }.items():
        assert words in reasons[name]
    assert "experiments/convert.py weights=inception" in reasons["fid"]
    assert "detectors.inception=PATH" in reasons["is"]


def test_weights_of_another_network_are_an_error(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"fc.weight": torch.zeros(2)}, path)
    for name, network in {"fid": "FIDInception", "fvd": "I3D", "inception": "C3D"}.items():
        with pytest.raises(PosError, match=rf"do not fit {network}: .*1 unexpected: fc.weight"):
            paper_detectors(**{**PATHS, name: str(path)})
    path.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(PosError, match=r"other.safetensors is a pickle: convert it"):
        paper_detectors(**{**PATHS, "fvd": str(path)})


def test_a_network_is_loaded_whole(tmp_path):
    """Built without memory, so that every tensor must come from the file."""
    torch.manual_seed(0)
    written = I3D()
    state = {name: tensor.contiguous() for name, tensor in written.state_dict().items()}
    save_file(state, tmp_path / "i3d.safetensors")
    read = paper.load_network(I3D, tmp_path / "i3d.safetensors")
    assert all(torch.equal(read.state_dict()[name], tensor) for name, tensor in state.items())
