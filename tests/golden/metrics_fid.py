"""clean-fid: the resize, FID-Inception and the distance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pos.evaluation.detectors.preprocessing import clean_resize
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from tests.golden.rebuilt import all_tensors, blocky, checked, close, detector, normal
from tests.golden.recordings import Case, Recording

RESIZE, FEATURES, EXACT, REFERENCE, END_TO_END = 1e-3, 1e-4, 1e-6, 2e-5, 1e-3  # as the recordings suggest


def fid_cases(recording: Recording) -> Iterator[Case]:
    info = recording.info
    for index, entry in enumerate(info.get("resize", [])):
        for name in entry:
            if name.startswith("PIL_bicubic_"):
                yield Case(f"resize-{index}-{name}", partial(check_resize, recording, index, name))
    if "inception2048_clean_imgs" in all_tensors(recording):
        yield Case("features", partial(check_features, recording))
    for index, entry in enumerate(info.get("frechet", [])):
        yield Case(f"distance-{index}", partial(check_distance, entry))
    for name in sorted({key.rpartition("_")[0] for key in all_tensors(recording) if "_sigma" in key}):
        yield Case(f"distance-statistics-{name}", partial(check_statistics, recording, name))
    if "frechet_diagonal_analytic" in info:
        yield Case("distance-diagonal", partial(check_diagonal, info["frechet_diagonal_analytic"]))
    if "fidset" in info:
        yield Case("set-features", partial(check_set_features, recording))
        yield Case("set-from-pixels", partial(check_end_to_end, recording), slow=True)


def image(entry: dict[str, Any]) -> Tensor:
    """One image as a video of one frame (1, 3, h, w)."""
    shape = (1, 1, entry["H"], entry["W"])
    return checked(blocky(entry["seed"], shape, entry["block"])[0], entry["sha256_input"])


def check_resize(recording: Recording, index: int, name: str) -> None:
    entry, side = recording.info["resize"][index], int(name.rpartition("_")[2])
    found = clean_resize(image(entry), side)[0].permute(1, 2, 0)
    decoys = entry.get("max_abs_diff_vs_clean", {}) if side == 299 else {}
    values = entry[name]
    close(found.flatten()[values["flat_idx_HWC"]], torch.tensor(values["values"]), atol=RESIZE, decoys=decoys)
    stored = all_tensors(recording)[f"img{index}_PIL{side}_ch1"]
    kept = found[..., 1] if stored.dim() == 2 else found[::8, ::8]
    close(kept, stored, atol=RESIZE, decoys=decoys)
    for statistic in ("mean", "min", "max"):
        close(float(getattr(found.double(), statistic)()), values[statistic], atol=RESIZE)


def check_features(recording: Recording) -> None:
    tensors = all_tensors(recording)
    found = detector(recording, "inception").detect([image(entry) for entry in recording.info["resize"]])[
        :, 0
    ]
    expected = tensors["inception2048_clean_imgs"]
    wrong = {
        "scaling by 2x/255-1": "inception2048_scale255_imgs",
        "the resize of TensorFlow 1": "torchfidelity2048_imgs_own_tf1_resize",
    }
    decoys = {
        name: float((tensors[key] - expected).abs().max()) for name, key in wrong.items() if key in tensors
    }
    close(found, expected, atol=FEATURES, decoys=decoys)


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


def check_distance(entry: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(entry["seed"])
    scale = torch.linspace(0.2, 1.5, entry["d"])
    first = normal(generator, entry["N1"], scale)
    second = normal(generator, entry["N2"], scale.flip(0)) + 0.25
    close(first.double().sum(), entry["x1_sum"], atol=1e-3)
    found = distance(first, second)
    close(found, entry["exact_float64"], rtol=EXACT)
    close(found, entry["cleanfid_fid_from_feats"], rtol=REFERENCE)


def check_statistics(recording: Recording, name: str) -> None:
    """From means and covariances alone: any number of vectors will do."""
    tensors, index = all_tensors(recording), int(re.search(r"(\d+)$", name)[1])
    sets = [
        FeatureStatistics(101, tensors[f"{name}_mu{side}"], tensors[f"{name}_sigma{side}"] * 100)
        for side in (1, 2)
    ]
    close(
        frechet_distance(*sets),
        recording.info["frechet"][index]["frechet_distance_mu_sigma"],
        rtol=REFERENCE,
    )


def check_diagonal(entry: dict[str, Any]) -> None:
    bounds = re.findall(r"linspace\(([-\d.]+),([-\d.]+),(\d+)\)", entry["def_"])
    mean, first, second = (
        torch.linspace(float(a), float(b), int(count), dtype=torch.float64) for a, b, count in bounds
    )
    sets = [FeatureStatistics(101, mean, first.diag() * 100)]
    sets += [FeatureStatistics(101, torch.zeros_like(mean), second.diag() * 100)]
    close(frechet_distance(*sets), entry["closed_form"], rtol=1e-6)  # the linspace went through float32 there


def images(entry: dict[str, Any], side: str) -> Tensor:
    shape = (entry["N"], 1, entry["H"], entry["W"])
    return checked(blocky(entry[f"seed{side}"], shape, entry["block"]), entry[f"sha{side}"])


def check_set_features(recording: Recording) -> None:
    found = detector(recording, "inception").detect(images(recording.info["fidset"], "A")[:2])[:, 0]
    close(found, all_tensors(recording)["fidset_A_feat_first2"], atol=FEATURES)


def check_end_to_end(recording: Recording) -> None:
    entry, tensors = recording.info["fidset"], all_tensors(recording)
    inception = detector(recording, "inception")
    features = {side: inception.detect(images(entry, side))[:, 0] for side in "AB"}
    for side, found in features.items():
        close(found.mean(0), tensors[f"fidset_{side}_mu"], atol=FEATURES)
    decoys = {name: value for name, value in entry.items() if name.startswith("decoy")}
    close(distance(features["A"], features["B"]), entry["exact_float64"], rtol=END_TO_END, decoys=decoys)
