"""Base noise: one draw per (seed, sample id), whatever the batch, the order or the device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from pos.errors import PosError


def sample_generators(
    sample_ids: Sequence[str], seeds: Sequence[int], stream: str = "eps"
) -> list[torch.Generator]:
    """One CPU generator per sample, seeded with the sha256 of (stream, seed, id).

    Args:
        sample_ids: the ids of the prompts (``pos.data.prompts.Prompt.id``).
        seeds: one a sample.
        stream: the purpose of the numbers; different streams are independent of each other.

    Raises:
        PosError: not one seed per id.
    """
    if len(sample_ids) != len(seeds):
        raise PosError(f"{len(sample_ids)} sample ids need as many seeds, got {len(seeds)}.")
    return [_generator(f"{stream}:{seed}:{name}") for name, seed in zip(sample_ids, seeds, strict=True)]


def base_noise(
    shape: Sequence[int], sample_ids: Sequence[str], seeds: Sequence[int], stream: str = "eps"
) -> Tensor:
    """eps ~ N(0, I) of Eq. 4, float32 on the CPU, (b, *shape).

    Row i is a function of ``seeds[i]`` and ``sample_ids[i]`` alone, bitwise.
    """
    generators = sample_generators(sample_ids, seeds, stream)
    if not generators:
        return torch.empty(0, *shape)
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def _generator(key: str) -> torch.Generator:
    digest = hashlib.sha256(key.encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big"))
