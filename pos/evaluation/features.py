"""The set of features that all metrics are computed from, and its file."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pos.errors import PosError
from pos.storage import write_atomic

_DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}  # safetensors' names


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of n videos; the metrics are functions of them and of reference statistics.

    Attributes:
        ids: one per video, naming its prompt: equal ids are several seeds of one prompt.
        tensors: rows by name, n each, of the detectors that exist:
            ``fid`` (n, k, d) and ``clip`` (n, k, d), features of the frames that are read as images;
            ``fvd`` (n, d), features of the video;
            ``classes`` (n, c), class probabilities;
            ``clipsim`` (n,), mean cosine of frames and prompt;
            ``judged`` and ``named`` int64 (n, 6), attributes that the judge predicts and that the prompt
            names;
            ``videomae`` (n, d), ``consistency`` (n,) and ``embedding`` (n, d) for the extra metrics.
        detectors: fingerprint of each detector's weights; sets of other weights cannot be compared.
    """

    ids: list[str]
    tensors: dict[str, Tensor]
    detectors: dict[str, str]

    def __len__(self) -> int:
        return len(self.ids)

    def save(self, path: Path) -> None:
        """Write one safetensors file with ids and fingerprints in its metadata."""
        save_tensors(path, self.tensors, {"ids": self.ids, "detectors": self.detectors})

    @classmethod
    def load(cls, path: Path) -> FeatureSet:
        """A set whose tensors stay on the disk until they are read (the file is mapped).

        Raises:
            PosError: the file is missing, cut short or holds no features.
        """
        tensors, entries = load_tensors(path, ("ids", "detectors"))
        return cls(entries["ids"], tensors, entries["detectors"])


def save_tensors(path: Path, tensors: Mapping[str, Tensor], entries: Mapping[str, object]) -> None:
    """Write tensors and JSON-able metadata entries to one safetensors file."""
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(path, lambda temporary: save_file(contiguous, temporary, _metadata(entries)))


def load_tensors(
    path: Path, names: Sequence[str], defaults: Mapping[str, object] | None = None
) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a safetensors file and the JSON metadata entries of these names.

    Args:
        path: the file.
        names: entries that it must have.
        defaults: entries that may be missing, with the values that they take then.

    Raises:
        PosError: the file is missing or cut short, or an entry is missing.
    """
    if not path.is_file():
        raise PosError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except SafetensorError as error:
        raise PosError(f"{path} is not a readable safetensors file: {error}.") from error
    missing = [name for name in names if name not in metadata]
    if missing:
        raise PosError(
            f"The entries {', '.join(missing)} are missing in {path}: it was not written by pos.evaluation."
        )
    found = {name: json.loads(metadata[name]) for name in (*names, *(defaults or {})) if name in metadata}
    return tensors, {**(defaults or {}), **found}


class TensorWriter:
    """A safetensors file written row by row, so that memory does not grow with the rows.

    A safetensors file begins with the lengths of its tensors: rows are first written to one file for each
    tensor, beside the final file, and joined at the end. The context manager removes these files.

    Args:
        path: the file that ``finish`` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=self.path.parent, prefix=f".{self.path.stem}-")
        except OSError as error:
            raise PosError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self._shapes: dict[str, list[int]] = {}
        self._dtypes: dict[str, torch.dtype] = {}

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Append rows (m, ...) to the tensor of each name; the same names and row shapes every time."""
        for name, tensor in rows.items():
            shape = self._shapes.setdefault(name, [0, *tensor.shape[1:]])
            self._dtypes.setdefault(name, tensor.dtype)
            try:
                with self._part(name).open("ab") as stream:
                    stream.write(tensor.contiguous().numpy())
            except OSError as error:
                raise PosError(f"Cannot write {self.path}: {error.strerror or error}.") from error
            shape[0] += len(tensor)

    def finish(self, entries: Mapping[str, object]) -> None:
        """Write the file, with JSON-able metadata entries."""
        write_atomic(self.path, lambda temporary: self._join(temporary, entries))

    def _join(self, path: Path, entries: Mapping[str, object]) -> None:
        header: dict[str, object] = {"__metadata__": _metadata(entries)}
        end = 0
        names = sorted(self._shapes, key=lambda name: -self._dtypes[name].itemsize)  # keeps all aligned
        for name in names:
            start, end = end, end + self._part(name).stat().st_size
            dtype = _DTYPES[self._dtypes[name]]
            header[name] = {"dtype": dtype, "shape": self._shapes[name], "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # the tensors start at a multiple of 8
        with path.open("wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            for name in names:
                with self._part(name).open("rb") as part:
                    shutil.copyfileobj(part, stream, 2**20)

    def _part(self, name: str) -> Path:
        return Path(self._folder.name) / name


def _metadata(entries: Mapping[str, object]) -> dict[str, str]:
    return {name: json.dumps(entry) for name, entry in entries.items()}
