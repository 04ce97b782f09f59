"""What a study's folder says of itself: which prompts its videos are of, and where each video comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from pos.data.prompts import Prompt
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.provenance import Request
from pos.storage import lock_folder, write_atomic

PROMPTS = "prompts.json"
"""In the folder of a study: the prompt of every id that its videos were made for."""

_KEYS = ("prompt", "neighbours", "evaluations", "seconds", "start_noise", "inversion", "rewrite")


def stem(request: Request) -> str:
    """The name of a video's files."""
    return f"{request.id}-s{request.seed}"


def read_made(folder: Path, request: Request, frames: int) -> Tensor:
    """A video that was made, uint8 (f, 3, h, w)."""
    return read_video(folder / f"{stem(request)}.safetensors", frames)


def read_provenance(folder: Path, request: Request) -> dict[str, Any]:
    """Where a video comes from.

    Raises:
        PosError: it is not there yet, is damaged, or is of another prompt.
    """
    path = folder / f"{stem(request)}.json"
    if not path.exists():
        raise PosError(f"{path} is not there yet: make the videos of all shards first.")
    provenance = read_json(path)
    absent = [key for key in _KEYS if key not in provenance]
    if absent:
        raise PosError(f"{path} is damaged (it lacks '{absent[0]}'): remove it and run the study again.")
    if provenance["prompt"] != request.prompt:
        raise PosError(f"{path} is of another prompt, and is kept: choose another out=DIR.")
    return provenance


def read_json(path: Path) -> dict[str, Any]:
    """An object that a study wrote.

    Raises:
        PosError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise PosError(f"{path} is damaged ({error}): remove it and run the study again.") from error
    if not isinstance(content, dict):
        raise PosError(f"{path} is damaged (it holds no object): remove it and run the study again.")
    return content


def claim(out: Path, benchmark: str, prompts: Iterable[Prompt]) -> None:
    """Note in a study's folder which prompts its videos are of; more prompts may be added to it at any time.

    Raises:
        PosError: it holds videos of another manifest, in which one of these ids has another prompt.
    """
    path = out / PROMPTS
    wanted = {prompt.id: prompt.text for prompt in prompts}
    with lock_folder(out, name=f".{PROMPTS}.lock", wait=True):  # other shards add to it too
        _add(path, wanted, benchmark)


def _add(path: Path, wanted: dict[str, str], benchmark: str) -> None:
    known = read_json(path) if path.exists() else {}
    other = next((name for name, text in wanted.items() if known.get(name, text) != text), None)
    if other is not None:
        raise PosError(
            f"{path.parent} holds videos of another manifest than this one of {benchmark}: its {other} is "
            f"'{known[other]}' there and '{wanted[other]}' here; choose another out=DIR."
        )
    if not wanted.keys() <= known.keys():
        write_atomic(path, json.dumps(known | wanted, indent=0, ensure_ascii=False) + "\n")


def check_results(path: Path, setting: dict[str, Any]) -> None:
    """See that results to be replaced are of the same backbone and benchmark.

    Args:
        path: of the results; they may be absent.
        setting: with ``backbone`` and ``benchmark``.

    Raises:
        PosError: they are of others, or damaged.
    """
    if not path.exists():
        return
    there = read_json(path).get("setting", {})
    for name in ("backbone", "benchmark"):
        if there.get(name) != setting[name]:
            raise PosError(
                f"{path} holds results of the {name} {there.get(name)}, and this is {setting[name]}: choose "
                "another out=DIR."
            )
