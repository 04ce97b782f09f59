"""OpenAI's CLIP ViT-B/32: transform, tokens and towers, CLIPSIM, and clean-fid's CLIP-FID."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pos.evaluation.detectors.preprocessing import clip_crop, clip_input
from pos.metrics.clipsim import clip_similarity
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from tests.golden.rebuilt import all_tensors, blocky, checked, close, detector
from tests.golden.recordings import Case, Recording

INPUT, FEATURES, COSINE, DISTANCE = 2e-6, 1e-4, 2e-6, 2e-5  # as the recordings suggest; the input is ours


def clip_cases(recording: Recording) -> Iterator[Case]:
    info = recording.info
    if "preproc" in info:
        yield Case("input", partial(check_input, recording))
    if "prompts" in info.get("inputs", {}):
        yield Case("tokens", partial(check_tokens, recording))
        yield Case("text", partial(check_text, recording))
        yield Case("images", partial(check_images, recording))
    if "clipsim" in info:
        yield Case("clipsim-formula", partial(check_stored_similarity, recording))
        yield Case("clipsim-from-pixels", partial(check_similarity, recording))
    if "clip_fid" in info:
        yield Case("input-uint8", partial(check_crop, recording))
        yield Case("clip-fid-formula", partial(check_stored_distance, recording))
        yield Case("clip-fid-features", partial(check_set_features, recording))
        yield Case("clip-fid-from-pixels", partial(check_distance, recording), slow=True)


def videos(recording: Recording) -> Tensor:
    entry = recording.info["inputs"]
    shape = [entry[key] for key in ("nvid", "T", "H", "W")]
    return checked(blocky(entry["seed"], shape, entry["block"]), entry["sha256"])


def images(entry: dict[str, Any], side: str) -> Tensor:
    shape = (entry["N"], 1, entry["H"], entry["W"])
    return checked(blocky(entry[f"seed{side}"], shape, entry["block"]), entry[f"sha{side}"])


@cache
def embedded(path: Path) -> tuple[Tensor, Tensor]:
    """Embeddings of the recording's frames (n, f, d) and prompts (n, d)."""
    recording = Recording(path)
    clip = detector(recording, "clip")
    return clip.detect(videos(recording)), clip.encode_text(recording.info["inputs"]["prompts"])


def check_input(recording: Recording) -> None:
    inputs = torch.stack([clip_input(video) for video in videos(recording)])
    expected = recording.info["preproc"]
    assert list(inputs.shape) == expected["shape"]
    close(inputs[0, 0, :, ::4, ::4], all_tensors(recording)["preproc_v0_t0_stride4"], atol=INPUT)
    for statistic in ("mean", "std", "min", "max"):
        close(float(getattr(inputs.double(), statistic)()), expected[statistic], atol=INPUT)


def check_crop(recording: Recording) -> None:
    found = clip_crop(images(recording.info["clip_fid"], "A")[0])[0].permute(1, 2, 0)
    known = recording.info.get("img_preprocess_clip_A0", {})
    decoys = {name: value for name, value in known.items() if name.startswith("max_abs_diff")}
    close(found, all_tensors(recording)["img_preprocess_clip_A0_uint8"], decoys=decoys)


def check_tokens(recording: Recording) -> None:
    """Zeros follow, as many as fill 77."""
    entry = recording.info["inputs"]
    found = detector(recording, "clip").tokenizer(entry["prompts"])
    for row, expected in zip(found.tolist(), entry["tokens"], strict=True):
        assert row == expected + [0] * (77 - len(expected))


def check_text(recording: Recording) -> None:
    close(embedded(recording.path)[1], all_tensors(recording)["text_features_raw"], atol=FEATURES)


def check_images(recording: Recording) -> None:
    frames, texts = embedded(recording.path)
    tensors = all_tensors(recording)
    wrong = recording.info.get("open_clip", {}).get("ViT-B-32 (plain GELU, wrong)", {})
    decoys = {name: {"plain GELU": wrong[name]} for name in ("max_abs_image", "max_abs_cos") if name in wrong}
    close(frames, tensors["image_features_raw"], atol=FEATURES, decoys=decoys.get("max_abs_image"))
    cosines = cosine_similarity(frames[:, :, None], texts[None, None], dim=-1)
    close(cosines, tensors["cosine_video_frame_prompt"], atol=COSINE, decoys=decoys.get("max_abs_cos"))


def compare(recording: Recording, frames: Tensor, texts: Tensor) -> None:
    expected = recording.info["clipsim"]
    found = clip_similarity(frames, texts).double()
    known = expected.get("decoys", {})
    decoys = {name: value for name, value in known.items() if not isinstance(value, list)}
    lists = {name: sum(value) / len(value) for name, value in known.items() if isinstance(value, list)}
    close(found.mean(), expected["clipsim"], atol=COSINE, decoys=decoys | lists)
    close(found, torch.tensor(expected["per_video"]), atol=COSINE)


def check_stored_similarity(recording: Recording) -> None:
    tensors = all_tensors(recording)
    compare(recording, tensors["image_features_raw"], tensors["text_features_raw"])


def check_similarity(recording: Recording) -> None:
    compare(recording, *embedded(recording.path))


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


def check_stored_distance(recording: Recording) -> None:
    tensors, expected = all_tensors(recording), recording.info["clip_fid"]
    found = distance(tensors["clipfid_A_feat"], tensors["clipfid_B_feat"])
    compare_distance(recording, found)
    close(found, expected["cleanfid_fid_from_feats"], rtol=DISTANCE)


def compare_distance(recording: Recording, found: float) -> None:
    expected = recording.info["clip_fid"]
    decoys = {name: value for name, value in expected.items() if name.startswith("decoy")}
    close(found, expected["exact_float64"], rtol=DISTANCE, decoys=decoys)


def check_set_features(recording: Recording) -> None:
    found = detector(recording, "clip").detect(images(recording.info["clip_fid"], "A")[:2])[:, 0]
    close(found, all_tensors(recording)["clipfid_A_feat"][:2], atol=FEATURES)


def check_distance(recording: Recording) -> None:
    clip, entry = detector(recording, "clip"), recording.info["clip_fid"]
    first, second = (clip.detect(images(entry, side))[:, 0] for side in "AB")
    compare_distance(recording, distance(first, second))
