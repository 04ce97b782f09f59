"""Prompts to files: what ``experiments/generate.py`` does, and the same configuration as a Python object."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pos.config.building import build_pipeline
from pos.data.prompts import Prompt, read_prompts
from pos.data.video.writing import write_lossless, write_preview
from pos.diffusion.noise import sample_id
from pos.errors import PosError
from pos.provenance import Request, Sample
from pos.spr.rewriting import unheard
from pos.storage import lock_folder, write_atomic

log = logging.getLogger(__name__)

_SLUG_LENGTH = 40
_MOST_SEEDS = 10_000


def make_requests(prompts: Sequence[Prompt | str], seeds: Sequence[int] = (0,)) -> list[Request]:
    """Every prompt with every seed. A prompt without an id of its own gets the hash of its text."""
    texts = [Prompt(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    return [Request(text.text, seed, text.id or sample_id(text.text)) for text in texts for seed in seeds]


def parse_seeds(seeds: int | str | Sequence[int]) -> list[int]:
    """Seeds from a number, a list, or text: ``"7"``, ``"0,2,5"``, ``"0..3"`` (both ends count).

    Raises:
        PosError: it is none of these, a seed is negative, there is none, or there are more than 10,000.
    """
    text = str(list(seeds)) if isinstance(seeds, Sequence) and not isinstance(seeds, str) else str(seeds)
    found: list[int] = []
    for part in text.strip("[] ").split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:\s*\.\.\s*(\d{1,18}))?\s*", part)
        if match is None:
            raise PosError(f"seeds={seeds} cannot be read: write 0 or 0,2,5 or 0..3, whole numbers.")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < first + _MOST_SEEDS:
            raise PosError(f"The seeds {part.strip()} are not allowed: a range holds 1 to {_MOST_SEEDS}.")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def run(cfg: DictConfig) -> None:
    """Make the videos of a configuration and write them to ``cfg.out``; those that are there are kept.

    Raises:
        PosError: bad input, or files of another configuration under these names in ``cfg.out``.
    """
    pairs, out = named(cfg), Path(cfg.out)
    with lock_folder(out):
        pipeline = build_pipeline(cfg)
        there = {stem: _found(request, stem, out, pipeline.config_hash) for request, stem in pairs}
        silent = [request for request, stem in pairs if there[stem] and unheard(there[stem])]
        again = pipeline.answered(silent)  # the language model did not answer then, and does now
        todo = [(request, stem) for request, stem in pairs if not there[stem] or request in again]
        log.info("%d videos, %d to make", len(pairs), len(todo))
        samples = pipeline.generate([request for request, _ in todo])
        for sample, (_, stem) in zip(samples, todo, strict=True):
            store(sample, out, stem, fps=pipeline.backbone.defaults.fps)
            log.info("%s", out / f"{stem}.gif")


def named(cfg: DictConfig) -> list[tuple[Request, str]]:
    """The videos that a configuration asks for, each with the name of its files.

    Raises:
        PosError: no prompt or seed, or one that cannot be read.
    """
    seeds = parse_seeds(cfg.seeds)
    requests = make_requests(_prompts(cfg), seeds)
    stems = (
        f"{index // len(seeds):04d}-{slug(request.prompt)}-s{request.seed}"
        for index, request in enumerate(requests)
    )
    return list(zip(requests, stems, strict=True))


def _prompts(cfg: DictConfig) -> list[Prompt]:
    if (cfg.prompt is None) == (cfg.prompts is None):
        raise PosError('Give either prompt="some words" or prompts=FILE.')
    if cfg.prompts is not None:
        return read_prompts(cfg.prompts)
    text = str(cfg.prompt)
    if not text.strip():
        raise PosError(f"The prompt is {text!r}: give it at least one word.")
    return [Prompt(text)]


def slug(text: str) -> str:
    """A piece of a file name: the letters and digits of a text, at most 40 characters."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-_")[:_SLUG_LENGTH].rstrip("-_") or "prompt"


def _found(request: Request, stem: str, out: Path, config_hash: str) -> dict[str, Any] | None:
    """Where this very video comes from, if it is there.

    Raises:
        PosError: another one is there under its name.
    """
    path = out / f"{stem}.json"
    if not path.exists():
        return None
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        same = (there["prompt"], there["seed"], there["id"], there["config"]) == (
            request.prompt,
            request.seed,
            request.id,
            config_hash,
        )
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise PosError(f"{path} is of a video with other settings, and is kept: choose another out=DIR.")
    return there


def store(sample: Sample, folder: Path, stem: str, *, fps: float | None = None) -> None:
    """Write a video, its preview and, last, its provenance: where that stands, the video is whole.

    Args:
        sample, folder, stem: what to write, and where: ``folder/stem.*``.
        fps: of the preview; None writes none.

    Raises:
        PosError: the folder cannot be written.
    """
    write_lossless(folder / f"{stem}.safetensors", sample.video)
    if fps is not None:
        write_preview(folder / f"{stem}.gif", sample.video, fps)
    provenance = json.dumps(jsonable(sample.provenance), indent=1, ensure_ascii=False)
    write_atomic(folder / f"{stem}.json", provenance + "\n")


def jsonable(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are written as the texts "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
