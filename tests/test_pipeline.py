"""What reaches the network, what comes out, and what stands beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pos.backbones.scvideo import load_shapes
from pos.data.pools.shapes import ShapesPool
from pos.diffusion.ddim import Guided, invert
from pos.diffusion.levels import ddim_levels
from pos.diffusion.noise import base_noise
from pos.errors import PosError
from pos.generation import make_requests
from pos.method import Method
from pos.ona.npnet import NPNet
from pos.ona.reconstruction import Check
from pos.pipeline import Pipeline
from pos.provenance import Request, Sample
from pos.retrieval import Retriever
from tests.closed_form import COLOURS, ColourBackbone, ColourPool, WordCounts
from tests.known import ROWS, known_pipeline


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Pipeline]:
    """A pipeline of known parts; its caches are the test's own."""
    return lambda *arguments, **changes: known_pipeline(tmp_path / "cache", *arguments, **changes)


def videos(pipeline: Pipeline, requests: list[Request]) -> Tensor:
    return torch.stack([sample.video for sample in pipeline.generate(requests)])


def denoised(pipeline: Pipeline) -> list[tuple[Tensor, Tensor]]:
    """(latents, colours) of each denoising step of one batch: the inversion climbs to the same levels, and
    comes before."""
    return [(latents, colours) for latents, _, colours in pipeline.backbone.calls[-pipeline.steps :]]


class TestNoise:
    def test_every_row_starts_from_the_same_base_noise(self, make):
        requests = make_requests(["red", "a green wall"], [0, 1])
        ids, seeds = [r.id for r in requests], [r.seed for r in requests]
        eps = base_noise((3, 2, 4, 4), ids, seeds)
        starts = {}
        for key, method in ROWS.items():
            pipeline = make(method)
            list(pipeline.generate(requests))
            starts[key] = denoised(pipeline)[0][0]
        assert starts["baseline"].equal(eps)
        assert starts["spr"].equal(eps)
        assert starts["pos"].equal(starts["ona"])
        assert len({float(row.sum()) for row in eps}) == 4

        # What Eq. 4 adds to eps: the inversion of the nearest clip, made here by hand.
        backbone, pool = ColourBackbone(), ColourPool()
        clips = torch.stack([pool.video(index, 2, 4, 4) for index in (0, 0, 1, 1)])
        empty = backbone.encode_text([""] * 4)
        inverted = invert(
            Guided(backbone.predict, lambda _: empty), backbone.encode(clips), backbone.levels(4)
        ).noise
        torch.testing.assert_close(starts["ona"] * math.sqrt(1.25), eps + 0.5 * inverted)
        predicted, _ = make().npnet.predict_noise([r.prompt for r in requests], ids, seeds, (3, 2, 4, 4), 4)
        torch.testing.assert_close(starts["pos_star"] * math.sqrt(1.25), eps + 0.5 * predicted)

    @pytest.mark.parametrize("noise", ["inversion", "npnet"])
    def test_eta_0_is_the_plain_model_bit_by_bit_and_infinity_the_guided_noise(self, make, noise: str):
        requests = make_requests(["green", "red"])
        plain = make()
        expected = videos(plain, requests)
        bare = make(Method(noise=noise, eta=0), retriever=None, npnet=None)
        assert videos(bare, requests).equal(expected)
        assert denoised(bare)[0][0].equal(denoised(plain)[0][0])
        starts = []
        for seed in (0, 1):
            pure = make(Method(noise=noise, eta=math.inf))
            list(pure.generate([replace(request, seed=seed) for request in requests]))
            starts.append(denoised(pure)[0][0])
        assert starts[0].equal(starts[1]) == (noise == "inversion")  # one inversion a clip; NPNet draws

    def test_unit_deviation_is_an_option(self, make):
        requests = make_requests(["green"])
        for preserving in (False, True):
            method = Method(noise="inversion", eta=math.inf, variance_preserving=preserving)
            (sample,) = make(method).generate(requests)
            deviation = sample.provenance.start_noise.std
            assert (deviation == pytest.approx(1.0, abs=1e-5)) == preserving

    def test_requests_that_share_a_clip_share_one_inversion(self, make, monkeypatch: pytest.MonkeyPatch):
        requests = make_requests(["a red ring", "some red paint", "the red wall", "green"], [0, 1])
        pipeline = make(ROWS["ona"], batch_size=8)
        read, video = [], ColourPool.video
        monkeypatch.setattr(
            ColourPool, "video", lambda self, clip, *size: read.append(clip) or video(self, clip, *size)
        )
        samples = list(pipeline.generate(requests))
        assert read == [0, 1], "decoding a clip takes time"
        inverting = pipeline.backbone.calls[: -pipeline.steps]
        assert [len(latents) for latents, *_ in inverting] == [2] * pipeline.steps
        assert all(not colours.any() for *_, colours in inverting), "Eq. 2 is under the empty prompt"

        again = make(ROWS["ona"], batch_size=8)
        repeated = list(again.generate(requests))
        assert len(again.backbone.calls) == again.steps
        for first, second in zip(samples, repeated, strict=True):
            assert first.video.equal(second.video)
            assert first.provenance.inversion == second.provenance.inversion
            assert second.provenance.evaluations == 8, "what a video takes when nothing is cached"
            assert second.provenance.seconds.inversion > 0

    def test_a_clip_whose_inversion_is_cached_is_not_read_again(self, make, monkeypatch: pytest.MonkeyPatch):
        requests = make_requests(["a red ring", "green"], [0])
        first = make(ROWS["ona"])
        first.retriever.pool.contents = [f"content of {name}" for name in first.retriever.pool.ids]
        samples = list(first.generate(requests))
        again = make(ROWS["ona"])
        again.retriever.pool.contents = first.retriever.pool.contents
        monkeypatch.setattr(ColourPool, "video", lambda *_: pytest.fail("a clip was read"))
        for sample, repeated in zip(samples, again.generate(requests), strict=True):
            assert sample.video.equal(repeated.video)
            assert sample.provenance.inversion == repeated.provenance.inversion

    def test_a_batch_of_many_plans_is_the_same_as_several(self, make, monkeypatch: pytest.MonkeyPatch):
        requests = make_requests(["red", "green", "blue"], [0, 1])
        whole = videos(make(ROWS["pos"]), requests)
        monkeypatch.setattr("pos.pipeline.PLANNED_VIDEOS", 4)
        assert videos(make(ROWS["pos"]), requests).equal(whole)

    def test_the_samplers_own_noise_is_drawn_for_each_video_apart(self, make, caplog):
        requests = make_requests(["red", "green"], [0, 1])
        method = Method(noise="inversion", eta=1, ddim_eta=1)
        alone = videos(make(method, batch_size=1), requests)
        assert "ddim_eta=1 draws noise at every step" in caplog.text
        assert videos(make(method, batch_size=4), requests).equal(alone)
        assert not videos(make(replace(method, ddim_eta=0)), requests).equal(alone)


class TestText:
    def test_pos_without_references_still_finds_its_clip(self, make):
        pipeline = make(ROWS["pos"])
        pipeline.rewriter = pipeline.rewriter.referring(0)
        asked, complete = [], pipeline.rewriter.engine.complete
        pipeline.rewriter.engine.complete = lambda texts, **which: (
            asked.extend(texts) or complete(texts, **which)
        )
        (sample,) = pipeline.generate(make_requests(["red"]))
        assert asked == [pipeline.rewriter.template.render([], "red", 20)]
        assert [found.id for found in sample.provenance.neighbours] == ["red"]
        assert sample.provenance.inversion is not None
        assert sample.provenance.rewritten_prompt == "blue"

    @pytest.mark.parametrize(
        ("steps", "gamma", "rewritten"),
        [(4, 0, 0), (4, 0.01, 1), (4, 0.5, 2), (4, 0.74, 2), (4, 1, 4), (50, 0.58, 29), (50, 0.04, 2)],
    )
    def test_the_rewritten_prompt_conditions_the_first_steps(self, make, steps, gamma, rewritten):
        pipeline = make(Method(rewrite=True, gamma=gamma), steps=steps)
        (sample,) = pipeline.generate(make_requests(["a red ring"]))
        asked = [tuple(colours[0].tolist()) for _, colours in denoised(pipeline)]
        assert asked == [COLOURS["blue"]] * rewritten + [COLOURS["red"]] * (steps - rewritten)
        assert sample.provenance.settings.rewritten_steps == rewritten
        assert sample.provenance.rewritten_prompt == ("a blue ring" if rewritten else None)

    def test_steps_that_the_levels_add_count_as_well(self, make, monkeypatch: pytest.MonkeyPatch):
        """VideoCrafter's sampler makes 7 steps where 6 are requested."""
        pipeline = make(Method(rewrite=True, gamma=1), steps=6)
        monkeypatch.setattr(pipeline.backbone, "levels", partial(ddim_levels, spacing="videocrafter"))
        (sample,) = pipeline.generate(make_requests(["a red ring"]))
        asked = [tuple(colours[0].tolist()) for *_, colours in pipeline.backbone.calls]
        assert asked == [COLOURS["blue"]] * 7
        assert sample.provenance.settings.rewritten_steps == 7

    def test_gamma_0_is_the_plain_model_bit_by_bit(self, make):
        requests = make_requests(["red", "green"])
        bare = make(Method(rewrite=True, gamma=0), retriever=None, rewriter=None)
        assert videos(bare, requests).equal(videos(make(), requests))

    def test_the_noise_follows_the_original_prompt(self, make):
        """Rewritten or not, clip and predicted noise are those of the prompt."""
        (sample,) = make(ROWS["pos"]).generate(make_requests(["red"]))
        assert sample.provenance.neighbours[0].id == "red"
        pipeline = make(ROWS["pos_star"])
        list(pipeline.generate(make_requests(["red"])))
        colours = [tuple(asked[0].tolist()) for *_, asked in pipeline.npnet.backbone.calls]
        assert colours == [COLOURS["red"]] * pipeline.steps

    def test_guidance_steers_away_from_the_negative_prompt(self, make):
        pipeline = make(guidance=3, negative_prompt="green")
        (sample,) = pipeline.generate(make_requests(["red"]))
        (_, _, colours), *_ = pipeline.backbone.calls
        assert colours.tolist() == [list(COLOURS["green"]), list(COLOURS["red"])]
        assert sample.provenance.evaluations == 2 * pipeline.steps


class TestBatches:
    def test_a_batch_changes_videos_by_rounding_only(self, write_tiny_shapes, tmp_path: Path, make):
        files = write_tiny_shapes(tmp_path)
        npnet = NPNet(load_shapes(**{**files, "device": "cpu"}), guidance=2.0)
        parts = {"backbone": load_shapes(**files, device="cpu"), "npnet": npnet, "frames": 3, "steps": 2}
        cache = tmp_path / "cache"
        parts["retriever"] = Retriever(ShapesPool(size=5), WordCounts(cache), cache)
        requests = make_requests(["a red ring", "blue star moving left", "a disc"], [0, 1])
        for method in (ROWS["pos"], ROWS["pos_star"]):
            alone = videos(make(method, **parts, batch_size=1), requests).int()
            assert len({video.numpy().tobytes() for video in alone}) == len(requests)
            for size in (4, 6):
                together = videos(make(method, **parts, batch_size=size), requests).int()
                assert (together - alone).abs().max() <= 1


class TestBadInput:
    @pytest.mark.parametrize(
        ("method", "missing", "said"),
        [
            (
                "ona",
                "retriever",
                "takes clips or captions of a pool, but there is none: choose pool=shapes or pool=folder",
            ),
            ("spr", "retriever", "takes clips or captions of a pool"),
            ("pos_star", "retriever", "takes clips or captions of a pool"),
            ("spr", "rewriter", "rewrites prompts, but there is no rewriter: choose rewriter=shapes"),
            ("pos", "rewriter", "no rewriter"),
            ("pos_star", "npnet", "predicts noise, but no NPNet is given: choose one with npnet=shapes"),
        ],
    )
    def test_a_missing_part_is_one_sentence(self, make, method: str, missing: str, said: str):
        with pytest.raises(PosError, match=said) as raised:
            make(ROWS[method], **{missing: None})
        assert len(str(raised.value).splitlines()) == 1

    @pytest.mark.parametrize("key", ["steps", "frames", "height", "width", "batch_size"])
    @pytest.mark.parametrize("value", [0, -1, 2.5, "many"])
    def test_sizes_are_whole_numbers(self, make, key: str, value):
        with pytest.raises(PosError, match=f"{key}={value} is not allowed"):
            make(**{key: value})

    @pytest.mark.parametrize("guidance", [math.nan, math.inf, "strong"])
    def test_guidance_is_a_number(self, make, guidance):
        with pytest.raises(PosError, match=f"guidance={guidance} is not allowed"):
            make(guidance=guidance)

    def test_an_empty_prompt_is_refused_before_anything_is_made(self, make):
        pipeline = make(ROWS["ona"])
        with pytest.raises(PosError, match=r"The prompt ' \\t' is empty"):
            next(pipeline.generate([*make_requests(["red"]), Request(" \t", 0, "blank")]))
        assert pipeline.backbone.calls == []

    def test_more_references_than_the_pool_has(self, make):
        pipeline = make(ROWS["spr"])
        pipeline.rewriter.references = 4
        with pytest.raises(PosError, match=r"k=4 .* 1 to 3"):
            next(pipeline.generate(make_requests(["red"])))


class TestInversionCheck:
    def test_what_a_noise_remembers_is_recorded(self, make, caplog):
        (plain,) = make(ROWS["ona"]).generate(make_requests(["red"]))
        assert plain.provenance.inversion.reconstruction is None
        (checked,) = make(ROWS["ona"], inversion_check=Check(min_psnr=0.0)).generate(make_requests(["red"]))
        found = checked.provenance.inversion
        record = found.to_json()["reconstruction"]
        assert set(record) == {"psnr", "latent_error", "seconds"}
        assert record["psnr"] > 0
        assert 0 < found.noise.ks_distance < 1
        assert checked.video.equal(plain.video)
        assert checked.provenance.settings == plain.provenance.settings
        assert checked.provenance.evaluations == plain.provenance.evaluations
        assert "reconstructed at less" not in caplog.text

    def test_a_clip_that_was_badly_inverted_is_named(self, make, caplog):
        list(make(ROWS["ona"], inversion_check=Check(min_psnr=99.0)).generate(make_requests(["red", "blue"])))
        assert "2 of 2 inverted clips are reconstructed at less than 99 dB" in caplog.text
        assert all(f"{clip} (" in caplog.text for clip in ("red", "blue"))

    def test_its_eta_is_lowered_where_that_is_requested(self, make):
        requests = make_requests(["red", "green"])
        check = Check(min_psnr=99.0, lower_eta=True)
        pipeline = make(ROWS["ona"], inversion_check=check)
        samples = list(pipeline.generate(requests))
        etas = [sample.provenance.eta for sample in samples]
        psnrs = [sample.provenance.inversion.reconstruction.psnr for sample in samples]
        assert etas == [0.5 * 10 ** ((psnr - 99) / 20) for psnr in psnrs]
        for row, eta in enumerate(etas):
            alone = make(replace(ROWS["ona"], eta=eta))
            list(alone.generate(requests[row : row + 1]))
            assert denoised(pipeline)[0][0][row].equal(denoised(alone)[0][0][0])
        assert pipeline.config_hash != make(ROWS["ona"]).config_hash
        other = replace(check, min_psnr=98.0)
        assert pipeline.config_hash != make(ROWS["ona"], inversion_check=other).config_hash
        assert make(ROWS["spr"], inversion_check=check).config_hash == make(ROWS["spr"]).config_hash


class TestMemory:
    @pytest.mark.parametrize("call", [1, 6])  # of the inversion, of the denoising
    def test_too_little_of_it_is_one_sentence_with_what_helps(self, make, monkeypatch, call: int):
        pipeline = make(ROWS["ona"], batch_size=3)
        predict = pipeline.backbone.predict

        def limited(*arguments):
            if len(pipeline.backbone.calls) == call - 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nGPU 0 has ...")
            return predict(*arguments)

        monkeypatch.setattr(pipeline.backbone, "predict", limited)
        with pytest.raises(PosError) as raised:
            list(pipeline.generate(make_requests(["red"])))
        said = str(raised.value)
        assert said.startswith("Out of memory with batch_size=3, 2 frames of 4x4 pixels and torch.float32")
        for key in ("lower batch_size, frames, height or width", "precision=fp16", "backbone.decode_chunk"):
            assert key in said
        assert len(said.splitlines()) == 1

    @pytest.mark.parametrize(("guidance", "sizes"), [(1.0, [1, 1, 1]), (3.0, [2, 1])])
    def test_as_many_clips_are_inverted_at_a_time_as_the_network_sees(self, make, guidance, sizes):
        pipeline = make(ROWS["ona"], batch_size=1, guidance=guidance)
        list(pipeline.generate(make_requests(["red", "green", "blue"])))
        inverting = [len(latents) for latents, _, colours in pipeline.backbone.calls if not colours.any()]
        assert inverting[:: pipeline.steps] == sizes


def test_samples_come_in_order_and_as_they_are_made(make):
    requests = make_requests(["red", "green", "blue"], [0, 1])
    pipeline = make(batch_size=2)
    stream = pipeline.generate(requests)
    first = next(stream)
    assert isinstance(first, Sample)
    assert len(pipeline.backbone.calls) == pipeline.steps, "the second batch waits until it is requested"
    samples = [first, *stream]
    assert [sample.request for sample in samples] == requests
    assert all(s.video.dtype == torch.uint8 and s.video.shape == (2, 3, 4, 4) for s in samples)
    assert list(pipeline.generate([])) == []
