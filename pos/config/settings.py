"""The published eta and gamma as choices of the group ``settings``, read from the paper's tables.

They stand once, in ``pos/assets/paper``. ``conf/settings`` holds only what is ours: the defaults and the
values chosen for Shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigStore

from pos.storage import asset, read_csv

_ALIASES = {"videocrafter_v09": "videocrafter"}
"""A second name that a backbone has in ``conf/backbone``."""

_SOURCES = {
    "table1": "as published for the backbone, Table 1 of arXiv 2311.00949; those of POS* are the defaults, "
    "since the paper has none.",
    "table2": "as published, Tables 1 and 2 of arXiv 2311.00949.",
    "table3": "as published for image models, Table 3 of arXiv 2311.00949.",
}
"""What results say of the values, by the last table that has any for the backbone and benchmark."""

_KEYS = {"pos": ("eta", "gamma"), "pos_star": ("eta_star", "gamma_star")}
"""The keys that a row of the tables gives."""


def published_settings() -> dict[tuple[str, str], dict[str, Any]]:
    """By backbone and benchmark: ``eta`` and ``gamma`` of POS, those of POS* if published, and ``source``."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table, source in _SOURCES.items():
        for line in _lines(table):
            if line["method"] in _KEYS:
                settings = found.setdefault((line["backbone"], line["benchmark"]), {})
                values = (float(line["eta"]), float(line["gamma"]))
                settings |= dict(zip(_KEYS[line["method"]], values, strict=True)) | {"source": source}
    return found


def register() -> None:
    """Make ``settings=BACKBONE_BENCHMARK`` a choice for every backbone and benchmark of the tables."""
    for (backbone, benchmark), settings in published_settings().items():
        for name in (backbone, _ALIASES.get(backbone)):
            if name is not None:
                ConfigStore.instance().store(
                    group="settings", name=f"{name}_{benchmark}", node=settings, provider="pos/assets/paper"
                )


def _lines(table: str) -> Iterator[dict[str | None, str]]:
    path = asset("paper") / f"{table}.csv"
    return (line for _, line in read_csv(path, "published table", comments=True))
