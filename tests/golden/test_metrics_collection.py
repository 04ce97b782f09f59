"""The recordings of the metrics notice mistakes and name them; others of their kind need no new code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.torch import save_file

from pos.evaluation.detectors import paper
from pos.evaluation.detectors.paper import I3DLogits
from pos.networks.detectors.i3d import I3D
from tests.golden import metrics_clip, metrics_is
from tests.golden.rebuilt import Manifest, blocky, digest_of, normal
from tests.golden.recordings import Recording

HERE = Path(__file__).parent
SALT, GAIN = "another", 1.1
SHAPE = [7, 10, 40, 56, 3]


def test_another_input_is_reported_as_the_mistake_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    right = paper.c3d_input
    monkeypatch.setattr(paper, "c3d_input", lambda frames: right(frames.flip(1)))
    with pytest.raises(AssertionError, match=r"off by 2\.94: that is what 'rgb_not_bgr' gives"):
        metrics_is.check_network(Recording(HERE / "metrics" / "c3d_is.json"))


def test_another_formula_is_reported_as_the_mistake_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(HERE / "metrics" / "clip.json")
    right = metrics_clip.clip_similarity
    monkeypatch.setattr(metrics_clip, "clip_similarity", lambda *embeddings: 100 * right(*embeddings))
    with pytest.raises(AssertionError, match=r"-6\.05.* instead of -0\.060.*: that is what 'x100' gives"):
        metrics_clip.check_stored_similarity(recording)


def manifest(salt: str = SALT) -> dict[str, Any]:
    with torch.device("meta"):
        state = I3D(5).state_dict()
    kinds = {torch.float32: "float32", torch.int64: "int64"}
    entries = [
        {"name": name, "shape": list(tensor.shape), "dtype": kinds[tensor.dtype]}
        for name, tensor in state.items()
    ]
    info = {"net": "InceptionI3d(5)", "salt": salt, "gain": GAIN, "tensors": entries}
    rule = Manifest(info)
    for entry in entries:
        if rule.filled(entry["name"]):
            tensor = rule.tensor(entry["name"])
            entry["first3"] = tensor.flatten()[:3].tolist()
            entry["sumsq"] = float(tensor.double().square().sum())
    return info


def root_distance(a: torch.Tensor, b: torch.Tensor, ddof: int) -> float:
    """By the matrix root of the product of covariances."""
    a, b = a.double().numpy(), b.double().numpy()
    covariances = [np.cov(rows, rowvar=False, ddof=ddof) for rows in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    means = np.square(a.mean(0) - b.mean(0)).sum()
    return float(means + sum(map(np.trace, covariances)) - 2 * np.trace(root))


@torch.no_grad()
def write_recording(folder: Path) -> Path:
    """An FVD recording of another network, salt, gain, seed, size and length."""
    folder.mkdir()
    (folder / "weights of the other.json").write_text(json.dumps(manifest()))
    i3d = I3DLogits(Manifest(manifest()).fill(I3D(5)))
    inputs, tensors = {}, {}
    for seed, name in enumerate("XY", start=900):
        clips = blocky(seed, SHAPE, 6)
        digest = digest_of(clips)
        inputs[name] = {"seed": seed, "shape": SHAPE, "block": 6, "sha256": digest}
        tensors[f"logits_{name}"] = i3d.detect(clips)
    generator = torch.Generator().manual_seed(17)
    scale = torch.linspace(0.1, 2, 12)
    first = normal(generator, 40, scale)
    second = normal(generator, 50, scale.flip(0)) * 1.1 + 0.3
    formula = {
        "seed": 17,
        "N1": 40,
        "N2": 50,
        "d": 12,
        "x1_sum": float(first.double().sum()),
        "exact_float64_ddof1": root_distance(first, second, 1),
        "exact_float64_ddof0": root_distance(first, second, 0),
    }
    formula["reference_float32"] = formula["exact_float64_ddof1"]
    distances = [root_distance(tensors["logits_X"], tensors["logits_Y"], ddof) for ddof in (1, 0)]
    info = {
        "salt": SALT,
        "inputs": inputs,
        "fvd_X_Y": dict(zip(("exact_float64_ddof1", "exact_float64_ddof0"), distances, strict=True)),
        "formula": [formula],
    }
    path = folder / "other.json"
    path.write_text(json.dumps(info))
    save_file(tensors, path.with_suffix(".safetensors"))
    write_neighbours(folder, info, tensors)
    return path


def write_neighbours(folder: Path, info: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """What must not be taken for the other's: a recording whose name begins with its, of a set that has the
    same name and other videos; and one of a single entry, beside a manifest of a third salt."""
    part = {"salt": SALT, "inputs": {"X": info["inputs"]["Y"]}}
    (folder / "other_part.json").write_text(json.dumps(part))
    save_file({"logits_X": tensors["logits_Y"]}, folder / "other_part.safetensors")
    (folder / "a formula.json").write_text(json.dumps({"formula": info["formula"]}))
    (folder / "a third.json").write_text(json.dumps(manifest("third")))


def run(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--no-header", "-p", "no:cacheprovider"]
    environment = os.environ | {"POS_GOLDEN": str(folder.parent)}
    return subprocess.run(
        [*command, str(HERE / "test_metrics.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_another_salt_and_seed_pass_without_new_code_and_a_wrong_one_fails(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "metrics")
    result = run(path.parent)
    assert result.returncode == 0, result.stdout
    for case in (
        "weights of the other-weights",
        "other-logits-all-Y",
        "other-fvd_X_Y-from-pixels",
        "other-formula-0",
        "other_part-logits-all-X",
        "a formula-formula-0",
    ):
        assert f"PASSED tests/golden/test_metrics.py::test_recording[{case}]" in result.stdout
    for file in (path, path.parent / "weights of the other.json"):
        file.write_text(file.read_text().replace(SALT, "wrong"))
    result = run(path.parent)
    assert result.returncode == 1
    assert "FAILED tests/golden/test_metrics.py::test_recording[other-logits-X]" in result.stdout
    assert (
        "FAILED tests/golden/test_metrics.py::test_recording[weights of the other-weights]" in result.stdout
    )
