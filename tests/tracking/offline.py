"""An offline run of W&B read back from its log: blocks of 32 KiB of records, as LevelDB writes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32768, 7
_WHOLE, _LAST = 1, 4


class OfflineRun:
    """What ``wandb sync`` would upload.

    Attributes:
        config: by key.
        history: every logged value by name, the last one.
        artifacts: the files of each artifact by its name, as local paths by their names in it.
        group, name, kind: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {}
        self.history: dict[str, Any] = {}
        self.artifacts: dict[str, dict[str, Path]] = {}
        (log,) = folder.glob("*.wandb")
        for record in _records(log.read_bytes()):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.name, self.group, self.kind = (
                    record.run.display_name,
                    record.run.run_group,
                    record.run.job_type,
                )
                self.id, self.project = record.run.run_id, record.run.project
                self.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                self._log(record.history)
            elif kind == "artifact":
                contents = record.artifact.manifest.contents
                files = {entry.path: Path(entry.local_path) for entry in contents}
                self.artifacts[record.artifact.name] = files

    def table(self, name: str) -> list[dict[str, Any]]:
        """The lines of a logged table; a video is the path of its file."""
        files = next(files for files in self.artifacts.values() if f"{name}.table.json" in files)
        content = json.loads(files[f"{name}.table.json"].read_text())
        for line in content["data"]:
            for place, cell in enumerate(line):
                if isinstance(cell, dict):
                    assert cell["_type"] == "video-file"
                    line[place] = files[cell["path"]]
        return [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]

    def file(self, name: str) -> Path:
        """A logged video."""
        return self.folder / "files" / self.history[name]["path"]

    def _log(self, history: Any) -> None:
        for item in history.item:
            place, *inner = list(item.nested_key) or [item.key]
            value = json.loads(item.value_json)
            if inner:
                self.history.setdefault(place, {})[inner[0]] = value
            else:
                self.history[place] = value


def runs(folder: Path) -> list[OfflineRun]:
    """All offline runs below a folder, once W&B's own process has written them."""
    import wandb

    wandb.teardown()
    return [OfflineRun(path.parent) for path in sorted(folder.rglob("*.wandb"))]


def _records(data: bytes) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    assert data[:4] == b":W&B"
    place, whole = _HEADER, b""
    while place + _HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + _HEADER])
        place += _HEADER
        whole += data[place : place + length]
        place += length
        if kind in (_WHOLE, _LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record
