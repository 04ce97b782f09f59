"""Prompt to video: the one place that wires ONA, SPR and a backbone together."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from pos import __version__
from pos.backbones.base import Backbone, Conditioning
from pos.devices import memory_advice
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.noise import base_noise, sample_generators
from pos.errors import PosError
from pos.method import Method
from pos.noise.build import build_source
from pos.noise.choice import choose_clips
from pos.noise.source import NoiseSource
from pos.ona.mixture import noise_statistics
from pos.ona.npnet import NPNet
from pos.ona.reconstruction import Check
from pos.prefetch import prefetched
from pos.provenance import PipelineSettings, Plan, Provenance, Request, Sample
from pos.retrieval import Neighbour, Retriever
from pos.spr.hybrid import HybridSemantics, rewritten_steps
from pos.spr.rewriting import Rewrite, Rewriter
from pos.storage import content_hash

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
        if self.retriever is None and self.method.needs_pool:
            raise PosError(
                "The method takes clips or captions of a pool, but there is none: choose pool=shapes or "
                "pool=folder."
            )
        if self.method.rewrites and self.rewriter is None:
            raise PosError("The method rewrites prompts, but there is no rewriter: choose rewriter=shapes.")
        if self.method.predicts and self.npnet is None:
            raise PosError("The method predicts noise, but no NPNet is given: choose one with npnet=shapes.")

    @property
    def config_hash(self) -> str:
        """Hash of everything that decides the pixels of a video, except its prompt and seed."""
        parts: list[Any] = [self.method.identity, self.steps, self.guidance]
        parts += [self.frames, self.height, self.width, self.negative_prompt]
        parts += [self.backbone.fingerprint, str(self.backbone.dtype)]
        if self.method.retrieves:
            parts += [self.retriever.pool.fingerprint, self.retriever.encoder.fingerprint]
        elif self.method.needs_pool:
            parts.append(self.retriever.pool.fingerprint)
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

    @cached_property
    def _source(self) -> NoiseSource:
        """What makes the noise that denoising starts from."""
        return build_source(
            self.method,
            self.backbone,
            pool=self.retriever.pool if self.method.needs_pool else None,
            npnet=self.npnet,
            steps=self.steps,
            size=(self.frames, self.height, self.width),
            batch_size=self.batch_size * (1 if self.guidance == 1 else 2),  # clips need no guidance
            check=self.inversion_check,
            cache=self.cache_dir,
        )

    def _size(self) -> str:
        """The settings that decide how much memory is needed, and how to need less."""
        return (
            f"batch_size={self.batch_size}, {self.frames} frames of {self.height}x{self.width} pixels and "
            f"{self.backbone.dtype} on {self.backbone.device}: lower batch_size, frames, height or width, "
            "choose precision=fp16, or lower backbone.decode_chunk"
        )

    def _plan(self, requests: Sequence[Request]) -> list[Plan]:
        """Neighbours (Eq. 3, 6), rewrites (Eq. 7) and what the noise source makes of clips (Eq. 2)."""
        neighbours, rewrites = self._rewrite([request.prompt for request in requests])
        clips: list[list[Neighbour]] = [[] for _ in requests]
        if self.method.takes_clips:
            clips = choose_clips(requests, self.method, self.retriever)
        guides = self._source.prepare(clips)
        return [Plan(*parts) for parts in zip(requests, neighbours, rewrites, guides, strict=True)]

    def _rewrite(self, prompts: Sequence[str]) -> tuple[list[list[Neighbour]], list[Rewrite | None]]:
        """The neighbours of each prompt and its rewrite, empty and None where the method needs none."""
        neighbours: list[list[Neighbour]] = [[] for _ in prompts]
        rewrites: list[Rewrite | None] = [None for _ in prompts]
        k = self.rewriter.references if self.method.rewrites else 1
        nearest = self.method.takes_clips and self.method.neighbour == "nearest"
        if nearest or (self.method.rewrites and k):  # k = 0 rewrites without references
            neighbours = self.retriever.nearest(prompts, max(k, 1))
        if self.method.rewrites:
            references = [[neighbour.caption for neighbour in found[:k]] for found in neighbours]
            rewrites = self.rewriter.rewrite(prompts, references, self.retriever.encoder)
        return neighbours, rewrites

    def _base_noise(self, plans: Sequence[Plan]) -> Tensor:
        """eps of Eq. 4, (b, c, f, h, w), one draw for each id and seed."""
        shape = self.backbone.latent_shape(self.frames, self.height, self.width)
        return base_noise(shape, [plan.request.id for plan in plans], [plan.request.seed for plan in plans])

    def _generate_batch(
        self, plans: Sequence[Plan], eps: Tensor, settings: PipelineSettings
    ) -> Iterator[Sample]:
        started = time.perf_counter()
        ids, seeds = [plan.request.id for plan in plans], [plan.request.seed for plan in plans]
        whole = self.backbone.levels(self.steps)
        start = self._source.start(eps.to(self.backbone.device), plans, whole)
        table = whole.first(self._source.steps(whole))
        semantics, skipped = self._semantics(plans), whole.steps - table.steps
        guided = Guided(
            self.backbone.predict,
            lambda index: semantics.at(index + skipped),
            self._empty(plans),
            self.guidance,
        )
        generators = sample_generators(ids, seeds, "ddim_eta") if self.method.ddim_eta > 0 else None
        latents = sample(
            guided,
            start.noise,
            table,
            ddim_eta=self.method.ddim_eta,
            generators=generators,
            progress=_by_step,
        )
        videos, statistics = self.backbone.decode(latents), noise_statistics(start.noise)
        seconds = (time.perf_counter() - started) / len(plans)
        evaluations = guided.evaluations + start.evaluations
        for plan, video, noise, eta in zip(plans, videos, statistics, start.etas, strict=True):
            provenance = Provenance.of(plan, noise, eta, evaluations, seconds, settings)
            yield Sample(plan.request, video, provenance)

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
