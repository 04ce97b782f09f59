"""The networks, videos and features of the metrics' recordings, rebuilt by the rules of their README."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pos.evaluation.detectors.base import Detector
from pos.evaluation.detectors.paper import (
    C3DClasses,
    ClipFeatures,
    I3DLogits,
    InceptionFeatures,
)
from pos.networks.detectors.c3d import C3D, FRAMES, MEAN_SIZE
from pos.networks.detectors.i3d import I3D
from pos.networks.detectors.inception import FIDInception
from pos.networks.detectors.openai_clip import build_clip, open_clip_tokenizer
from tests.golden.recordings import Recording


class Manifest:
    """The names and shapes of a network's weights, its salt and its gain."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.net, self.salt, self.gain = info["net"], info["salt"], info["gain"]
        self.entries = {entry["name"]: entry for entry in info["tensors"]}

    def filled(self, name: str) -> bool:
        """Floating tensors with a dimension are drawn; counters and scalars stay as the network has them."""
        entry = self.entries[name]
        return entry["dtype"].startswith("float") and bool(entry["shape"])

    def tensor(self, name: str) -> Tensor:
        return rule_tensor(name, self.entries[name]["shape"], self.salt, self.gain)

    def fill(self, network: nn.Module) -> nn.Module:
        state = network.state_dict()
        for name, entry in state.items():
            if name in self.entries and self.filled(name):
                entry.copy_(self.tensor(name))
        return network


def rule_tensor(name: str, shape: Iterable[int], salt: str, gain: float) -> Tensor:
    shape = tuple(shape)
    generator = torch.Generator().manual_seed(zlib.crc32((salt + name).encode()))
    value = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return value * (gain / math.sqrt(math.prod(shape[1:])))
    if name.endswith("running_var"):
        return 1 + 0.1 * value.abs()
    return 0.1 * value if name.endswith(("running_mean", "bias")) else 1 + 0.1 * value


def blocky(seed: int, shape: Iterable[int], block: int) -> Tensor:
    """Videos of drifting coloured blocks, uint8 (n, f, 3, h, w); ``shape`` is (n, f, h, w, ...)."""
    count, length, height, width = tuple(shape)[:4]
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *size: int) -> Tensor:
        return torch.randint(low, high, (count, *size, 3), generator=generator, dtype=torch.int64)

    rows, columns = -(-height // block), -(-width // block)
    coarse = draw(0, 256, 1, rows, columns)
    drift = draw(-24, 25, length, rows, columns).cumsum(1)
    offset, noise = draw(-64, 65, 1, 1, 1), draw(0, 32, length, height, width)
    blocks = (coarse + drift).repeat_interleave(block, 2).repeat_interleave(block, 3)
    pixels = blocks[:, :, :height, :width] + offset + noise
    return pixels.clamp(0, 255).to(torch.uint8).permute(0, 1, 4, 2, 3)


def checked(videos: Tensor, sha256: str) -> Tensor:
    """The videos, when they are those of the recording."""
    assert digest_of(videos) == sha256, "the rule of the README does not give the recording's input"
    return videos


def digest_of(videos: Tensor) -> str:
    """The sha256 of their bytes in the order (..., h, w, 3)."""
    return hashlib.sha256(videos.movedim(-3, -1).contiguous().numpy()).hexdigest()


def normal(generator: torch.Generator, count: int, scale: Tensor) -> Tensor:
    return torch.randn(count, len(scale), generator=generator) * scale


NETS = {"InceptionI3d": "i3d", "C3D": "c3d", "inception": "inception", "CLIP": "clip"}
"""What a manifest's ``net`` contains, and whose it is."""


def network_of(manifest: Manifest) -> str | None:
    return next((kind for word, kind in NETS.items() if word in manifest.net), None)


def is_manifest(info: Mapping[str, Any]) -> bool:
    """Whether a JSON lists the weights of a network, whatever its file is called."""
    return {"net", "salt", "gain", "tensors"} <= info.keys()


def manifest_for(recording: Recording, kind: str) -> Manifest:
    """The manifest of a network, of the recording's salt and in its folder."""
    salt = recording.info["salt"]
    for path in sorted(recording.path.parent.glob("*.json")):
        info = json.loads(path.read_text())
        if is_manifest(info) and info["salt"] == salt and network_of(Manifest(info)) == kind:
            return Manifest(info)
    raise AssertionError(f"{recording.path} needs a manifest of {kind} with the salt {salt!r} in its folder")


def all_tensors(recording: Recording) -> dict[str, Tensor]:
    """The tensors beside a recording: its own file, or several that begin with its name.

    A file belongs to the recording of the longest such name: ``fvd_2.safetensors`` is not that of ``fvd``.
    """
    names = [path.stem for path in recording.path.parent.glob("*.json")]
    files = [
        file
        for file in sorted(recording.path.parent.glob(f"{recording.name}*.safetensors"))
        if max((name for name in names if file.stem.startswith(name)), key=len) == recording.name
    ]
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def build(kind: str, manifest: Manifest) -> nn.Module:
    """An empty network, with as many classes as the manifest says."""
    if kind == "i3d":
        return I3D(manifest.entries["logits.conv3d.bias"]["shape"][0])
    if kind == "c3d":
        return C3D(manifest.entries["fc8.bias"]["shape"][0])
    if kind == "inception":
        return FIDInception()
    return build_clip()


def wrap(kind: str, network: nn.Module) -> Detector:
    if kind == "clip":
        return ClipFeatures(network, open_clip_tokenizer())
    wrappers: dict[str, Callable[[nn.Module], Detector]] = {
        "i3d": I3DLogits,
        "c3d": C3DClasses,
        "inception": InceptionFeatures,
    }
    return wrappers[kind](network)


def detector(recording: Recording, kind: str) -> Detector:
    """The detector with the weights that the recording used."""
    seed = recording.info["inputs"]["mean_seed"] if kind == "c3d" else 0
    return _detector(recording.path.parent, recording.name, kind, seed)


@cache
def _detector(folder: Path, name: str, kind: str, mean_seed: int) -> Detector:
    recording = Recording(folder / f"{name}.json")
    manifest = manifest_for(recording, kind)
    with torch.no_grad():
        network = manifest.fill(build(kind, manifest))
        if kind == "c3d":
            network.mean.copy_(mean_clip(mean_seed))
    return wrap(kind, network)


def mean_clip(seed: int) -> Tensor:
    """What stands for TGANv2's ``mean2.npz``."""
    generator = torch.Generator().manual_seed(seed)
    return 90 + 30 * torch.rand(3, FRAMES, *MEAN_SIZE, generator=generator)


def close(
    actual: Tensor | float,
    expected: Tensor | float,
    *,
    atol: float = 0.0,
    rtol: float = 0.0,
    decoys: Mapping[str, float] | Callable[[], Mapping[str, float]] | None = None,
) -> None:
    """Equal within tolerances; what is not is compared with what known mistakes give.

    Args:
        actual, expected: of one shape.
        atol, rtol: of the largest difference.
        decoys: what a mistake gives, by its name: the value itself, or the largest difference of a tensor. A
            function makes them when they are needed.
    """
    actual, expected = (torch.as_tensor(value, dtype=torch.float64) for value in (actual, expected))
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    apart = (actual - expected).abs()
    if bool((apart <= atol + rtol * expected.abs()).all()):
        return
    found = float(actual) if actual.dim() == 0 else float(apart.max())
    told = f"{found:.8g} instead of {float(expected):.8g}" if actual.dim() == 0 else f"off by {found:.3g}"
    raise AssertionError(f"{told}{_mistake(found, decoys() if callable(decoys) else decoys or {})}")


def _mistake(found: float, decoys: Mapping[str, float]) -> str:
    for name, value in decoys.items():
        if math.isclose(found, value, rel_tol=5e-3):
            return f": that is what '{name}' gives"
    return f" (known mistakes give {decoys})" if decoys else ""
