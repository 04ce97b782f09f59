"""VideoGPT's FVD: preprocessing, I3D and distance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.evaluation.detectors.preprocessing import i3d_input
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from tests.golden.rebuilt import all_tensors, blocky, checked, close, detector, normal
from tests.golden.recordings import Case, Recording

LOGITS, INPUT, END_TO_END, FORMULA = 2e-4, 2e-6, 2e-4, 1e-9  # as the recordings suggest


def fvd_cases(recording: Recording) -> Iterator[Case]:
    info = recording.info
    sets = [name for name in info.get("inputs", {}) if f"logits_{name}" in all_tensors(recording)]
    for name in sets:
        if f"preproc_{name}" in info:
            yield Case(f"input-{name}", partial(check_input, recording, name))
        yield Case(f"logits-{name}", partial(check_logits, recording, name))
        yield Case(f"logits-all-{name}", partial(check_all_logits, recording, name), slow=True)
    if "logits_zeros" in all_tensors(recording):
        yield Case("constant", partial(check_constant, recording))
    for name in info:
        if re.fullmatch(r"zeros_vs_255_T\d+", name):
            yield Case(name, partial(check_constant_distance, recording, name))
        if re.fullmatch(r"fvd_\w+_\w+", name) and isinstance(info[name], dict):
            yield Case(f"{name}-formula", partial(check_stored, recording, name))
            yield Case(f"{name}-from-pixels", partial(check_end_to_end, recording, name), slow=True)
    for index, entry in enumerate(info.get("formula", [])):
        yield Case(f"formula-{index}", partial(check_formula, entry))


def videos(recording: Recording, name: str) -> Tensor:
    entry = recording.info["inputs"][name]
    return checked(blocky(entry["seed"], entry["shape"], entry["block"]), entry["sha256"])


def check_input(recording: Recording, name: str) -> None:
    clips, expected = videos(recording, name), recording.info[f"preproc_{name}"]
    inputs = torch.stack([i3d_input(clip) for clip in clips])
    assert list(inputs.shape) == expected["shape"]
    stored = all_tensors(recording)[f"preproc_{name}_v0_t0_stride4"]
    close(inputs[0, :, 0, ::4, ::4], stored, atol=INPUT)
    for statistic in ("mean", "std", "min", "max"):
        close(float(getattr(inputs.double(), statistic)()), expected[statistic], atol=INPUT)


@cache
def detected(path: Path, name: str) -> Tensor:
    """The logits of all videos of a set."""
    recording = Recording(path)
    return detector(recording, "i3d").detect(videos(recording, name))


def check_all_logits(recording: Recording, name: str) -> None:

    def decoys() -> dict[str, float]:  # theirs are of all videos of A
        known = recording.info.get("decoys", {}) if name == "A" else {}
        return {key: value["max_abs_logit_diff_A"] for key, value in known.items()}

    close(
        detected(recording.path, name), all_tensors(recording)[f"logits_{name}"], atol=LOGITS, decoys=decoys
    )


def check_logits(recording: Recording, name: str) -> None:
    """Of the first video alone."""
    i3d, tensors = detector(recording, "i3d"), all_tensors(recording)
    features = i3d.network.features(i3d_input(videos(recording, name)[0])[None])
    close(i3d.network.logits.conv3d(features).mean((2, 3, 4)), tensors[f"logits_{name}"][:1], atol=LOGITS)
    if f"avgpool_{name}_first4" in tensors:
        close(features.flatten(2), tensors[f"avgpool_{name}_first4"][:1], atol=LOGITS)


def check_constant(recording: Recording) -> None:
    tensors = all_tensors(recording)
    black = torch.zeros(1, 16, 3, 64, 64, dtype=torch.uint8)
    found = detector(recording, "i3d").detect(torch.cat([black, black + 255]))
    close(found, torch.stack([tensors["logits_zeros"], tensors["logits_255"]]), atol=LOGITS)


def check_constant_distance(recording: Recording, name: str) -> None:
    length = int(name.rpartition("T")[2])
    black = torch.zeros(1, length, 3, 64, 64, dtype=torch.uint8)
    first, second = detector(recording, "i3d").detect(torch.cat([black, black + 255])).double()
    expected = recording.info[name]["mean_term_float64"]
    close(float((first - second).square().sum()), expected, rtol=END_TO_END)


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


def check_stored(recording: Recording, name: str) -> None:
    """The distance from the recorded logits, of which those of one set are the set itself."""
    tensors = all_tensors(recording)
    first, second = (tensors[f"logits_{part}"] for part in name.split("_")[1:])
    check_distance(recording, name, distance(first, second), FORMULA)


def check_end_to_end(recording: Recording, name: str) -> None:
    first, second = (detected(recording.path, part) for part in name.split("_")[1:])
    known = recording.info.get("decoys", {}) if name == "fvd_A_B" else {}
    decoys = {key: value["fvd_exact64"] for key, value in known.items()}
    check_distance(recording, name, distance(first, second), END_TO_END, decoys)


def check_distance(
    recording: Recording, name: str, found: float, rtol: float, decoys: dict[str, float] | None = None
) -> None:
    expected = recording.info[name]
    known = {"ddof 0": expected["exact_float64_ddof0"], **(decoys or {})}
    close(found, expected["exact_float64_ddof1"], rtol=rtol, atol=1e-9, decoys=known)
    parts = name.split("_")[1:]
    assert parts[0] != parts[1] or found < 1e-6


def check_formula(entry: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(entry["seed"])
    scale = torch.linspace(0.1, 2, entry["d"])
    first = normal(generator, entry["N1"], scale)
    second = normal(generator, entry["N2"], scale.flip(0)) * 1.1 + 0.3
    close(first.double().sum(), entry["x1_sum"], atol=1e-3)
    decoys = {"ddof 0": entry["exact_float64_ddof0"]}
    close(distance(first, second), entry["exact_float64_ddof1"], rtol=FORMULA, decoys=decoys)
    close(distance(first, second), entry["reference_float32"], rtol=1e-4)
