"""The networks of the paper's metrics from the files that their authors publish."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pos.conversion.reading import check_file, check_published, read_checkpoint
from pos.conversion.writing import Part
from pos.errors import PosError
from pos.networks.detectors.c3d import C3D, FRAMES, MEAN_SIZE
from pos.networks.detectors.i3d import I3D
from pos.networks.detectors.inception import FIDInception
from pos.networks.detectors.openai_clip import build_clip
from pos.networks.weights import misfit

_BLOCK_A = {
    "branch1x1": "conv", "branch5x5_1": "tower.conv", "branch5x5_2": "tower.conv_1",
    "branch3x3dbl_1": "tower_1.conv", "branch3x3dbl_2": "tower_1.conv_1",
    "branch3x3dbl_3": "tower_1.conv_2", "branch_pool": "tower_2.conv",
}  # fmt: skip
_BLOCK_B = {
    "branch3x3": "conv", "branch3x3dbl_1": "tower.conv", "branch3x3dbl_2": "tower.conv_1",
    "branch3x3dbl_3": "tower.conv_2",
}  # fmt: skip
_BLOCK_C = {
    "branch1x1": "conv", "branch7x7_1": "tower.conv", "branch7x7_2": "tower.conv_1",
    "branch7x7_3": "tower.conv_2", "branch7x7dbl_1": "tower_1.conv", "branch7x7dbl_2": "tower_1.conv_1",
    "branch7x7dbl_3": "tower_1.conv_2", "branch7x7dbl_4": "tower_1.conv_3",
    "branch7x7dbl_5": "tower_1.conv_4", "branch_pool": "tower_2.conv",
}  # fmt: skip
_BLOCK_D = {
    "branch3x3_1": "tower.conv", "branch3x3_2": "tower.conv_1", "branch7x7x3_1": "tower_1.conv",
    "branch7x7x3_2": "tower_1.conv_1", "branch7x7x3_3": "tower_1.conv_2", "branch7x7x3_4": "tower_1.conv_3",
}  # fmt: skip
_BLOCK_E = {
    "branch1x1": "conv", "branch3x3_1": "tower_conv", "branch3x3_2a": "tower_mixed_conv",
    "branch3x3_2b": "tower_mixed_conv_1", "branch3x3dbl_1": "tower_1_conv",
    "branch3x3dbl_2": "tower_1_conv_1", "branch3x3dbl_3a": "tower_1_mixed_conv",
    "branch3x3dbl_3b": "tower_1_mixed_conv_1", "branch_pool": "tower_2_conv",
}  # fmt: skip
_INCEPTION: dict[str, tuple[str, dict[str, str]]] = {  # ours: theirs, and the units inside
    "Conv2d_1a_3x3": ("conv", {}),
    "Conv2d_2a_3x3": ("conv_1", {}),
    "Conv2d_2b_3x3": ("conv_2", {}),
    "Conv2d_3b_1x1": ("conv_3", {}),
    "Conv2d_4a_3x3": ("conv_4", {}),
    "Mixed_5b": ("mixed", _BLOCK_A),
    "Mixed_5c": ("mixed_1", _BLOCK_A),
    "Mixed_5d": ("mixed_2", _BLOCK_A),
    "Mixed_6a": ("mixed_3", _BLOCK_B),
    "Mixed_6b": ("mixed_4", _BLOCK_C),
    "Mixed_6c": ("mixed_5", _BLOCK_C),
    "Mixed_6d": ("mixed_6", _BLOCK_C),
    "Mixed_6e": ("mixed_7", _BLOCK_C),
    "Mixed_7a": ("mixed_8", _BLOCK_D),
    "Mixed_7b": ("mixed_9", _BLOCK_E),
    "Mixed_7c": ("mixed_10", _BLOCK_E),
}
_LEAVES = {
    "weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var",
}  # fmt: skip
_CLASSIFIER = {"output.weight", "output.bias"}  # FID reads the features alone
_SIZES = {"input_resolution", "context_length", "vocab_size"}  # numbers among CLIP's tensors


def read_inception(source: Path, sha256: str | None = None) -> dict[str, Part]:
    """FID-Inception from NVIDIA's TorchScript ``inception-2015-12-05.pt``, whose batch norms have no gain.

    Args:
        source: the file.
        sha256: the expected hash; None takes any file.

    Raises:
        PosError: another file, one that cannot be read, or weights of another network.
    """
    theirs = _scripted(check_published(source, sha256))
    names = {
        f"layers.{block}{unit and '.'}{unit}.{leaf}": f"{ours}{name and '.'}{name}.{place}"
        for ours, (block, units) in _INCEPTION.items()
        for name, unit in (units or {"": ""}).items()
        for leaf, place in _LEAVES.items()
    }
    state = {names.get(name, name): tensor for name, tensor in theirs.items() if name not in _CLASSIFIER}
    gains = {
        name.replace("running_var", "weight"): torch.ones_like(tensor)
        for name, tensor in state.items()
        if name.endswith("running_var")
    }
    return {"inception": _part(source, state | gains, FIDInception(), "FID-Inception")}


def read_clip(source: Path, sha256: str | None = None) -> dict[str, Part]:
    """CLIP ViT-B/32 from OpenAI's TorchScript ``ViT-B-32.pt``, in its half precision.

    Args:
        source, sha256: as ``read_inception``.

    Raises:
        PosError: as ``read_inception``, or open_clip is not installed.
    """
    theirs = _scripted(check_published(source, sha256))
    state = {name: tensor for name, tensor in theirs.items() if name not in _SIZES}
    return {"clip": _part(source, state, build_clip(), "CLIP ViT-B/32")}


def read_i3d(source: Path, sha256: str | None = None) -> dict[str, Part]:
    """I3D from VideoGPT's ``i3d_pretrained_400.pt``.

    Args:
        source, sha256: as ``read_inception``.

    Raises:
        PosError: as ``read_inception``.
    """
    state = read_checkpoint(check_published(source, sha256))
    return {"i3d": _part(source, state, I3D(), "I3D of VideoGPT (Kinetics-400)")}


def read_c3d(source: Path, mean: Path | str | None = None, sha256: str | None = None) -> dict[str, Part]:
    """C3D from TGANv2's ``conv3d_deepnetA_ucf.npz`` and its mean clip.

    Args:
        source, sha256: as ``read_inception``.
        mean: TGANv2's ``mean2.npz``; None looks beside the source.

    Raises:
        PosError: as ``read_inception``; the mean is absent or of another size.
    """
    leaves = {"W": "weight", "b": "bias"}
    state = {}
    for name, array in _arrays(check_published(source, sha256)).items():
        layer, _, leaf = name.rpartition("/")
        state[f"{layer}.{leaves.get(leaf, leaf)}"] = torch.from_numpy(array)
    path = source.parent / "mean2.npz" if mean is None else Path(mean)
    found = _arrays(check_file(path)).get("mean")
    shape = (3, FRAMES, *MEAN_SIZE)
    if found is None or found.size != np.prod(shape):
        raise PosError(f"{path} holds no array 'mean' of the size {shape}, but {_shown(found)}.")
    state["mean"] = torch.from_numpy(found.reshape(shape)).float()
    return {"c3d": _part(source, state, C3D(), "C3D of TGANv2 (UCF101)")}


def _scripted(source: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive, whose code is not run."""
    try:
        return torch.jit.load(str(source), map_location="cpu").state_dict()
    except (RuntimeError, ValueError) as error:
        raise PosError(
            f"{source} is no TorchScript archive, or it is cut short: download it again."
        ) from error


def _arrays(source: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(source, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise PosError(f"{source} is no .npz of arrays, or it is cut short: download it again.") from error


def _shown(array: np.ndarray | None) -> str:
    return "nothing of that name" if array is None else f"one of {array.shape}"


def _part(source: Path, state: Mapping[str, Tensor], network: nn.Module, model: str) -> Part:
    """Checked against the network; old files do not have the counters of batch norms, which are not used."""
    expected = network.state_dict()
    counters = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    whole = counters | dict(state)
    problems = misfit(whole, expected)
    if problems:
        raise PosError(f"{source} is not {model}: {problems}.")
    return Part(whole, {}, model)
