from __future__ import annotations

from dataclasses import asdict

import pytest

from pos.spr.rewriting import Rewrite
from pos.study.summaries import cost, noise, rewriting


def seconds(sampling: float, inversion: float = 0.0, rewriting: float = 0.0) -> dict[str, float]:
    return {"sampling": sampling, "inversion": inversion, "rewriting": rewriting}


def test_cost_is_the_mean_over_videos_of_all_stages():
    told = cost(
        [
            {"evaluations": 20, "seconds": seconds(1.0, 0.5)},
            {"evaluations": 30, "seconds": seconds(2.0, 0.0, 0.5)},
        ]
    )
    assert told == {
        "evaluations": 25.0,
        "seconds": 2.0,
        "seconds_sampling": 1.5,
        "seconds_inversion": 0.25,
        "seconds_rewriting": 0.25,
    }


def test_noise_means_over_videos_and_over_those_that_were_inverted():
    inversion = {"mean": 0.1, "std": 0.8, "channel_std": [0.7, 0.9], "residual": 1e-6}
    inversion["reconstruction"] = {"psnr": 20.0}
    entries = [
        {"start_noise": {"mean": 0.0, "std": 1.0}, "inversion": None},
        {"start_noise": {"mean": 0.2, "std": 0.8}, "inversion": inversion},
        {
            "start_noise": {"mean": 0.1, "std": 0.9},
            "inversion": {**inversion, "std": 1.0, "channel_std": [0.9, 1.1], "residual": 1e-3}
            | {"reconstruction": {"psnr": 30.0}},
        },
    ]
    told = noise(entries)
    assert (told["start_mean"], told["start_std"]) == pytest.approx((0.1, 0.9))
    assert (told["inverted_mean"], told["inverted_std"]) == pytest.approx((0.1, 0.9))
    assert told["inverted_channel_std"] == pytest.approx([0.8, 1.0])
    assert told["largest_residual"] == 1e-3
    assert (told["reconstruction_psnr"], told["least_reconstruction_psnr"]) == (25.0, 20.0)
    plain = noise(entries[:1])
    assert {plain[name] for name in ("inverted_mean", "inverted_std", "largest_residual")} == {None}
    assert plain["inverted_channel_std"] is None
    assert plain["reconstruction_psnr"] is plain["least_reconstruction_psnr"] is None
    unchecked = [{**entries[1], "inversion": {**inversion, "reconstruction": None}}]
    assert noise(unchecked)["reconstruction_psnr"] is None
    exact = [{**entries[1], "inversion": {**inversion, "reconstruction": {"psnr": "inf"}}}]
    assert noise(exact)["reconstruction_psnr"] == float("inf")


def test_rewrites_count_once_a_prompt_whatever_the_seeds():
    def entry(name: str, prompt: str, rewrite: Rewrite | None) -> dict:
        text = rewrite.text if rewrite else None
        about = asdict(rewrite) if rewrite else None
        return {"id": name, "prompt": prompt, "rewritten_prompt": text, "rewrite": about}

    faithful = Rewrite("a bright red ring moving to the left", True, 2, 0.8, None)
    recoloured = Rewrite("a bright blue ring", True, 1, 0.7, None)
    refused = Rewrite("green star", False, 3, 0.1, "dissimilar")
    entries = [
        entry("a", "red ring moving left", faithful),
        entry("a", "red ring moving left", faithful),
        entry("b", "red ring", recoloured),
        entry("c", "green star", refused),
    ]
    assert rewriting(entries) == {
        "prompts": 3,
        "accepted": 2,
        "retried": 1,
        "fallbacks": {"dissimilar": 1},
        "instruction_tokens": 0,
        "reply_tokens": 0,
        "changed_attribute": 1,
    }
    assert rewriting([entry("a", "red ring", None)]) is None
