"""The published files of the metrics' networks, in their layouts, become files that evaluation loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pos.conversion import detectors as kinds
from pos.conversion.run import convert
from pos.errors import PosError
from pos.evaluation.detectors import paper
from pos.networks.detectors.c3d import C3D
from pos.networks.detectors.i3d import I3D
from pos.networks.detectors.inception import FIDInception
from pos.networks.weights import read_metadata
from pos.storage import file_digest
from tests.conversion.nvidia_inception import write_archive
from tests.golden.rebuilt import rule_tensor


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """NVIDIA's archive and the network in it."""
    path = tmp_path_factory.mktemp("inception") / "inception-2015-12-05.pt"
    return path, write_archive(path)


def drawn(name: str, shape: torch.Size) -> Tensor:
    return rule_tensor(name, shape, "published", 1.0)


def test_inception_gives_the_archives_own_features(inception: tuple[Path, nn.Module], tmp_path: Path) -> None:
    source, archive = inception
    convert(kinds.read_inception, source, tmp_path)
    network = paper.load_network(FIDInception, tmp_path / "inception.safetensors").eval()
    images = torch.randn(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = archive(images)
        assert torch.allclose(network(images), expected, atol=1e-4)
    assert expected.std() > 0.1
    assert read_metadata(tmp_path / "inception.safetensors")["source_sha256"] == file_digest(source)


def test_another_file_than_the_published_one_is_told(
    inception: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    source, _ = inception
    with pytest.raises(PosError, match=r"is not the published file, .* sha256 is f58c.*weights.sha256=null"):
        kinds.read_inception(source, "f58c")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(source.read_bytes()[:100_000])
    with pytest.raises(PosError, match=r"cut.pt is no TorchScript archive, or it is cut short"):
        kinds.read_inception(cut)
    with pytest.raises(PosError, match=r"is not CLIP ViT-B/32: .* missing: .*unexpected: layers.conv"):
        kinds.read_clip(source)


def test_clip_keeps_its_names_and_drops_its_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = nn.Linear(3, 2)
    monkeypatch.setattr(kinds, "build_clip", lambda: nn.Linear(3, 2))
    published = nn.Linear(3, 2).half()
    published.load_state_dict(tiny.state_dict())
    for name, size in {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}.items():
        published.register_buffer(name, torch.tensor(size))
    torch.jit.script(published).save(str(tmp_path / "ViT-B-32.pt"))
    part = kinds.read_clip(tmp_path / "ViT-B-32.pt")["clip"]
    assert set(part.tensors) == {"weight", "bias"}
    assert part.tensors["weight"].dtype == torch.float16
    assert torch.equal(part.tensors["weight"], tiny.weight.half())


def test_i3d_without_the_counters_of_its_batch_norms(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = I3D().state_dict()
    state = {n: drawn(n, t.shape) for n, t in shapes.items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "i3d_pretrained_400.pt")
    convert(kinds.read_i3d, tmp_path / "i3d_pretrained_400.pt", tmp_path)
    network = paper.load_network(I3D, tmp_path / "i3d.safetensors")
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())
    assert int(network.Conv3d_1a_7x7.bn.num_batches_tracked) == 0
    del state["logits.conv3d.bias"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(PosError, match=r"short.pt is not I3D.*1 missing: logits.conv3d.bias"):
        kinds.read_i3d(tmp_path / "short.pt")


def test_c3d_with_its_mean(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = C3D().state_dict()
    arrays = {
        name.replace(".weight", "/W").replace(".bias", "/b"): np.zeros(tensor.shape, np.float32)
        for name, tensor in shapes.items()
        if name != "mean"
    }
    arrays["conv1a/W"] += 2
    source = tmp_path / "conv3d_deepnetA_ucf.npz"
    np.savez(source, **arrays)
    with pytest.raises(PosError, match=r"no file at .*mean2.npz"):
        kinds.read_c3d(source)
    mean = np.random.default_rng(0).uniform(90, 120, (3, 16, 128, 171))
    np.savez(tmp_path / "mean2.npz", mean=mean[:, None])  # TGAN keeps an axis of one
    part = kinds.read_c3d(source)["c3d"]
    assert torch.equal(part.tensors["mean"], torch.from_numpy(mean).float())
    assert part.tensors["conv1a.weight"].unique().tolist() == [2]
    np.savez(tmp_path / "small.npz", mean=mean[:1])
    with pytest.raises(
        PosError, match=r"no array 'mean' of the size \(3, 16, 128, 171\), but one of \(1, 16"
    ):
        kinds.read_c3d(source, tmp_path / "small.npz")
    source.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(PosError, match=r"is no .npz of arrays"):
        kinds.read_c3d(source)
