from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pos.tracking.loggers import Identity


class Recorder:
    """A logger that keeps what it is given, by the name of the run."""

    def __init__(self) -> None:
        self.identities: dict[str, Identity] = {}
        self.numbers: dict[str, dict] = {}
        self.tables: dict[str, tuple] = {}
        self.shown: dict[str, list] = {}
        self.artifacts: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def run(self, identity: Identity) -> Iterator[Recorder]:
        self.now = identity.name
        self.identities[self.now] = identity
        yield self

    def metrics(self, values):
        self.numbers[self.now] = dict(values)

    def table(self, name, columns, rows):
        assert all(len(row) == len(columns) for row in rows)
        self.tables[name] = ([*columns], [[*row] for row in rows])

    def videos(self, shown):
        assert all(path.stat().st_size for path, _ in shown)
        self.shown[self.now] = [(path.name, caption) for path, caption in shown]

    def files(self, name, kind, paths):
        self.artifacts[f"{kind} {name}"] = [path.name for path in paths]
