"""The card beside exported weights: how they were trained and their validation metrics, in Markdown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pos
from pos.errors import PosError
from pos.storage import write_atomic

_REACHED = "## What it reaches"


@dataclass(frozen=True)
class Record:
    """How a network was made.

    Attributes:
        name: of the network.
        command, commit, device: what ran, of which source, where.
        steps, samples: optimiser steps and training samples seen.
        seconds: wall time of training, validations in between included, over all resumed parts.
        parameters: of the network.
        data: what it was trained on, one sentence.
    """

    name: str
    command: str
    commit: str
    device: str
    steps: int
    samples: int
    seconds: float
    parameters: int
    data: str


def command() -> str:
    """The command line of this process, its script relative to the working folder."""
    script, *arguments = sys.argv
    script = os.path.relpath(script) if os.path.exists(script) else Path(script).name
    return " ".join(["python", script, *arguments])


def commit() -> str:
    """The source's commit: ``POS_COMMIT`` (where there is no git), git's answer, or "unknown"."""
    if given := os.environ.get("POS_COMMIT"):
        return given
    folder = Path(pos.__file__).parent
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


def write_card(path: Path, record: Record, metrics: Mapping[str, float], weights: Path) -> None:
    """Write the card of a finished training."""
    rows = {
        "command": f"`{record.command}`",
        "commit": record.commit,
        "steps": f"{record.steps:,}",
        "samples seen": f"{record.samples:,}",
        "wall time": f"{record.seconds / 60:.1f} minutes",
        "device": record.device,
        "parameters": f"{record.parameters:,} ({weights.stat().st_size / 2**20:.2f} MiB on disk)",
        "data": record.data,
    }
    made = "\n".join(f"- {name}: {value}" for name, value in rows.items())
    write_atomic(path, f"# {record.name}\n\n{made}\n\n{_reached(metrics)}")


def refresh_card(path: Path, metrics: Mapping[str, float]) -> None:
    """Replace what a card says is reached; how the weights were made stays.

    Raises:
        PosError: there is no card, or it has no such section.
    """
    made, found, _ = path.read_text(encoding="utf-8").partition(_REACHED) if path.is_file() else ("", "", "")
    if not found:
        raise PosError(f"There is no card with a section '{_REACHED}' at {path}: train the network first.")
    write_atomic(path, made + _reached(metrics))


def _reached(metrics: Mapping[str, float]) -> str:
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return f"{_REACHED}\n\n| on held-out clips | |\n| --- | --- |\n{rows}\n"
