"""What is done to the two inputs of a backbone, the noise and the text: one row of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pos.diffusion.ddim import InversionMethod
from pos.errors import PosError
from pos.spr.hybrid import rewritten_steps
from pos.storage import jsonable


@dataclass(frozen=True)
class Method:
    """One row of the paper's tables: what is done to the noise and to the text.

    Args:
        noise: where the guided noise comes from: ``none`` (plain model), ``inversion`` (ONA) or ``npnet``
            (POS*).
        rewrite: whether the prompt is rewritten (SPR).
        eta: weight of the guided noise in Eq. 4, 0 to inf; counts only where ``noise`` is not ``none``.
        gamma: fraction of the denoising steps under the rewritten prompt (Eq. 8), 0 to 1; counts only with
            ``rewrite``.
        inversion: which form of Eq. 2: ``next``, ``printed`` or ``fixed_point``.
        variance_preserving: scale every guided noise to unit standard deviation before it is mixed.
        ddim_eta: 0 is deterministic. Above 0 the sampler draws noise at every step, which destroys what ONA
            gives.

    Raises:
        PosError: a value outside its range.
    """

    noise: Literal["none", "inversion", "npnet"] = "none"
    rewrite: bool = False
    eta: float = 0.0
    gamma: float = 0.0
    inversion: InversionMethod = "next"
    variance_preserving: bool = False
    ddim_eta: float = 0.0

    def __post_init__(self) -> None:
        if self.noise not in ("none", "inversion", "npnet"):
            raise PosError(f"method.noise={self.noise!r} is unknown: choose none, inversion or npnet.")
        if not (isinstance(self.eta, int | float) and self.eta >= 0):
            raise PosError(f"method.eta={self.eta} is not allowed: it weighs the guided noise, 0 to inf.")
        if self.inversion not in ("next", "printed", "fixed_point"):
            raise PosError(
                f"method.inversion={self.inversion!r} is unknown: choose next, printed or fixed_point."
            )
        if not (isinstance(self.ddim_eta, int | float) and 0 <= self.ddim_eta <= 1):
            raise PosError(f"method.ddim_eta={self.ddim_eta} is not allowed: choose 0 (deterministic) to 1.")
        rewritten_steps(1, self.gamma)
        for name in ("rewrite", "variance_preserving"):  # the text "no" would count as true
            if not isinstance(getattr(self, name), bool):
                raise PosError(f"method.{name}={getattr(self, name)} is not allowed: choose true or false.")
        for name in ("eta", "gamma", "ddim_eta"):  # 1 and 1.0 are one setting: they must hash alike
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
    def rewrites(self) -> bool:
        """Whether a rewritten prompt conditions some of the steps (SPR)."""
        return self.rewrite and self.gamma > 0

    @property
    def effective(self) -> Method:
        """The same method with unused values reset: at eta 0 and gamma 0 it is the plain model."""
        method = self
        if not (self.inverts or self.predicts):
            method = replace(method, noise="none", eta=0.0, inversion="next", variance_preserving=False)
        return method if self.rewrites else replace(method, rewrite=False, gamma=0.0)

    @property
    def retrieves(self) -> bool:
        """Whether the pool is searched: for a clip (ONA) or for captions (SPR)."""
        return self.inverts or self.rewrites

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the optional parts of a ``Pipeline`` that the method needs."""
        needed = {"retriever": self.retrieves, "rewriter": self.rewrites, "npnet": self.predicts}
        return tuple(name for name, is_needed in needed.items() if is_needed)

    def to_json(self) -> dict[str, Any]:
        """JSON-able: an infinite eta is the text "inf"."""
        return jsonable(asdict(self))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Method:
        return cls(**{**record, "eta": float(record["eta"])})
