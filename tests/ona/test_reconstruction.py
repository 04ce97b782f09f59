"""What is left of a clip in its inverted noise, by an exact backbone, and what follows where it is little."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch

from pos.diffusion.ddim import Guided, sample
from pos.errors import PosError
from pos.ona.inversion import Inverted, Inverter
from pos.ona.mixture import noise_statistics
from pos.ona.reconstruction import Check, psnr, reconstruct, relative_error
from pos.storage import TensorCache
from tests.closed_form import ColourBackbone


def clips(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (2, 3, 4, 4), generator=generator, dtype=torch.uint8) for _ in range(count)]


def inverter(folder: Path, **settings) -> Inverter:
    return Inverter(
        ColourBackbone(), TensorCache(folder, "inversions"), **{"steps": 6, "check": True} | settings
    )


def test_psnr_is_of_all_pixels_of_a_video() -> None:
    reference = torch.full((3, 2, 3, 4, 4), 100, dtype=torch.uint8)
    video = reference.clone()
    video[1] += 10
    video[2, 0] += 255 - 100  # half of the pixels
    found = psnr(video, reference)
    assert found[0] == math.inf
    assert float(found[1]) == pytest.approx(10 * math.log10(255**2 / 100))
    assert float(found[2]) == pytest.approx(10 * math.log10(255**2 / (155**2 / 2)))
    assert torch.equal(psnr(reference, video), found)


def test_relative_error_is_of_each_sample() -> None:
    latents = torch.ones(2, 4, 3, 2, 2)
    assert relative_error(latents * torch.tensor([1.0, 1.5]).view(2, 1, 1, 1, 1), latents).tolist() == [
        0,
        0.5,
    ]


def test_a_reconstruction_samples_under_the_empty_prompt_without_guidance(tmp_path: Path) -> None:
    ours, videos = inverter(tmp_path), clips(2)
    noises = torch.stack([result.noise for result in ours(videos)])
    backbone = ColourBackbone()
    empty = backbone.encode_text(["", ""])
    wanted = sample(Guided(backbone.predict, lambda _: empty), noises, backbone.levels(6))
    torch.testing.assert_close(reconstruct(ours.backbone, noises, 6), wanted)


def test_what_is_recorded_is_what_the_clip_became(tmp_path: Path) -> None:
    ours, videos = inverter(tmp_path), clips(3)
    results = ours(videos)
    latents = reconstruct(ColourBackbone(), torch.stack([result.noise for result in results]), 6)
    found = psnr(ours.backbone.decode(latents), torch.stack(videos))
    errors = relative_error(latents, ours.backbone.encode(torch.stack(videos)))
    for row, result in enumerate(results):
        assert result.reconstruction.psnr == pytest.approx(float(found[row]), abs=1e-4)
        assert result.reconstruction.latent_error == pytest.approx(float(errors[row]), abs=1e-6)
        assert result.reconstruction.seconds > 0
        assert result.evaluations == 6, "looking is no part of the method's cost"
        assert result.statistics == noise_statistics(result.noise[None])[0]


def test_a_solved_inversion_forgets_nothing(tmp_path: Path) -> None:
    methods = ("next", "fixed_point")
    (naive,), (solved,) = (inverter(tmp_path, method=name, steps=100)(clips(1)) for name in methods)
    assert solved.reconstruction.psnr > 60 > naive.reconstruction.psnr
    assert solved.reconstruction.latent_error < 1e-4 < naive.reconstruction.latent_error


def evaluations(ours: Inverter, videos: list[torch.Tensor]) -> tuple[list[Inverted], int]:
    before = len(ours.backbone.calls)
    return ours(videos), len(ours.backbone.calls) - before


def test_reconstructions_are_cached_with_the_noise_and_made_where_they_are_absent(tmp_path: Path) -> None:
    plain = inverter(tmp_path, check=False)
    (unchecked, *_), count = evaluations(plain, clips(2))
    assert (count, unchecked.reconstruction) == (6, None)
    ours = inverter(tmp_path)
    checked, count = evaluations(ours, clips(3))
    assert count == 6 + 6, "one new clip is inverted, all three are reconstructed"
    assert torch.equal(checked[0].noise, unchecked.noise)
    assert checked[0].seconds == unchecked.seconds
    again, count = evaluations(inverter(tmp_path), clips(3))
    assert count == 0
    assert [result.reconstruction for result in again] == [result.reconstruction for result in checked]
    unasked, _ = evaluations(inverter(tmp_path, check=False), clips(3))
    assert unasked[0].reconstruction is None


def test_a_kill_between_inversion_and_reconstruction_loses_no_inversion(tmp_path: Path, monkeypatch) -> None:
    ours = inverter(tmp_path)
    monkeypatch.setattr(ours, "_reconstruct", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ours(clips(1))
    assert evaluations(inverter(tmp_path), clips(1))[1] == 6


@pytest.mark.parametrize(
    ("psnr", "factor"), [(30.0, 1), (20.0, 1), (20.0 - 6.0206, 1 / 2), (0.0, 1 / 10), (math.inf, 1)]
)
def test_eta_is_lowered_by_as_much_as_the_error_is_larger(psnr: float, factor: float) -> None:
    assert Check(min_psnr=20.0).eta(0.5, psnr) == 0.5
    assert Check(min_psnr=20.0, lower_eta=True).eta(0.5, psnr) == pytest.approx(0.5 * factor, rel=1e-4)
    assert Check(min_psnr=20.0, lower_eta=True).eta(math.inf, psnr) == math.inf


def test_clips_below_the_least_are_named_the_worst_first(caplog: pytest.LogCaptureFixture) -> None:
    found = {f"clip-{index}": float(index) for index in range(10)}
    with caplog.at_level(logging.WARNING):
        Check(min_psnr=0.0).warn(found)
        assert not caplog.records
        Check(min_psnr=7.0).warn(found)
    assert "7 of 10 inverted clips are reconstructed at less than 7 dB" in caplog.text
    assert "clip-0 (0.0 dB), clip-1 (1.0 dB)" in caplog.text
    assert "clip-4 (4.0 dB), ..." in caplog.text
    assert "clip-5" not in caplog.text


@pytest.mark.parametrize("values", [{"min_psnr": "much"}, {"min_psnr": math.nan}, {"lower_eta": "yes"}])
def test_values_of_another_kind_are_refused(values: dict) -> None:
    ((name, value),) = values.items()
    with pytest.raises(PosError, match=f"inversion_check.{name}={value} is not allowed"):
        Check(**values)
