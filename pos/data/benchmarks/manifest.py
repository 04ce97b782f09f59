"""A benchmark pinned down: its prompts, its real videos and every choice that was open, in one file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pos.data.benchmarks.benchmark import Benchmark
from pos.data.prompts import Prompt
from pos.errors import PosError
from pos.storage import csv_text, write_atomic

FORMAT = "pos-manifest-1"


@dataclass(frozen=True)
class Item:
    """One prompt of a benchmark and the real video or image that it describes.

    Attributes:
        id: of the video; names the prompt too.
        prompt: the caption that was chosen for it, or its class's sentence.
        video: the file relative to the folder of real ones; None where the benchmark renders its own.
        caption: which of the captions, by the annotation file's own id; None where there was no choice.
        sha256: of the file; None before the file was checked.
        fault: what is wrong with the file; None where nothing is wrong, or before the file was checked.
    """

    id: str
    prompt: str
    video: str | None = None
    caption: str | None = None
    sha256: str | None = None
    fault: Literal["missing", "corrupt", "short"] | None = None


class Manifest(Benchmark):
    """A published benchmark, or one that was read back from its file.

    Args:
        name: for tables and provenance.
        items: in the order they are scored; their ids differ.
        choices: every open choice of the protocol, by name; JSON-able.
        sources: sha256 of the files that the items come from, by name.

    Attributes:
        hash: sha256 of all of the above, which results carry. Folders and dates do not enter.

    Raises:
        PosError: there is no item, or two have one id.
    """

    def __init__(
        self, name: str, items: Sequence[Item], choices: Mapping[str, Any], sources: Mapping[str, str]
    ) -> None:
        self.name, self.items = name, list(items)
        self.choices, self.sources = dict(choices), dict(sources)
        if not self.items:
            raise PosError(f"The benchmark {name} holds no prompt.")
        ids = [item.id for item in self.items]
        if len(set(ids)) < len(ids):
            twice, _ = Counter(ids).most_common(1)[0]
            raise PosError(f"The benchmark {name} names {twice} more than once.")
        self.prompts = [Prompt(item.prompt, item.id) for item in self.items]
        text = json.dumps(self._content(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        self.hash = hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def of(cls, benchmark: Benchmark) -> Manifest:
        """The manifest of any benchmark; one that renders its clips names no files."""
        if isinstance(benchmark, Manifest):
            return benchmark
        items = [Item(prompt.id, prompt.text) for prompt in benchmark.prompts]
        return cls(benchmark.name, items, {"reference_asset": str(benchmark.reference_asset)}, {})

    @property
    def reference_asset(self) -> str:
        """Of a benchmark that ships statistics.

        Raises:
            PosError: it ships none.
        """
        shipped = self.choices.get("reference_asset")
        if shipped is None:
            raise PosError(
                f"The benchmark {self.name} ships no statistics of real videos: make them once with "
                "experiments/make_reference.py videos=DIR out=FILE, and give reference=FILE."
            )
        return shipped

    def references(self, batch_size: int = 64) -> Iterator[tuple[Tensor, list[str]]]:  # noqa: ARG002
        raise PosError(
            f"The real videos of {self.name} are files of your own: name their folder with videos=DIR."
            if any(item.video for item in self.items)
            else f"{self.name} renders its own clips: take its benchmark without a manifest."
        )

    @property
    def coverage(self) -> str:
        """How many of the real videos can be used, for instance ``2,871 of 2,990``."""
        policy = self.choices.get("faults", {})
        usable = sum(item.fault is None or policy.get(item.fault) == "pad" for item in self.items)
        return f"{usable:,} of {len(self.items):,}"

    def save(self, path: Path) -> None:
        """Write the JSON file.

        Raises:
            PosError: it cannot be written.
        """
        content = {"hash": self.hash, **self._content()}
        write_atomic(Path(path), json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def save_prompts(self, path: Path) -> None:
        """Write a CSV of ids and prompts, which the generating commands take."""
        rows = [["id", "prompt"], *([item.id, item.prompt] for item in self.items)]
        write_atomic(Path(path), csv_text(rows))

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest back.

        Raises:
            PosError: the file is absent, is no manifest, or was changed since it was written.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise PosError(f"Cannot read the manifest {path}: {error.strerror}.") from error
        except ValueError as error:
            raise PosError(f"The manifest {path} is not JSON: {error}.") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise PosError(f"{path} is no manifest: its key 'format' must be '{FORMAT}'.")
        try:
            items = [Item(**item) for item in content["items"]]
            found = cls(content["benchmark"], items, content["choices"], content["sources"])
        except (KeyError, TypeError) as error:
            raise PosError(f"The manifest {path} is damaged: {error}.") from error
        if found.hash != content.get("hash"):
            raise PosError(
                f"The manifest {path} was changed after it was written: it says hash "
                f"{str(content.get('hash'))[:16]}, and its content has {found.hash[:16]}; make it again."
            )
        return found

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "benchmark": self.name,
            "choices": self.choices,
            "sources": self.sources,
            "items": [_short(item) for item in self.items],
        }


def _short(item: Item) -> dict[str, str]:
    """The fields of an item that have a value."""
    values = asdict(item)
    return {field.name: values[field.name] for field in fields(item) if values[field.name] is not None}
