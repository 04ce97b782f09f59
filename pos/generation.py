"""Prompts to videos on the disk: what ``experiments/generate.py`` runs and logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pos.config.building import build_pipeline
from pos.data.prompts import Prompt, read_prompts
from pos.errors import PosError
from pos.provenance import Cost, Request
from pos.storage import lock_folder
from pos.tracking.loggers import Identity, Logger, resolved
from pos.tracking.records import strength
from pos.video_folder import VideoFolder, read_provenance

_SLUG_LENGTH = 40
_MOST_SEEDS = 10_000


def make_requests(prompts: Sequence[Prompt | str], seeds: Sequence[int] = (0,)) -> list[Request]:
    """Every prompt with every seed. A prompt without an id gets the hash of its text as its id."""
    texts = [Prompt(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    return [Request(text.text, seed, text.id) for text in texts for seed in seeds]


def parse_seeds(seeds: int | str | Sequence[int]) -> list[int]:
    """Seeds from a number, a list, or text: ``"7"``, ``"0,2,5"``, ``"0..3"`` (both ends count).

    Raises:
        PosError: it is none of these, a seed is negative, or a range has no seed or more than 10,000.
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


def run(cfg: DictConfig) -> list[Path]:
    """Generate the videos of a configuration in ``cfg.out``; existing ones are kept.

    Returns:
        The provenance file of every video, in the order of prompts and seeds.

    Raises:
        PosError: bad input, or files of another configuration under these names in ``cfg.out``.
    """
    requests, out = requests_of(cfg), Path(cfg.out)
    with lock_folder(out):
        pipeline = build_pipeline(cfg)
        folder = VideoFolder(out, pipeline.config_hash, pipeline.backbone.defaults.fps)
        folder.fill(pipeline, requests)
    return [folder.file(request, "json") for request in requests]


def requests_of(cfg: DictConfig) -> list[Request]:
    """The videos that a configuration requests, labelled by the number and the words of their prompts.

    Raises:
        PosError: no prompt or seed, or one that cannot be read.
    """
    prompts, seeds = _prompts(cfg), parse_seeds(cfg.seeds)
    return [
        replace(request, label=f"{index:04d}-{slug(request.prompt)}")
        for index, prompt in enumerate(prompts)
        for request in make_requests([prompt], seeds)
    ]


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
    """Part of a file name: the letters and digits of a text in lower case, at most 40 characters."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-_")[:_SLUG_LENGTH].rstrip("-_") or "prompt"


def log_generation(logger: Logger | None, cfg: DictConfig, paths: Sequence[Path]) -> dict[str, Any]:
    """Log the videos that a command generated.

    Args:
        logger: None logs nothing.
        cfg: of the command.
        paths: of the provenance files, at least one, each beside its preview.

    Returns:
        What a video costs, and how many there are.
    """
    made = [read_provenance(path) for path in paths]
    values = {"videos": len(made), **Cost.of(made).to_json()}
    if logger is None:
        return values
    strengths = [strength(entry.settings.method.eta, entry.settings.method.gamma) for entry in made]
    columns = ["prompt", "rewritten prompt", "retrieved", "seed", "eta", "eta weight", "gamma", "video"]
    rows = [
        [*entry.texts, entry.seed, *numbers.values(), path.with_suffix(".gif")]
        for entry, numbers, path in zip(made, strengths, paths, strict=True)
    ]
    out = Path(cfg.out)
    with logger.run(Identity(out.name, "generate", out, resolved(cfg) | strengths[0])) as logged:
        logged.metrics(values)
        logged.table("generated", columns, rows)
        logged.videos([(row[-1], row[0]) for row in rows])
        logged.files("provenance", "manifest", paths)
    return values
