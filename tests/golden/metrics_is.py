"""TGANv2's inception score of videos: the input stage, C3D and the formula."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pos.evaluation.detectors.preprocessing import c3d_input
from pos.metrics.inception_score import split_scores
from tests.golden.rebuilt import all_tensors, blocky, checked, close, detector
from tests.golden.recordings import Case, Recording

INPUT, LOGITS, PROBABILITIES, SCORE, FORMULA = 5e-3, 2e-3, 1e-4, 1e-6, 1e-10  # as the recordings suggest


def is_cases(recording: Recording) -> Iterator[Case]:
    if "act_pre" in recording.info:
        yield Case("input", partial(check_input, recording))
        yield Case("network", partial(check_network, recording))
    if "is_on_c3d" in recording.info:
        yield Case("score-of-network", partial(check_score_of_network, recording))
    for index, entry in enumerate(recording.info.get("is_on_logits", [])):
        for name in entry["tgan2"]:
            yield Case(f"score-{index}-{name}", partial(check_score, entry, name))
        for name in entry:
            if "shuffleFalse" in name:
                yield Case(f"score-{index}-{name}", partial(check_formula, entry, name))


def videos(recording: Recording) -> Tensor:
    entry = recording.info["inputs"]
    shape = [entry[key] for key in ("N", "T", "H", "W")]
    return checked(blocky(entry["seed"], shape, entry["block"]), entry["sha256_uint8_NTHWC"])


def check_input(recording: Recording) -> None:
    c3d = detector(recording, "c3d")
    inputs = c3d.network.centre(torch.stack([c3d_input(video) for video in videos(recording)]))
    close(inputs[0, :, 0, ::4, ::4], all_tensors(recording)["pre_v0_t0_stride4"], atol=INPUT)
    expected = recording.info["act_pre"]
    assert list(inputs.shape) == expected["shape"]
    for statistic in ("mean", "std", "min", "max"):
        close(float(getattr(inputs.double(), statistic)()), expected[statistic], atol=INPUT)


def check_network(recording: Recording) -> None:
    c3d, tensors = detector(recording, "c3d"), all_tensors(recording)
    seen: dict[str, Tensor] = {}
    hooks = [
        c3d.network.fc6.register_forward_pre_hook(lambda _, args: seen.update(pool5=args[0])),
        c3d.network.fc8.register_forward_pre_hook(lambda _, args: seen.update(fc7=args[0])),
        c3d.network.fc8.register_forward_hook(lambda _, __, out: seen.update(fc8=out)),
    ]
    probabilities = c3d.detect(videos(recording))
    for hook in hooks:
        hook.remove()
    known = recording.info.get("decoys_fc8", {})
    decoys = {name: value["fc8_max_abs_diff"] for name, value in known.items()}
    close(seen["fc8"], tensors["fc8"], atol=LOGITS, decoys=decoys)
    close(seen["fc7"], tensors["fc7"], atol=LOGITS)
    close(seen["pool5"][0], tensors["pool5_v0"].flatten(), atol=LOGITS)
    close(probabilities, tensors["prob"], atol=PROBABILITIES)


def check_score_of_network(recording: Recording) -> None:
    probabilities = all_tensors(recording)["prob"]
    for name, expected in recording.info["is_on_c3d"].items():
        compare(probabilities, name, expected, SCORE)


def logits(entry: dict[str, Any]) -> Tensor:
    generator = torch.Generator().manual_seed(entry["seed"])
    drawn = torch.randn(entry["N"], entry["C"], generator=generator) * entry["scale"]
    close(drawn.double().sum(), entry["logits_sum"], atol=1e-2)
    return drawn


def check_score(entry: dict[str, Any], name: str) -> None:
    decoys = {key: value["mean"] for key, value in entry.items() if key.endswith(name.removeprefix("splits"))
              and isinstance(value, dict) and "mean" in value}  # fmt: skip
    compare(logits(entry).softmax(1), name, entry["tgan2"][name], SCORE, decoys)


def check_formula(entry: dict[str, Any], name: str) -> None:
    compare(logits(entry).double().softmax(1), name, entry[name], FORMULA)


def compare(
    probabilities: Tensor,
    name: str,
    expected: dict[str, float],
    rtol: float,
    decoys: dict[str, float] | None = None,
) -> None:
    """Mean and deviation over the splits that a name such as ``splits10`` counts."""
    splits = int(re.search(r"splits(\d+)", name)[1])
    ones = torch.ones(1, len(probabilities), dtype=torch.float64)
    scores = split_scores(probabilities, ones, splits)[0]
    close(scores.mean(), expected["mean"], rtol=rtol, decoys=decoys)
    close(scores.std(correction=0), expected["std"], rtol=10 * rtol, atol=10 * rtol)
