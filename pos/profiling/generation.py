"""Generation beside diffusers: the same weights, latents, texts, steps and guidance in one run."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pos.devices import device_name, resolve_device, resolve_precision
from pos.errors import PosError
from pos.networks.acceleration import Acceleration
from pos.profiling import measures
from pos.profiling.method import method_costs
from pos.profiling.runners import Ours, RandomText, randomize
from pos.profiling.subjects import DiffusersPipeline, Subject

TIMESTEP = 501.0  # of a single forward; a float, as in a level table
Row = dict[str, Any]
Runner = Ours | DiffusersPipeline


@dataclass(frozen=True)
class GenerationBench:
    """What is run.

    Attributes:
        accelerations: of our network, one after the other.
        batches: videos at a time.
        precisions: the first is timed; the accuracy of all is measured against float32.
        steps: DDIM steps of a video.
        repeats: runs of which the median counts.
        accuracy: whether errors against float32 are measured (costs a video in float32).
        kernels: whether the kernels of a forward are listed.
        pos_cost: whether POS and inversion are measured beside the plain model.
        seed: of weights and latents.
    """

    accelerations: Sequence[Acceleration]
    batches: Sequence[int]
    precisions: Sequence[str]
    steps: int
    repeats: int
    accuracy: bool
    kernels: bool
    pos_cost: bool
    seed: int

    def __post_init__(self) -> None:
        for name in ("accelerations", "batches", "precisions"):
            if not getattr(self, name):
                raise PosError(f"{name} is empty: name at least one.")
        if min(self.steps, self.repeats, *self.batches) < 1:
            raise PosError("steps, repeats and batches must be at least 1.")


@torch.no_grad()
def bench_generate(subject: Subject, plan: GenerationBench, device: str) -> Iterator[Row]:
    """Measure a model; every row is given as soon as it is measured.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ...

    Yields:
        JSON-able rows, each with its kind in ``case``: ``card``, ``speed``, ``accuracy``, ``profile``,
        ``method``.

    Raises:
        PosError: no such device, precision or acceleration.
    """
    place = resolve_device(device)
    bench = _Bench(subject, plan, place)
    yield bench.card()
    exact = bench.exact() if plan.accuracy else None
    theirs = bench.theirs(plan.precisions[0])
    if theirs:
        yield from bench.measure("diffusers", theirs, exact)
    for precision in plan.precisions[1:] if exact and theirs else ():
        theirs = None
        theirs = bench.theirs(precision)
        yield bench.accuracy("diffusers", precision, theirs, exact)
    theirs = None
    for how in plan.accelerations:
        ours = None
        ours = bench.ours(plan.precisions[0], how)
        yield from bench.measure(how, ours, exact)
    if plan.pos_cost:
        yield from method_costs(ours.backbone, max(plan.batches), plan.steps, plan.repeats)
    for precision in plan.precisions[1:] if exact else ():
        ours = None
        ours = bench.ours(precision, plan.accelerations[-1])
        yield bench.accuracy(plan.accelerations[-1], precision, ours, exact)


class _Bench:
    """The weights and inputs that all runs share."""

    def __init__(self, subject: Subject, plan: GenerationBench, place: torch.device) -> None:
        self.subject, self.plan, self.place = subject, plan, place
        generator = torch.Generator(place).manual_seed(plan.seed)
        with place:
            self.network, self.vae = subject.build_network().eval(), subject.build_vae().eval()
        for part in (self.network, self.vae):
            randomize(part, generator)
        most = max(plan.batches)
        factor = 2 ** (len(subject.vae_channels) - 1)
        size = (subject.frames, subject.height // factor, subject.width // factor)
        self.latents = torch.randn(most, 4, *size, generator=generator, device=place)
        self.texts = RandomText(subject.text_shapes())
        self.seconds: dict[int, tuple[float, float]] = {}  # of diffusers, by batch: latents, decoding

    def card(self) -> Row:
        precision = self.plan.precisions[0]
        rate = measures.matmul_rate(self.place, precision)
        with torch.device("meta"):
            network = self.subject.build_network().eval()
        latents, text = self.guided(1, torch.float32)
        inputs = {"latents": latents, "timesteps": torch.zeros(len(latents)), **text}
        self.flops, self.rate = measures.forward_flops(network, inputs), rate
        return {
            "case": "card",
            "subject": self.subject.name,
            "device": device_name(self.place, 1),
            "torch": torch.__version__,
            "precision": precision,
            "matmul_tflops": round(rate / measures.TERA, 2),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "guided_step_tflop": round(self.flops / measures.TERA, 4),
        }

    def text(self, prompts: Sequence[str], dtype: torch.dtype) -> dict[str, Tensor]:
        return {name: tensor.to(self.place, dtype) for name, tensor in self.texts(prompts).items()}

    def guided(self, batch: int, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents and texts of one guided forward: the batch twice, without and with its prompts."""
        latents = self.latents[:batch].to(dtype)
        prompts = [""] * batch + [str(row) for row in range(batch)]
        return torch.cat([latents, latents]), self.text(prompts, dtype)

    def theirs(self, precision: str) -> DiffusersPipeline | None:
        self._tidy()
        with self.place:
            runner = self.subject.pipeline(self.network, copy.deepcopy(self.vae))
        if runner:
            runner.cast(resolve_precision(precision))
        return runner

    def ours(self, precision: str, how: Acceleration) -> Ours:
        self._tidy()
        parts = copy.deepcopy(self.network), copy.deepcopy(self.vae)
        return Ours(self.subject, *parts, self.place, precision, how)

    def _tidy(self) -> None:
        gc.collect()
        self.held = measures.held_memory(self.place)

    def exact(self) -> tuple[Tensor, Tensor]:
        """One forward and one video's latents in float32, by diffusers where it has the model."""
        runner = self.theirs("fp32") or self.ours("fp32", "none")
        with measures.exact_float32():
            return self._answers(runner, torch.float32)

    def _answers(self, runner: Runner, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        latents, text = self.guided(1, dtype)
        return self._forward(runner, latents, text), self._sample(runner, 1, dtype)

    def _forward(self, runner: Runner, latents: Tensor, text: dict[str, Tensor]) -> Tensor:
        return runner.forward(latents, TIMESTEP, text)

    def _sample(self, runner: Runner, batch: int, dtype: torch.dtype) -> Tensor:
        """The clean latents; ours are float32 between the steps, as our pipeline has them."""
        latents = self.latents[:batch] if isinstance(runner, Ours) else self.latents[:batch].to(dtype)
        text = self.text([str(row) for row in range(batch)], dtype)
        empty = self.text([""] * batch, dtype)
        return runner.sample(latents, text, empty, self.plan.steps, self.subject.guidance)

    def accuracy(self, who: str, precision: str, runner: Runner, exact: tuple[Tensor, Tensor]) -> Row:
        forward, final = self._answers(runner, resolve_precision(precision))
        return {
            "case": "accuracy",
            "subject": self.subject.name,
            "who": who,
            "precision": precision,
            "forward_error": measures.relative_error(forward, exact[0]),
            "latents_error": measures.relative_error(final, exact[1]),
        }

    def measure(self, who: str, runner: Runner, exact: tuple[Tensor, Tensor] | None) -> Iterator[Row]:
        precision = self.plan.precisions[0]
        for batch in self.plan.batches:
            yield self._speed(who, runner, batch, resolve_precision(precision))
        if exact:
            yield self.accuracy(who, precision, runner, exact)
        if self.plan.kernels:
            latents, text = self.guided(1, resolve_precision(precision))
            found = measures.kernels(lambda: self._forward(runner, latents, text), self.place)
            yield {"case": "profile", "subject": self.subject.name, "who": who, **found}

    def _speed(self, who: str, runner: Runner, batch: int, dtype: torch.dtype) -> Row:
        latents, text = self.guided(batch, dtype)
        first, _ = measures.timed(lambda: self._forward(runner, latents, text), self.place)
        sampling, final = measures.timed(
            lambda: self._sample(runner, batch, dtype), self.place, self.plan.repeats
        )
        runner.decode(final)  # its kernels are chosen
        decoding, _ = measures.timed(lambda: runner.decode(final), self.place, self.plan.repeats)
        if who == "diffusers":
            self.seconds[batch] = (sampling, decoding)
        rate = self.flops * batch * self.plan.steps / sampling
        row = {
            "case": "speed",
            "subject": self.subject.name,
            "who": who,
            "batch": batch,
            "steps": self.plan.steps,
            "first_forward_seconds": round(first, 3),
            "latents_seconds_per_video": round(sampling / batch, 4),
            "decode_seconds_per_video": round(decoding / batch, 4),
            "tflops": round(rate / measures.TERA, 2),
            "of_card": round(rate / self.rate, 4),
            "peak_memory_gib": round((measures.peak_memory(self.place) - self.held) / measures.GIB, 3),
        }
        if batch in self.seconds:
            theirs = self.seconds[batch]
            row["latents_over_diffusers"] = round(sampling / theirs[0], 4)
            row["video_over_diffusers"] = round((sampling + decoding) / sum(theirs), 4)
        return row
