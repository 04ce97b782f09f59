"""DDIM sampling (Eq. 1) and inversion (Eq. 2) over a level table, and classifier-free guidance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from pos.diffusion.levels import Level, LevelTable
from pos.errors import PosError

Predict = Callable[[Tensor, Level, int], Tensor]
"""(latents (b, c, f, h, w), level, denoising step counted from 0) -> raw output, shaped as the latents."""

Progress = Callable[[Iterable[int]], Iterable[int]]
"""Wraps the loop over steps, for instance ``tqdm``."""

InversionMethod = Literal["next", "printed", "fixed_point"]


@dataclass(frozen=True)
class Inversion:
    """The result of an inversion.
    Attributes:
        noise: eps_inv, shaped as the latents.
        residual: (b,) float32; for ``fixed_point`` the largest relative change, over the steps, in the last
            iteration of a step (a step is converged where it is below the tolerance); None for the explicit
            methods, which do not iterate.
        evaluations: calls of ``predict``.
    """

    noise: Tensor
    residual: Tensor | None
    evaluations: int


@torch.no_grad()
def sample(
    predict: Predict,
    eps: Tensor,
    table: LevelTable,
    *,
    ddim_eta: float = 0.0,
    generators: Sequence[torch.Generator] | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Denoise from the noisiest level of the table to the clean one (Eq. 1; Song et al. 2021, Eq. 12).

    Args:
        predict: the network's raw output, guidance included.
        eps: (b, c, f, h, w), the noise that denoising starts from (Eq. 5).
        ddim_eta: 0 is deterministic; 1 is ancestral sampling, which removes the effect of guided noise.
        generators: one CPU generator per sample, needed where ``ddim_eta`` > 0.
        progress: wraps the loop over steps.

    Returns:
        The clean latents, shaped as ``eps``.

    Raises:
        PosError: ``ddim_eta`` outside [0, 1] or without its generators; latents that became NaN or infinite
            (names the step).
    """
    _check_ddim_eta(ddim_eta, generators, len(eps))
    latents = eps
    for index in _steps(table, progress):
        level, target = table[table.steps - index], table[table.steps - index - 1]
        x0, direction = table.split(predict(latents, level, index), latents, level)
        sigma = ddim_sigma(level, target, ddim_eta)
        latents = target.signal * x0 + math.sqrt(max(target.noise**2 - sigma**2, 0.0)) * direction
        if sigma > 0 and generators is not None:  # _check_ddim_eta has seen them
            latents = latents + sigma * _fresh_noise(latents, generators)
        _check_finite(latents, "denoising", index, table.steps)
    return latents


def ddim_sigma(level: Level, target: Level, ddim_eta: float) -> float:
    """The standard deviation of the noise a step adds (Song et al. 2021, Eq. 16, with abar = 1 - noise^2).

    It depends on the noise scales alone: VideoCrafter computes it before it rescales the signal.
    """
    if ddim_eta == 0:
        return 0.0
    ratio = (1 - level.noise**2) / (1 - target.noise**2)
    return ddim_eta * target.noise / level.noise * math.sqrt(1 - ratio)


@torch.no_grad()
def invert(
    predict: Predict,
    latents: Tensor,
    table: LevelTable,
    *,
    method: InversionMethod = "next",
    iterations: int = 20,
    tolerance: float = 1e-6,
    first: int = 0,
    progress: Progress | None = None,
) -> Inversion:
    """Invert ``latents`` to the noise from which deterministic sampling returns to them (Eq. 2), in T steps.

    For the step from level k to k + 1, ``next`` evaluates the network at (x_k, level k + 1), as diffusers,
    Tune-A-Video and null-text inversion do; ``printed`` evaluates it at (x_k, level k), as Eq. 2 is written;
    ``fixed_point`` starts from ``next`` and solves for the x_{k+1} that a denoising step maps to x_k. Both
    explicit methods are first-order approximations of the latter. Eq. 2 is written for eps: the output of a
    network that predicts something else is converted to eps at the level of its evaluation. (diffusers'
    DDIMInverseScheduler converts v at level k after an evaluation at k + 1, which is inconsistent: its round
    trip has a relative error of 1.5 on Shapes, instead of 0.3.)

    Args:
        predict: the network's raw output; the paper uses the empty prompt and no guidance.
        latents: (b, c, f, h, w), the clean latents, or those at level ``first``.
        iterations, tolerance: of ``fixed_point``: the most evaluations a step, and the relative change of a
            sample at which its iteration stops. A sample that has stopped no longer depends on the others of
            its batch.
        first: the level that ``latents`` are at, 0 where they are clean.
        progress: wraps the loop over steps.

    Raises:
        PosError: an unknown method; latents that became NaN or infinite (names the step).
    """
    if method not in ("next", "printed", "fixed_point"):
        raise PosError(f"inversion={method!r} is unknown: choose next, printed or fixed_point.")
    if iterations < 2:
        raise PosError(
            f"iterations={iterations} is not allowed: fixed_point needs at least 2 evaluations a step."
        )
    residual = torch.zeros(len(latents), device=latents.device) if method == "fixed_point" else None
    evaluations = 0
    steps = range(first, table.steps)
    for step in steps if progress is None else progress(steps):
        level, target = table[step], table[step + 1]
        index = table.steps - 1 - step
        evaluated = level if method == "printed" else target
        raw = predict(latents, evaluated, index)
        direction = table.split(raw, latents, evaluated)[1]
        x0 = (latents - level.noise * direction) / level.signal
        raised = target.signal * x0 + target.noise * direction
        evaluations += 1
        if residual is not None:
            raised, change, count = _solve_step(
                predict, latents, raised, table, step, iterations - 1, tolerance
            )
            residual = torch.maximum(residual, change)
            evaluations += count
        latents = raised
        _check_finite(latents, "inversion", step, table.steps)
    return Inversion(latents, residual, evaluations)


def _solve_step(
    predict: Predict,
    latents: Tensor,
    guess: Tensor,
    table: LevelTable,
    step: int,
    iterations: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, int]:
    """Iterate ``guess`` towards the x_{k+1} that one denoising step takes to ``latents``.

    A denoising step is ``x_k = keep * x_{k+1} + move * raw(x_{k+1})``; the iteration holds raw and solves for
    x_{k+1}.
    """
    level, target = table[step], table[step + 1]
    (a, b), (c, d) = table.split_weights(target)
    keep, move = level.signal * a + level.noise * c, level.signal * b + level.noise * d
    index = table.steps - 1 - step
    change = torch.full((len(latents),), math.inf, device=latents.device)
    for count in range(iterations):
        active = change > tolerance
        if not active.any():
            return guess, change, count
        update = (latents - move * predict(guess, target, index)) / keep
        change = torch.where(active, _relative_change(update, guess), change)
        guess = torch.where(active.view(-1, *[1] * (guess.ndim - 1)), update, guess)
    return guess, change, iterations


def _relative_change(update: Tensor, guess: Tensor) -> Tensor:
    difference = (update - guess).flatten(1).float().norm(dim=1)
    return difference / guess.flatten(1).float().norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)


class _Concatenable(Protocol):
    """The part of a conditioning that guidance needs; the backbones' ``Conditioning`` implements it."""

    @staticmethod
    def concat(parts: Sequence[Any]) -> Any: ...


C = TypeVar("C", bound=_Concatenable)


@dataclass
class Guided(Generic[C]):
    """Classifier-free guidance (Ho and Salimans 2022) as a ``Predict``: ``uncond + scale * (cond - uncond)``.

    Both passes run as one batch of twice the size; a scale of 1 runs no unconditional pass.

    Attributes:
        network: (latents, level, conditioning) -> raw output, for instance ``backbone.predict``.
        conditioning: the conditioning of a denoising step, counted from 0: ``HybridSemantics.at``, or
            ``lambda _: condition``.
        unconditional: one row per sample; unused where the scale is 1.
        scale: finite; 1 means no guidance.
        evaluations: network evaluations a sample so far; an unconditional pass counts as one.
    """

    network: Callable[[Tensor, Level, C], Tensor]
    conditioning: Callable[[int], C]
    unconditional: C | None = None
    scale: float = 1.0
    evaluations: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise PosError(f"guidance={self.scale} is not allowed: give a finite number, 1 for no guidance.")
        if self.scale != 1 and self.unconditional is None:
            raise PosError(
                f"guidance={self.scale} needs an unconditional embedding; without one give guidance=1."
            )

    def __call__(self, latents: Tensor, level: Level, index: int) -> Tensor:
        condition = self.conditioning(index)
        if self.scale == 1:
            self.evaluations += 1
            return self.network(latents, level, condition)
        self.evaluations += 2
        both = type(condition).concat([self.unconditional, condition])
        uncond, cond = self.network(torch.cat([latents, latents]), level, both).chunk(2)
        return uncond + self.scale * (cond - uncond)


def _steps(table: LevelTable, progress: Progress | None) -> Iterable[int]:
    steps = range(table.steps)
    return steps if progress is None else progress(steps)


def _check_ddim_eta(ddim_eta: float, generators: Sequence[torch.Generator] | None, batch: int) -> None:
    if not 0 <= ddim_eta <= 1:
        raise PosError(f"ddim_eta={ddim_eta} is not allowed: choose 0 (deterministic) to 1 (ancestral).")
    if ddim_eta > 0 and (generators is None or len(generators) != batch):
        given = 0 if generators is None else len(generators)
        raise PosError(
            f"ddim_eta={ddim_eta} draws noise at every step: give {batch} generators, got {given}."
        )


def _fresh_noise(latents: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    noise = torch.stack([torch.randn(latents.shape[1:], generator=generator) for generator in generators])
    return noise.to(latents.device, latents.dtype)


def _check_finite(latents: Tensor, what: str, step: int, steps: int) -> None:
    if not torch.isfinite(latents).all():
        raise PosError(
            f"The latents became NaN or infinite at {what} step {step + 1} of {steps}: check the precision."
        )
