"""POS: a Prompts Optimization Suite for augmenting text-to-video generation (arXiv 2311.00949).

::

    pipeline = pos.load_pipeline("method=pos", "method.eta=0.5")
    requests = pos.make_requests(["a red ring moving left"], seeds=[0, 1])
    videos = [sample.video for sample in pipeline.generate(requests)]  # uint8 (frames, 3, height, width)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pos.config.loading import load_config, load_pipeline
    from pos.generation import make_requests

__version__ = "0.1.0"
__all__ = ["__version__", "load_config", "load_pipeline", "make_requests"]

_HOMES = {
    "load_config": "pos.config.loading",
    "load_pipeline": "pos.config.loading",
    "make_requests": "pos.generation",
}


def __getattr__(name: str) -> Any:
    """Import the public functions on first use (PEP 562): ``import pos`` alone loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pos' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
