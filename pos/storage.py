"""Caches by content, atomic files and folder locks: a killed run loses nothing and goes on from there."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from pos.errors import PosError

if TYPE_CHECKING:
    import torch

Parsed = TypeVar("Parsed")


def asset(name: str) -> Path:
    """The path of a file shipped under ``pos/assets``, for instance ``asset("shapes/judge.safetensors")``."""
    return Path(str(resources.files("pos") / "assets")) / name


def locate(name: Path | str) -> Path:
    """A file as it is named, else the shipped asset of that name; whether that one exists is not checked."""
    return Path(name) if Path(name).is_file() else asset(str(name))


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, without its byte-order mark.

    Args:
        path: the file.
        what: it holds, for the error: ``prompts file``.

    Raises:
        PosError: it is absent, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, what, error) from error


def _unreadable(path: Path, what: str, error: OSError | UnicodeDecodeError) -> PosError:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return PosError(f"Cannot read the {what} {path}: {reason}.")


def read_csv(
    path: Path, what: str, columns: Sequence[str] = (), *, comments: bool = False
) -> Iterator[tuple[int, dict[str | None, Any]]]:
    """The rows of a CSV file with a heading, one by one, so that a long file is never held in memory.

    Args:
        path: a UTF-8 file, with or without a byte-order mark; blanks around headings and after commas do not
            count.
        what: it holds, for the error: ``prompts file``.
        columns: that it must have; others are passed on too.
        comments: whether lines that begin with ``#`` are comments; they do not count as lines.

    Yields:
        The number of a row's last line, and its values by heading: None where the row is too short, and a
        list under the key None where it is too long.

    Raises:
        PosError: the file is absent, is not UTF-8 or CSV (an open quotation mark, for instance), or lacks a
            column.
    """
    rows = None
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            lines = (text for text in stream if not text.startswith("#")) if comments else stream
            rows = csv.DictReader(lines, skipinitialspace=True, strict=True)
            rows.fieldnames = found = [name.strip() for name in rows.fieldnames or ()]
            missing = [name for name in columns if name not in found]
            if missing:
                raise PosError(
                    f"The {what} {path} lacks the column {' and '.join(missing)}: its first line names "
                    f"{', '.join(found) or 'none'}."
                )
            for row in rows:
                yield rows.line_num, row
    except csv.Error as error:
        line = rows.reader.line_num if rows else 1
        raise PosError(f"Line {line} of the {what} {path} is not CSV: {error}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, what, error) from error


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, the heading first, as CSV with plain line feeds; None is an empty cell."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def content_hash(*parts: Any) -> str:
    """A short stable hash (16 hex digits) of strings, numbers, JSON-able containers, bytes and tensors.

    The order and the boundaries of the parts count. Tensors enter by dtype, shape and bytes.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = _as_bytes(part)
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _as_bytes(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    if hasattr(part, "detach"):
        array = part.detach().cpu().contiguous()
        return f"{array.dtype}{tuple(array.shape)}".encode() + array.numpy().tobytes()
    return json.dumps(part, sort_keys=True, ensure_ascii=False).encode()


def write_atomic(path: Path, content: bytes | str | Callable[[Path], None]) -> None:
    """Write a file under a temporary name and rename it: a reader sees the old file or the whole new one.

    Args:
        path: the file; its folder is made when absent.
        content: the bytes, the text (UTF-8), or a function that writes the file at the path it is given.

    Raises:
        PosError: the folder cannot be written (read-only, full, or a file stands in its place).
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:  # safetensors wraps the system's errors in its own
        raise PosError(f"Cannot write {path}: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def jsonable(value: Any) -> Any:
    """A copy of nested containers with NaN and infinities, which JSON lacks, as the texts "nan" and "inf"."""
    if isinstance(value, dict):
        return {key: jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, parse: Callable[[dict[str, Any]], Parsed] = dict) -> Parsed:
    """Read a JSON file that this package wrote.

    Args:
        path: the file, which holds an object.
        parse: turns the object into the result.

    Raises:
        PosError: the file cannot be read, holds no object, or ``parse`` misses a key or finds a wrong value.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError("it holds no object")
        return parse(content)
    except (KeyError, TypeError, ValueError, OSError, PosError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise PosError(
            f"{path} is damaged ({reason}): remove it and run the same command again, or choose another "
            "out=DIR."
        ) from error


class TensorCache:
    """Tensors by content key, one safetensors file each: ``root/<kind>/<key>.safetensors``."""

    def __init__(self, root: Path | str, kind: str) -> None:
        self.folder = Path(root) / kind

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> dict[str, torch.Tensor] | None:
        """The tensors stored under ``key``, or None. A file cut short by a full disk counts as absent."""
        from safetensors.torch import load_file

        path = self.path(key)
        if not path.exists():
            return None
        try:
            return load_file(path)
        except (SafetensorError, OSError):
            return None

    def put(self, key: str, tensors: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomic(self.path(key), lambda temporary: save_file(contiguous, temporary))


class RecordCache:
    """JSON records by content key in one append-only file, ``root/<kind>.jsonl``, easy to carry.

    A damaged line counts as absent: its record is computed again.
    """

    def __init__(self, root: Path | str, kind: str) -> None:
        self.path = Path(root) / f"{kind}.jsonl"
        rows = [
            row for row in read_jsonl(self.path) if isinstance(row, dict) and {"key", "value"} <= row.keys()
        ]
        self._records = {row["key"]: row["value"] for row in rows}

    def get(self, key: str) -> Any | None:
        return self._records.get(key)

    def put(self, key: str, value: Any) -> None:
        self.put_all({key: value})

    def put_all(self, records: Mapping[str, Any]) -> None:
        """Store several records with one write to the disk."""
        self._records |= records
        if records:
            append_jsonl(self.path, *({"key": key, "value": value} for key, value in records.items()))


def append_jsonl(path: Path, *rows: dict[str, Any]) -> None:
    """Append rows; they are on disk when this returns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            if stream.tell() and not _ends_with_newline(path):
                stream.write(b"\n")  # the line before was cut by a kill
            stream.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise PosError(f"Cannot write {path}: {error.strerror or error}.") from error


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines; none when it is absent. A line cut by a kill is skipped."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


@contextlib.contextmanager
def lock_folder(
    folder: Path,
    remedy: str = "choose another folder or wait for it to end",
    *,
    name: str = ".lock",
    wait: bool = False,
) -> Iterator[None]:
    """Hold an output folder for this process while the block runs.

    Args:
        folder: which; it is made where it is absent.
        remedy: ends the error that another run gets.
        name: of the file that is locked: locks of several names are independent.
        wait: whether another run waits until the folder is free, instead of being refused.

    Raises:
        PosError: another run writes there, or the folder cannot be written.
    """
    path = Path(folder) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise PosError(f"Cannot write to the folder {folder}: {error.strerror or error}.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PosError(f"Another run is writing to {folder}: {remedy}.") from error
        yield
