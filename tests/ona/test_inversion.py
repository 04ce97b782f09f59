"""Cached inversion with an exact backbone: its world is Gaussian, its denoiser and codec are closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.diffusion.ddim import invert, sample
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.errors import PosError
from pos.ona.inversion import Inverter
from pos.storage import TensorCache
from tests.diffusion.analytic import Gaussian


class GaussianBackbone(Backbone):
    """Latents are pixels from -1 to 1, data is N(0.1, 0.5^2); a prompt shifts the mean by its length."""

    name, fingerprint = "gaussian", "gaussian-1"
    defaults = Defaults(frames=2, height=4, width=4, steps=10, guidance=1.0, fps=8)
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.encoded: list[int] = []
        self.prompts: list[str] = []

    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        self.prompts += prompts
        return Conditioning({"shift": torch.tensor([len(prompt) / 10 for prompt in prompts])})

    def encode(self, videos: Tensor) -> Tensor:
        self.encoded.append(len(videos))
        return videos.transpose(1, 2) / 127.5 - 1

    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        shift = conditioning.tensors["shift"].view(-1, 1, 1, 1, 1)
        return Gaussian(0.1, 0.5)(latents - level.signal * shift, level)

    def decode(self, latents: Tensor) -> Tensor:
        return ((latents.transpose(1, 2) + 1) * 127.5).round().clamp(0, 255).byte()

    def levels(self, steps: int) -> LevelTable:
        return ddim_levels(steps)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return 3, frames, height, width


def clips(number: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randint(0, 256, (number, 2, 3, 4, 4), generator=generator, dtype=torch.uint8))


def inverter(folder: Path, **settings) -> Inverter:
    return Inverter(GaussianBackbone(), TensorCache(folder, "inversions"), **{"steps": 10, **settings})


def test_it_inverts_under_the_empty_prompt_without_guidance(tmp_path: Path) -> None:
    videos, ours = clips(3), inverter(tmp_path)
    results = ours(videos)
    assert set(ours.backbone.prompts) == {""}
    latents = ours.backbone.encode(torch.stack(videos))
    expected = invert(Gaussian(0.1, 0.5), latents, ddim_levels(10))
    torch.testing.assert_close(torch.stack([result.noise for result in results]), expected.noise)
    assert [(result.residual, result.evaluations) for result in results] == [(None, 10)] * 3


def test_a_fixed_point_inversion_samples_back_to_the_video(tmp_path: Path) -> None:
    videos, ours = clips(2), inverter(tmp_path, method="fixed_point", steps=50)
    results = ours(videos)
    back = sample(Gaussian(0.1, 0.5), torch.stack([result.noise for result in results]), ddim_levels(50))
    assert torch.equal(ours.backbone.decode(back), torch.stack(videos))
    assert all(0 < result.residual <= 1e-6 and result.evaluations > 50 for result in results)


def test_only_what_is_absent_is_computed_in_batches_and_equal_videos_once(tmp_path: Path) -> None:
    videos = clips(6)
    first = inverter(tmp_path, batch_size=2)
    before = first([*videos[:3], videos[0]])
    assert first.backbone.encoded == [2, 1]
    assert torch.equal(before[0].noise, before[3].noise)
    again = inverter(tmp_path, batch_size=4)
    after = again(videos)
    assert again.backbone.encoded == [3]
    for old, new in zip(before[:3], after[:3], strict=True):
        assert torch.equal(old.noise, new.noise)
    third = inverter(tmp_path)
    third(videos)
    assert third.backbone.encoded == []


def test_an_inversion_cut_short_is_computed_again(tmp_path: Path) -> None:
    ours, [video] = inverter(tmp_path), clips(1)
    [whole] = ours([video])
    file = ours.cache.path(ours.key(video))
    content = file.read_bytes()
    file.unlink()  # what was read before is mapped from the old file
    file.write_bytes(content[:-40])
    [again] = ours([video])
    assert ours.backbone.encoded == [1, 1]
    assert torch.equal(whole.noise, again.noise)


def test_a_killed_run_keeps_the_batches_it_finished(tmp_path: Path) -> None:
    def killed(batches, total):
        assert total == 2
        yield next(iter(batches))
        raise KeyboardInterrupt

    videos = clips(4)
    with pytest.raises(KeyboardInterrupt):
        inverter(tmp_path, batch_size=2)(videos, progress=killed)
    resumed = inverter(tmp_path, batch_size=2)
    resumed(videos)
    assert resumed.backbone.encoded == [2]


def test_only_videos_without_a_cached_noise_are_loaded(tmp_path: Path) -> None:
    ours, videos = inverter(tmp_path, batch_size=2), clips(5)
    keys, loaded = [ours.key(video) for video in videos], []
    first = ours([videos[1]])
    found = ours.of_keys([*keys, keys[0]], lambda place: loaded.append(place) or videos[place])
    assert sorted(loaded) == [0, 2, 3, 4]
    assert torch.equal(found[1].noise, first[0].noise)
    assert torch.equal(found[0].noise, found[5].noise)
    loaded.clear()
    assert [again.statistics for again in ours.of_keys(keys, loaded.append)] == [
        f.statistics for f in found[:5]
    ]
    assert loaded == []


def meanwhile(ours: Inverter, other: Inverter, videos: list[Tensor], monkeypatch) -> None:
    """Another process inverts the videos while this one does."""
    encode = ours.backbone.encode
    monkeypatch.setattr(ours.backbone, "encode", lambda stack: (other(videos), encode(stack))[1])


@pytest.mark.parametrize("check", [False, True])
def test_what_another_process_added_meanwhile_is_kept_and_used(
    tmp_path: Path, monkeypatch, check: bool
) -> None:
    videos, ours = clips(2), inverter(tmp_path, check=check)
    meanwhile(ours, inverter(tmp_path, check=True), videos, monkeypatch)
    found = ours(videos)
    assert all("psnr" in ours.cache.get(ours.key(video)) for video in videos)
    assert ours.backbone.encoded == [2], "it inverted in vain, and reconstructed nothing again"
    assert all((result.reconstruction is not None) == check for result in found)


def test_a_noise_that_appears_meanwhile_is_checked_where_that_is_asked(tmp_path: Path, monkeypatch) -> None:
    [video], ours = clips(1), inverter(tmp_path, check=True)
    meanwhile(ours, inverter(tmp_path), [video], monkeypatch)
    [found] = ours([video])
    assert "psnr" in ours.cache.get(ours.key(video))
    assert found.reconstruction.psnr > 0


def test_a_reconstruction_that_another_process_erases_is_still_returned(tmp_path: Path, monkeypatch) -> None:
    [video], ours = clips(1), inverter(tmp_path, check=True)
    inverter(tmp_path)([video])
    bare, put = ours.cache.get(ours.key(video)), ours.cache.put
    monkeypatch.setattr(ours.cache, "put", lambda key, entry: (put(key, entry), put(key, bare)))
    [found] = ours([video])
    [expected] = inverter(tmp_path / "alone", check=True)([video])
    assert found.reconstruction.psnr == pytest.approx(expected.reconstruction.psnr)


def test_the_key_is_what_the_noise_depends_on(tmp_path: Path) -> None:
    [video], other = clips(1), clips(2)[1]
    base = inverter(tmp_path)
    changed = [
        inverter(tmp_path, steps=20),
        inverter(tmp_path, method="printed"),
        inverter(tmp_path, method="fixed_point"),
        inverter(tmp_path, method="fixed_point", tolerance=1e-4),
        inverter(tmp_path),
        inverter(tmp_path),
    ]
    changed[4].backbone.fingerprint = "gaussian-2"
    changed[5].backbone.dtype = torch.bfloat16
    keys = [
        base.key(video),
        base.key(other),
        base.key(video.transpose(2, 3)),
        *(o.key(video) for o in changed),
    ]
    assert len(set(keys)) == len(keys)
    assert inverter(tmp_path / "elsewhere", batch_size=1, tolerance=1e-4).key(video) == base.key(video)


def test_the_noise_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    videos = clips(4)
    for method in ("next", "fixed_point"):
        alone = inverter(tmp_path / "one", batch_size=1, method=method)(videos)
        together = inverter(tmp_path / "all", batch_size=4, method=method)(videos)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one.noise, other.noise, rtol=1e-5, atol=1e-5)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PosError, match="uint8"):
        inverter(tmp_path)([torch.zeros(2, 3, 4, 4)])
    with pytest.raises(PosError, match="uint8"):
        inverter(tmp_path)([torch.zeros(3, 4, 4, dtype=torch.uint8)])
    with pytest.raises(PosError, match="batch_size=0"):
        inverter(tmp_path, batch_size=0)


def test_dithered_it_begins_at_the_first_noisy_level(tmp_path):
    from pos.diffusion.noise import base_noise
    from pos.storage import content_hash

    videos = clips(2)
    own = inverter(tmp_path, dither=True)
    found = own(videos)
    table = own.backbone.levels(10)
    latents = own.backbone.encode(torch.stack(videos)).float()
    noise = base_noise(latents.shape[1:], [content_hash(video) for video in videos], [0, 0], "dither")
    start = table[1].signal * latents + table[1].noise * noise
    condition = own.backbone.encode_text(["", ""])
    expected = invert(lambda x, level, _: own.backbone.predict(x, level, condition), start, table, first=1)
    assert expected.evaluations == found[0].evaluations == 9
    assert torch.equal(torch.stack([one.noise for one in found]), expected.noise)
    plain = inverter(tmp_path)
    assert plain.key(videos[0]) != own.key(videos[0])
    assert plain(videos)[0].evaluations == 10
