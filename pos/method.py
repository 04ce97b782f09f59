"""What is done to the two inputs of a backbone, the noise and the text: one row of the paper's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from pos.diffusion.ddim import InversionMethod
from pos.errors import PosError
from pos.spr.hybrid import rewritten_steps
from pos.storage import jsonable

Noise = Literal["none", "inversion", "npnet", "diffused", "moment"]

_CHOICES = {
    "noise": get_args(Noise),
    "inversion": get_args(InversionMethod),
    "neighbour": ("nearest", "random"),
    "vary": ("prompt", "seed"),
}


@dataclass(frozen=True)
class Method:
    """One row of the paper's tables: what is done to the noise and to the text.

    Args:
        noise: what the denoising starts from: ``none`` (base noise, the plain model), ``inversion`` (ONA) or
            ``npnet`` (POS*), mixed into it by Eq. 4; ours are ``diffused`` (clips carried to a noise level by
            the forward process) and ``moment`` (noise with the pool's mean and spectrum).
        rewrite: whether the prompt is rewritten (SPR).
        eta: weight of the guided noise in Eq. 4, 0 to inf; counts with ``inversion`` and ``npnet`` alone.
        gamma: fraction of the denoising steps under the rewritten prompt (Eq. 8), 0 to 1; counts only with
            ``rewrite``.
        inversion: which form of Eq. 2: ``next``, ``printed`` or ``fixed_point``.
        variance_preserving: scale every guided noise to unit standard deviation before it is mixed.
        dither: begin the inversion at the first noisy level, from the clip with that level's noise.
        neighbour: which clips of the pool: the ``nearest`` to the prompt (Eq. 3) or ``random`` ones.
        clips: how many of them; the mean of their latents is diffused. Above 1 with ``diffused`` alone.
        vary: ``prompt`` takes the same clips for all seeds of a prompt, as the paper does; ``seed`` others
            for each seed.
        signal: c of ``diffused``: the factor of the clips beside the level's own, above 0.
        level: of ``diffused``: the share of the denoising steps that are left from its level, above 0 to 1.
        ddim_eta: 0 is deterministic. Above 0 the sampler draws noise at every step, which destroys what ONA
            gives.

    Raises:
        PosError: a value outside its range.
    """

    noise: Noise = "none"
    rewrite: bool = False
    eta: float = 0.0
    gamma: float = 0.0
    inversion: InversionMethod = "next"
    variance_preserving: bool = False
    ddim_eta: float = 0.0
    dither: bool = False
    neighbour: Literal["nearest", "random"] = "nearest"
    clips: int = 1
    vary: Literal["prompt", "seed"] = "prompt"
    signal: float = 1.0
    level: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                choices = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
                raise PosError(f"method.{name}={getattr(self, name)!r} is unknown: choose {choices}.")
        if not (isinstance(self.eta, int | float) and self.eta >= 0):
            raise PosError(f"method.eta={self.eta} is not allowed: it weighs the guided noise, 0 to inf.")
        if not (isinstance(self.ddim_eta, int | float) and 0 <= self.ddim_eta <= 1):
            raise PosError(f"method.ddim_eta={self.ddim_eta} is not allowed: choose 0 (deterministic) to 1.")
        rewritten_steps(1, self.gamma)
        if not (isinstance(self.signal, int | float) and 0 < self.signal < math.inf):
            raise PosError(
                f"method.signal={self.signal} is not allowed: a factor above 0, 1 is the model's own."
            )
        if not (isinstance(self.level, int | float) and 0 < self.level <= 1):
            raise PosError(f"method.level={self.level} is not allowed: a share of the steps, above 0 to 1.")
        if not (isinstance(self.clips, int) and self.clips >= 1):
            raise PosError(f"method.clips={self.clips} is not allowed: a whole number of at least 1.")
        if self.clips > 1 and self.noise == "inversion":
            raise PosError("method.clips above 1 goes with noise=diffused alone: one clip is inverted.")
        for name in ("rewrite", "variance_preserving", "dither"):  # the text "no" would count as true
            if not isinstance(getattr(self, name), bool):
                raise PosError(f"method.{name}={getattr(self, name)} is not allowed: choose true or false.")
        for name in (
            "eta",
            "gamma",
            "ddim_eta",
            "signal",
            "level",
        ):  # 1 and 1.0 are one setting: they must hash alike
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def inverts(self) -> bool:
        """Whether the noise is guided by an inverted clip (ONA)."""
        return self.noise == "inversion" and self.eta > 0

    @property
    def predicts(self) -> bool:
        """Whether the noise is guided by NPNet (POS*)."""
        return self.noise == "npnet" and self.eta > 0

    @property
    def diffuses(self) -> bool:
        """Whether denoising starts from diffused clips."""
        return self.noise == "diffused"

    @property
    def uses_moments(self) -> bool:
        """Whether denoising starts from noise with the pool's moments."""
        return self.noise == "moment"

    @property
    def takes_clips(self) -> bool:
        """Whether clips of the pool guide the noise."""
        return self.inverts or self.diffuses

    @property
    def rewrites(self) -> bool:
        """Whether a rewritten prompt conditions some of the steps (SPR)."""
        return self.rewrite and self.gamma > 0

    @property
    def effective(self) -> Method:
        """The same method with unused values reset: at eta 0 and gamma 0 it is the plain model."""
        unused: set[str] = set()
        if not (self.inverts or self.predicts):
            unused |= {"eta", "inversion", "variance_preserving"}
            if not (self.diffuses or self.uses_moments):
                unused.add("noise")
        if not self.inverts:
            unused.add("dither")
        if not self.takes_clips:
            unused |= {"neighbour", "clips", "vary"}
        if not self.diffuses:
            unused |= {"signal", "level"}
        if not self.rewrites:
            unused |= {"rewrite", "gamma"}
        return replace(self, **{entry.name: entry.default for entry in fields(self) if entry.name in unused})

    @property
    def identity(self) -> dict[str, Any]:
        """What decides pixels, for hashes: ``effective``, of later parameters only those that are set."""
        later = ("dither", "neighbour", "clips", "vary", "signal", "level")
        values, defaults = asdict(self.effective), asdict(Method())
        return {name: value for name, value in values.items() if name not in later or value != defaults[name]}

    @property
    def retrieves(self) -> bool:
        """Whether the pool is searched: for clips (ONA, ``diffused``) or for captions (SPR)."""
        return self.takes_clips or self.rewrites

    @property
    def needs_pool(self) -> bool:
        """Whether there must be a pool."""
        return self.retrieves or self.uses_moments

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the optional parts of a ``Pipeline`` that the method needs."""
        needed = {"retriever": self.needs_pool, "rewriter": self.rewrites, "npnet": self.predicts}
        return tuple(name for name, is_needed in needed.items() if is_needed)

    def to_json(self) -> dict[str, Any]:
        """JSON-able: an infinite eta is the text "inf"."""
        return jsonable(asdict(self))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Method:
        return cls(**{**record, "eta": float(record["eta"])})
