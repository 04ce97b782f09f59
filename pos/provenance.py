"""What goes into the pipeline and comes out: a request, its plan, a sample, and where that comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from pos.ona.inversion import Inverted
from pos.ona.mixture import noise_statistics
from pos.retrieval import Neighbour
from pos.spr.rewriting import Rewrite


@dataclass(frozen=True)
class Request:
    """One video to make. Equal ``id`` and ``seed`` get the same base noise under every method."""

    prompt: str
    seed: int
    id: str


@dataclass(frozen=True)
class Sample:
    """A generated video, uint8 (f, c, height, width), and where it comes from (JSON-able)."""

    request: Request
    video: Tensor
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A request and what was prepared for it."""

    request: Request
    neighbours: list[Neighbour]
    rewrite: Rewrite | None
    inverted: Inverted | None


def own_provenance(
    plan: Plan, eps_start: Tensor, eta: float, evaluations: int, sampling: float
) -> dict[str, Any]:
    """What tells one video from the others, JSON-able.

    Args:
        plan: the request and what was prepared for it.
        eps_start: the noise (c, f, h, w) that its denoising started from.
        eta: the weight of the guided noise in it.
        evaluations: of networks, without those of the inversion.
        sampling: seconds from the noise to the video.
    """
    inverted = plan.inverted
    seconds = {
        "sampling": sampling,
        "inversion": inverted.seconds if inverted else 0.0,
        "rewriting": plan.rewrite.seconds if plan.rewrite else 0.0,
    }
    return {
        "prompt": plan.request.prompt,
        "rewritten_prompt": plan.rewrite.text if plan.rewrite else None,
        "rewrite": asdict(plan.rewrite) if plan.rewrite else None,
        "neighbours": [asdict(neighbour) for neighbour in plan.neighbours],
        "id": plan.request.id,
        "seed": plan.request.seed,
        "inversion": inverted.to_json() if inverted else None,
        "eta": eta,
        "start_noise": noise_statistics(eps_start[None]),
        "evaluations": evaluations + (inverted.evaluations if inverted else 0),
        "seconds": seconds,
    }
