"""This process as it would look if another command line had started it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence

FULL_ERROR = "HYDRA_FULL_ERROR"


@contextlib.contextmanager
def started_as(arguments: Sequence[str], *, full_error: bool) -> Iterator[None]:
    """Other arguments, and Hydra raising its errors or not; what the block leaves in the environment goes.

    Args:
        arguments: the script and what follows it. Lightning starts its processes by them, unless ``__main__``
            names a module, as it does in a launcher's worker: then it would start another worker.
        full_error: whether Hydra raises errors instead of printing them.
    """
    argv, environment, main = sys.argv, dict(os.environ), sys.modules["__main__"]
    spec = main.__spec__
    sys.argv, main.__spec__ = [*arguments], None
    os.environ[FULL_ERROR] = "1" if full_error else ""
    try:
        yield
    finally:
        sys.argv, main.__spec__ = argv, spec
        os.environ.clear()
        os.environ.update(environment)


def set_up_logging() -> None:
    """Our own lines and Hydra's from INFO on, of others from WARNING on; once in a process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in ("pos", "hydra"):
        logging.getLogger(name).setLevel(logging.INFO)
