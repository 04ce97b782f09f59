"""Prompt to video: the one place that wires ONA, SPR and a backbone together."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pos import __version__
from pos.backbones.base import Backbone, Conditioning
from pos.devices import memory_advice
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.noise import base_noise, sample_generators
from pos.errors import PosError
from pos.method import Method
from pos.ona.inversion import Inverted, Inverter
from pos.ona.mixture import mix, noise_statistics
from pos.ona.npnet import NPNet
from pos.ona.reconstruction import Check
from pos.prefetch import prefetched
from pos.provenance import PipelineSettings, Plan, Provenance, Request, Sample
from pos.retrieval import Neighbour, Retriever
from pos.spr.hybrid import HybridSemantics, rewritten_steps
from pos.spr.rewriting import Rewrite, Rewriter
from pos.storage import RecordCache, TensorCache, content_hash

log = logging.getLogger(__name__)

PACKAGES = ("torch", "diffusers", "transformers")
"""Their versions are recorded in the provenance."""

PLANNED_VIDEOS = 1024
"""Videos prepared at a time; their guided noises stay in memory until they are used."""


@dataclass
class Pipeline:
    """Generates videos from prompts with one backbone and one method.

    Attributes:
        backbone: the frozen text-to-video model.
        method: what is done to noise and text.
        retriever: pool and sentence encoder; needed by ONA and SPR.
        rewriter: needed by SPR.
        npnet: needed by POS*.
        steps, guidance, frames, height, width: None takes the backbone's default.
        negative_prompt: conditions the unconditional pass of the guidance.
        batch_size: videos denoised at a time; as many clips are inverted at a time as the networks then see.
        inversion_check: reconstructs clips from their inverted noises; None does not.
        cache_dir: folder of the cached inversions.

    Raises:
        PosError: a part that the method needs is missing, or a value is outside its range.
    """

    backbone: Backbone
    method: Method
    retriever: Retriever | None = None
    rewriter: Rewriter | None = None
    npnet: NPNet | None = None
    steps: int | None = None
    guidance: float | None = None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    negative_prompt: str = ""
    batch_size: int = 8
    inversion_check: Check | None = None
    cache_dir: Path | str = "outputs/cache"

    def __post_init__(self) -> None:
        defaults = self.backbone.defaults
        for name in ("steps", "guidance", "frames", "height", "width"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(defaults, name))
        for name in ("steps", "frames", "height", "width", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise PosError(f"{name}={value} is not allowed: it must be a whole number of at least 1.")
        if not (isinstance(self.guidance, int | float) and 0 <= self.guidance < math.inf):
            raise PosError(f"guidance={self.guidance} is not allowed: it is a number from 0, 1 for none.")
        self.guidance = float(self.guidance)  # 4 and 4.0 are one setting: they must hash alike
        if self.retriever is None and self.method.retrieves:
            raise PosError(
                "The method retrieves from a pool, but there is none: choose pool=shapes or pool=folder."
            )
        if self.method.rewrites and self.rewriter is None:
            raise PosError("The method rewrites prompts, but there is no rewriter: choose rewriter=shapes.")
        if self.method.predicts and self.npnet is None:
            raise PosError("The method predicts noise, but no NPNet is given: choose one with npnet=shapes.")

    @property
    def config_hash(self) -> str:
        """Hash of everything that decides the pixels of a video, except its prompt and seed."""
        parts: list[Any] = [asdict(self.method.effective), self.steps, self.guidance]
        parts += [self.frames, self.height, self.width, self.negative_prompt]
        parts += [self.backbone.fingerprint, str(self.backbone.dtype)]
        if self.method.retrieves:
            parts += [self.retriever.pool.fingerprint, self.retriever.encoder.fingerprint]
        if self.method.rewrites:
            parts.append(self.rewriter.fingerprint)
        if self.method.predicts:
            parts.append(self.npnet.fingerprint)
        if self.method.inverts and self.inversion_check is not None and self.inversion_check.lower_eta:
            parts.append(self.inversion_check.min_psnr)
        return content_hash(*parts)

    def generate(self, requests: Sequence[Request]) -> Iterator[Sample]:
        """Generate the videos in order, after retrieval, rewriting and inversion, which are cached.

        Raises:
            PosError: an empty prompt; latents that became NaN; whatever the parts raise.
        """
        for request in requests:
            if not request.prompt.strip():
                raise PosError(f"The prompt {request.prompt!r} is empty: give it at least one word.")
        if self.method.ddim_eta > 0:
            log.warning(
                "ddim_eta=%g draws noise at every step: little remains of the noise that a video starts from "
                "(the model's authors use %g).",
                self.method.ddim_eta,
                self.backbone.defaults.ddim_eta,
            )
        settings = self._settings()
        with (
            memory_advice(self._size()),
            tqdm(total=len(requests), desc="Generating", unit="video", disable=len(requests) < 2) as progress,
        ):
            for start in range(0, len(requests), PLANNED_VIDEOS):
                plans = self._plan(requests[start : start + PLANNED_VIDEOS])
                batches = [plans[i : i + self.batch_size] for i in range(0, len(plans), self.batch_size)]
                for batch, eps in prefetched(batches, lambda batch: (batch, self._base_noise(batch))):
                    yield from self._generate_batch(batch, eps, settings)
                    progress.update(len(batch))

    def answered(self, requests: Sequence[Request]) -> list[Request]:
        """Those whose prompts the language model answers; it is asked where its answer is not cached."""
        if not requests:
            return []
        rewrites = self._rewrite([request.prompt for request in requests])[1]
        return [request for request, rewrite in zip(requests, rewrites, strict=True) if rewrite.answered]

    def _size(self) -> str:
        """The settings that decide how much memory is needed, and how to need less."""
        return (
            f"batch_size={self.batch_size}, {self.frames} frames of {self.height}x{self.width} pixels and "
            f"{self.backbone.dtype} on {self.backbone.device}: lower batch_size, frames, height or width, "
            "choose precision=fp16, or lower backbone.decode_chunk"
        )

    def _plan(self, requests: Sequence[Request]) -> list[Plan]:
        """Neighbours (Eq. 3, 6), rewrites (Eq. 7) and inverted noises (Eq. 2) of the requests."""
        neighbours, rewrites = self._rewrite([request.prompt for request in requests])
        inverts = self.method.inverts
        inverted = self._invert([found[0] for found in neighbours]) if inverts else [None] * len(requests)
        return [Plan(*parts) for parts in zip(requests, neighbours, rewrites, inverted, strict=True)]

    def _rewrite(self, prompts: Sequence[str]) -> tuple[list[list[Neighbour]], list[Rewrite | None]]:
        """The neighbours of each prompt and its rewrite, empty and None where the method needs none."""
        neighbours: list[list[Neighbour]] = [[] for _ in prompts]
        rewrites: list[Rewrite | None] = [None for _ in prompts]
        k = self.rewriter.references if self.method.rewrites else 1
        if self.method.inverts or (self.method.rewrites and k):  # k = 0 rewrites without references
            neighbours = self.retriever.nearest(prompts, max(k, 1))
        if self.method.rewrites:
            references = [[neighbour.caption for neighbour in found[:k]] for found in neighbours]
            rewrites = self.rewriter.rewrite(prompts, references, self.retriever.encoder)
        return neighbours, rewrites

    def _invert(self, nearest: Sequence[Neighbour]) -> list[Inverted]:
        """The guided noise of each request's nearest clip; a clip of several requests is inverted once."""
        inverter = Inverter(
            self.backbone,
            TensorCache(self.cache_dir, "inversions"),
            steps=self.steps,
            method=self.method.inversion,
            batch_size=self.batch_size * (1 if self.guidance == 1 else 2),  # inverting has no guidance
            check=self.inversion_check is not None,
        )
        clips = sorted({neighbour.index for neighbour in nearest})
        keys, loaded = self._clip_keys(inverter, clips)
        inverted = inverter.of_keys(
            keys,
            lambda place: loaded[clips[place]] if clips[place] in loaded else self._clips([clips[place]])[0],
            lambda batches, total: tqdm(batches, "Inverting", total, unit="batch", disable=not total),
        )
        if self.inversion_check is not None:
            ids = [self.retriever.pool.ids[clip] for clip in clips]
            found = [result.reconstruction.psnr for result in inverted]
            self.inversion_check.warn(dict(zip(ids, found, strict=True)))
        by_clip = dict(zip(clips, inverted, strict=True))
        return [by_clip[neighbour.index] for neighbour in nearest]

    def _clips(self, indices: Sequence[int]) -> list[Tensor]:
        return self.retriever.pool.videos(indices, self.frames, self.height, self.width)

    def _clip_keys(self, inverter: Inverter, clips: Sequence[int]) -> tuple[list[str], dict[int, Tensor]]:
        """The cache key of each clip's inversion, which hashes its pixels, and the clips loaded for that.

        Keys are remembered by the hash of the clip's content where the pool has one, so that a clip whose
        inversion is cached is neither rendered nor decoded again.
        """
        contents, size = self.retriever.pool.contents, [self.frames, self.height, self.width]
        known = None if contents is None else RecordCache(self.cache_dir, "clip_keys")
        names = {clip: contents and content_hash(contents[clip], size, *inverter.settings) for clip in clips}
        new = [clip for clip in clips if known is None or known.get(names[clip]) is None]
        loaded = dict(zip(new, self._clips(new), strict=True))
        keys = {clip: inverter.key(video) for clip, video in loaded.items()}
        if known is not None:
            known.put_all({names[clip]: key for clip, key in keys.items()})
            keys = {clip: known.get(names[clip]) for clip in clips}
        return [keys[clip] for clip in clips], loaded

    def _base_noise(self, plans: Sequence[Plan]) -> Tensor:
        """eps of Eq. 4, (b, c, f, h, w), one draw for each id and seed."""
        shape = self.backbone.latent_shape(self.frames, self.height, self.width)
        return base_noise(shape, [plan.request.id for plan in plans], [plan.request.seed for plan in plans])

    def _generate_batch(
        self, plans: Sequence[Plan], eps: Tensor, settings: PipelineSettings
    ) -> Iterator[Sample]:
        started = time.perf_counter()
        ids, seeds = [plan.request.id for plan in plans], [plan.request.seed for plan in plans]
        eps_start, predicted = self._mix(eps.to(self.backbone.device), plans)
        guided = Guided(self.backbone.predict, self._semantics(plans).at, self._empty(plans), self.guidance)
        generators = sample_generators(ids, seeds, "ddim_eta") if self.method.ddim_eta > 0 else None
        latents = sample(
            guided,
            eps_start,
            self.backbone.levels(self.steps),
            ddim_eta=self.method.ddim_eta,
            generators=generators,
            progress=_by_step,
        )
        videos, statistics = self.backbone.decode(latents), noise_statistics(eps_start)
        seconds = (time.perf_counter() - started) / len(plans)
        evaluations = guided.evaluations + predicted
        for plan, video, noise in zip(plans, videos, statistics, strict=True):
            provenance = Provenance.of(plan, noise, self._eta(plan), evaluations, seconds, settings)
            yield Sample(plan.request, video, provenance)

    def _mix(self, eps: Tensor, plans: Sequence[Plan]) -> tuple[Tensor, int]:
        """eps_mix of Eq. 4, and how many network evaluations the prediction of the guided noise took."""
        if self.method.inverts:
            guided_noise, evaluations = torch.stack([plan.inverted.noise for plan in plans]), 0
        elif self.method.predicts:
            requests = [plan.request for plan in plans]
            prompts, ids, seeds = zip(
                *[(request.prompt, request.id, request.seed) for request in requests], strict=True
            )
            guided_noise, evaluations = self.npnet.predict_noise(
                prompts, ids, seeds, eps.shape[1:], self.steps
            )
        else:
            return eps, 0
        guided_noise = guided_noise.to(eps.device)
        etas, preserving = [self._eta(plan) for plan in plans], self.method.variance_preserving
        if len(set(etas)) == 1:
            return mix(eps, guided_noise, etas[0], preserving), evaluations
        rows = zip(eps.split(1), guided_noise.split(1), etas, strict=True)
        return torch.cat([mix(own, guided, eta, preserving) for own, guided, eta in rows]), evaluations

    def _eta(self, plan: Plan) -> float:
        """The weight of a video's guided noise: the method's, unless its clip was badly inverted."""
        if plan.inverted is None or self.inversion_check is None:
            return self.method.eta
        return self.inversion_check.eta(self.method.eta, plan.inverted.reconstruction.psnr)

    def _semantics(self, plans: Sequence[Plan]) -> HybridSemantics:
        """The conditioning of every step (Eq. 8); without a rewrite both halves are the original prompt."""
        original = self.backbone.encode_text([plan.request.prompt for plan in plans])
        if not self.method.rewrites:
            return HybridSemantics(original, original, 0)
        rewritten = self.backbone.encode_text([plan.rewrite.text for plan in plans])
        return HybridSemantics(rewritten, original, self._rewritten_steps())

    def _empty(self, plans: Sequence[Plan]) -> Conditioning | None:
        """The conditioning of the unconditional pass, a row for each plan; None without guidance."""
        if self.guidance == 1:
            return None
        return self.backbone.encode_text([self.negative_prompt]).repeat(len(plans))

    def _rewritten_steps(self) -> int:
        """m of Eq. 8, counted in the steps of the level table: VideoCrafter's may have one more."""
        return rewritten_steps(self.backbone.levels(self.steps).steps, self.method.gamma)

    def _settings(self) -> PipelineSettings:
        """What all videos of this pipeline share in their provenance."""
        return PipelineSettings(
            method=self.method,
            rewritten_steps=self._rewritten_steps(),
            backbone=self.backbone.name,
            native=self.backbone.defaults,
            steps=self.steps,
            guidance=self.guidance,
            negative_prompt=self.negative_prompt,
            config=self.config_hash,
            versions={"pos": __version__, **{name: version(name) for name in PACKAGES}},
        )


def _by_step(steps: range) -> tqdm:
    """A progress bar of the steps of a batch, shown on a terminal after two seconds."""
    return tqdm(steps, desc="Denoising", unit="step", leave=False, delay=2, disable=None)
