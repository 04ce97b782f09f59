"""Level tables: what timestep, signal scale and noise scale every step of a diffusion model has.

The sampler and the inverter read nothing else of a model's schedule, so that noise-, v- and flow-prediction
and VideoCrafter's rescaled signal are differences of a table, not of a loop. Tables are computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pos.errors import PosError

Prediction = Literal["epsilon", "v", "flow"]
Betas = Literal["scaled_linear", "linear"]
Spacing = Literal["leading", "quadratic", "videocrafter"]


@dataclass(frozen=True)
class Level:
    """One noise level: ``x_t = signal * x_0 + noise * eps``, and the timestep that the network is given."""

    timestep: float
    signal: float
    noise: float


@dataclass(frozen=True)
class LevelTable:
    """The levels of T denoising steps, from clean (``levels[0]``) to the start of denoising (``levels[T]``).

    Attributes:
        levels: T + 1 levels of increasing noise.
        prediction: what the network's raw output is: the noise (``epsilon``), ``signal * eps - noise * x_0``
            (``v``, Salimans and Ho 2022) or ``eps - x_0`` (``flow``, the velocity of flow matching).
    """

    levels: tuple[Level, ...]
    prediction: Prediction = "epsilon"

    def __post_init__(self) -> None:
        if self.prediction not in ("epsilon", "v", "flow"):
            raise PosError(f"prediction={self.prediction!r} is unknown: choose epsilon, v or flow.")
        if self.prediction == "epsilon" and min(level.signal for level in self.levels) <= 0:
            raise PosError(
                "Noise prediction needs a signal above 0 at every level: pure noise determines no x_0."
            )
        if len(self.levels) < 2:
            raise PosError(f"A level table needs at least one step, this one has {len(self.levels) - 1}.")

    @property
    def steps(self) -> int:
        """T, the number of denoising steps."""
        return len(self.levels) - 1

    def __getitem__(self, index: int) -> Level:
        return self.levels[index]

    def first(self, steps: int) -> LevelTable:
        """The table of the last ``steps`` denoising steps alone, from ``levels[steps]`` on."""
        return self if steps == self.steps else LevelTable(self.levels[: steps + 1], self.prediction)

    def split(self, raw: Tensor, latents: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """The network's raw output for ``latents`` at ``level`` as (x_0, eps), both shaped as ``latents``.

        The two always satisfy ``latents = level.signal * x_0 + level.noise * eps``.
        """
        clean, noise = self.split_weights(level)
        return clean[0] * latents + clean[1] * raw, noise[0] * latents + noise[1] * raw

    def split_weights(self, level: Level) -> tuple[tuple[float, float], tuple[float, float]]:
        """(a, b), (c, d) such that ``x_0 = a * latents + b * raw`` and ``eps = c * latents + d * raw``."""
        signal, noise = level.signal, level.noise
        if self.prediction == "epsilon":
            return (1 / signal, -noise / signal), (0.0, 1.0)
        if self.prediction == "v":
            power = signal**2 + noise**2
            return (signal / power, -noise / power), (noise / power, signal / power)
        total = signal + noise
        return (1 / total, -noise / total), (1 / total, signal / total)


@dataclass(frozen=True)
class Schedule:
    """What a model is trained with and sampled by: its noise levels and what its network predicts.

    Args:
        shift: factor of the ratio of signal to noise (see ``shifted``).
        spacing: how the steps of sampling, and the draws of training, lie between the timesteps.
        prediction: what the network's raw output is.
        final_alpha: of the clean level (see ``ddim_levels``).
    """

    shift: float = 1.0
    spacing: Literal["leading", "quadratic"] = "leading"
    prediction: Literal["epsilon", "v"] = "epsilon"
    final_alpha: Literal["first", "one"] = "first"

    def __post_init__(self) -> None:
        self.levels(1)  # says what is not possible

    def levels(self, steps: int) -> LevelTable:
        """The level table of T denoising steps."""
        return ddim_levels(
            steps,
            spacing=self.spacing,
            final_alpha=self.final_alpha,
            shift=self.shift,
            prediction=self.prediction,
        )

    def alphas(self) -> Tensor:
        """abar of every timestep, float64."""
        return shifted(alphas_cumprod(), self.shift)

    def timesteps(self, places: Tensor) -> Tensor:
        """Timesteps to train on, of ``places`` drawn uniformly from [0, 1): as dense as the sampler's."""
        spread = places.square() if self.spacing == "quadratic" else places
        return (spread * 1000).long().clamp(max=999)


def alphas_cumprod(
    train_timesteps: int = 1000,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    schedule: Betas = "scaled_linear",
) -> Tensor:
    """abar of DDPM (Ho et al. 2020) for timesteps 0 to ``train_timesteps`` - 1, float64.

    ``scaled_linear`` (Stable Diffusion; VideoCrafter calls it linear) spaces the square roots of beta evenly,
    ``linear`` beta itself.

    Raises:
        PosError: an unknown schedule.
    """
    if schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, train_timesteps, dtype=torch.float64) ** 2
    elif schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, train_timesteps, dtype=torch.float64)
    else:
        raise PosError(f"schedule={schedule!r} is unknown: choose scaled_linear or linear.")
    return torch.cumprod(1 - betas, dim=0)


def shifted(alphas: Tensor, shift: float) -> Tensor:
    """abar of the same schedule with signal-to-noise ratios of ``shift ** 2`` times its own.

    A shift below 1 is what Hoogeboom et al. (2023, "simple diffusion") give larger images, whose many alike
    pixels average the noise away: a video is alike in space and in time.

    Raises:
        PosError: a shift that is not positive.
    """
    if not 0 < shift < math.inf:
        raise PosError(f"shift={shift} is not possible: a positive factor of signal over noise.")
    return shift**2 * alphas / (shift**2 * alphas + 1 - alphas)


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas: Tensor) -> Tensor:
    """``sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps``, the forward process of training.

    Args:
        latents, noise: (b, ...), the same shape.
        timesteps: (b,) integers, indices into ``alphas``.
        alphas: abar as ``alphas_cumprod`` gives it.
    """
    abar = alphas.to(latents.device)[timesteps].view(-1, *[1] * (latents.ndim - 1))
    return abar.sqrt().to(latents.dtype) * latents + (1 - abar).sqrt().to(latents.dtype) * noise


def ddim_levels(
    steps: int,
    *,
    train_timesteps: int = 1000,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    schedule: Betas = "scaled_linear",
    spacing: Spacing = "leading",
    offset: int = 1,
    final_alpha: Literal["first", "one"] = "first",
    signal_scale: tuple[float, float, int] | None = None,
    shift: float = 1.0,
    prediction: Prediction = "epsilon",
) -> LevelTable:
    """The level table of DDIM (Song et al. 2021) over a DDPM schedule.

    With the defaults and T = 50 (ModelScope, Stable Diffusion): L_0 is clean with abar[0], L_k timestep ``1 +
    20 (k - 1)``.

    Args:
        steps: T, 1 to ``train_timesteps``.
        spacing: ``leading`` takes T multiples of ``train_timesteps // T`` (diffusers); ``videocrafter`` takes
            all of them below ``train_timesteps``, so that T = 30 gives 31 steps; ``quadratic`` goes to the
            last timestep in squares (Song et al. 2021, section D.3), finer where there is little noise.
        offset: added to every timestep.
        final_alpha: the clean level has abar[0] (``first``) or 1 (``one``; diffusers' ``set_alpha_to_one``).
        signal_scale: VideoCrafter's ``use_scale`` as (start, end, timesteps): the signal of timestep t is
            multiplied by a factor that goes linearly from start to end over that many timesteps and then
            stays.
        shift: factor of the ratio of signal to noise, see ``shifted``.
        prediction: what the network's raw output is.

    Raises:
        PosError: a number of steps or a choice outside what is allowed.
    """
    if not 1 <= steps <= train_timesteps:
        raise PosError(f"steps={steps} is not possible: choose 1 to {train_timesteps} DDIM steps.")
    if final_alpha not in ("first", "one"):
        raise PosError(f"final_alpha={final_alpha!r} is unknown: choose first or one.")
    timesteps = _timesteps(steps, train_timesteps, spacing, offset)
    alphas = shifted(alphas_cumprod(train_timesteps, beta_start, beta_end, schedule), shift)
    scales = _signal_scales(signal_scale, train_timesteps)

    def level(timestep: int, abar: float) -> Level:
        return Level(float(timestep), math.sqrt(abar) * float(scales[timestep]), math.sqrt(1 - abar))

    clean = level(0, float(alphas[0]) if final_alpha == "first" else 1.0)
    return LevelTable((clean, *(level(t, float(alphas[t])) for t in timesteps)), prediction)


def _timesteps(steps: int, train_timesteps: int, spacing: Spacing, offset: int) -> list[int]:
    stride = train_timesteps // steps
    if spacing == "leading":
        timesteps = [offset + stride * k for k in range(steps)]
    elif spacing == "videocrafter":
        timesteps = [offset + t for t in range(0, train_timesteps, stride)]
    elif spacing == "quadratic":
        squares = torch.linspace(0, 1, steps, dtype=torch.float64) ** 2 if steps > 1 else torch.ones(1)
        timesteps = []
        for square in squares.tolist():  # squares lie closer than whole timesteps at first
            timestep = offset + round((train_timesteps - 1 - offset) * square)
            timesteps.append(max([timestep, *(last + 1 for last in timesteps[-1:])]))
    else:
        raise PosError(f"spacing={spacing!r} is unknown: choose leading, quadratic or videocrafter.")
    if timesteps[-1] >= train_timesteps:
        raise PosError(
            f"steps={steps} with spacing={spacing} and offset={offset} needs timestep {timesteps[-1]}, "
            f"but the model knows 0 to {train_timesteps - 1}: choose another number of steps."
        )
    return timesteps


def _signal_scales(signal_scale: tuple[float, float, int] | None, train_timesteps: int) -> Tensor:
    scales = torch.ones(train_timesteps, dtype=torch.float64)
    if signal_scale is None:
        return scales
    start, end, ramp = signal_scale
    if not (start > 0 and end > 0 and 1 <= ramp <= train_timesteps):
        raise PosError(
            f"signal_scale={signal_scale} is not possible: two positive factors and 1 to {train_timesteps}."
        )
    scales[:ramp] = torch.linspace(start, end, ramp, dtype=torch.float64)
    scales[ramp:] = end
    return scales
