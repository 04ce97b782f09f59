"""Which clips of the pool guide a video: the nearest to its prompt (Eq. 3), or random ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pos.diffusion.noise import sample_generators
from pos.errors import PosError
from pos.method import Method
from pos.provenance import Request
from pos.retrieval import Neighbour, Retriever

TURNS = 8
"""With ``vary: seed``, so many seeds in a row take different clips before the first comes again."""

STREAM = "clips"
"""Of the draws of random clips."""


def choose_clips(requests: Sequence[Request], method: Method, retriever: Retriever) -> list[list[Neighbour]]:
    """The clips of each video, ``method.clips`` each.

    Args:
        requests: the videos.
        method: one that takes clips.
        retriever: searches the pool.

    Raises:
        PosError: the pool has too few clips.
    """
    turns = [request.seed % TURNS if method.vary == "seed" else 0 for request in requests]
    if method.neighbour == "random":
        return _random(requests, method, retriever)
    turns = [min(turn, len(retriever.pool) // method.clips - 1) for turn in turns]
    if min(turns, default=0) < 0:
        raise PosError(f"method.clips={method.clips} is not possible: the pool has {len(retriever.pool)}.")
    ranked = retriever.nearest([request.prompt for request in requests], method.clips * (1 + max(turns)))
    return [
        found[method.clips * turn : method.clips * (turn + 1)]
        for found, turn in zip(ranked, turns, strict=True)
    ]


def _random(requests: Sequence[Request], method: Method, retriever: Retriever) -> list[list[Neighbour]]:
    """Draws of each prompt or, with ``vary: seed``, of each prompt and seed; a clip may come twice."""
    seeds = [request.seed if method.vary == "seed" else 0 for request in requests]
    generators = sample_generators([request.id for request in requests], seeds, STREAM)
    pool = retriever.pool
    return [
        [
            Neighbour(index, pool.ids[index], pool.captions[index], None)
            for index in torch.randint(len(pool), (method.clips,), generator=generator).tolist()
        ]
        for generator in generators
    ]
