"""Secrets, which must never leave the machine: environment variables that hold keys and passwords."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

HIDDEN = "***"

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
_SHORTEST = 6
"""A shorter value ("1", "true") is no secret, and hiding it would hide much of a configuration."""


def secrets() -> list[str]:
    """The secret values in the environment of this process, the longest first."""
    found = {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)


def redacted(value: Any, hidden: list[str] | None = None) -> Any:
    """A copy of JSON-able data with ``***`` in place of every secret of the environment.

    The value of a key that is named like a secret is hidden too, wherever it came from.

    Args:
        value: mappings, lists, texts and numbers.
        hidden: the secrets; None takes those of the environment.
    """
    hidden = secrets() if hidden is None else hidden
    if isinstance(value, dict):
        return {
            redacted(key, hidden): HIDDEN if _holds_secret(key, entry) else redacted(entry, hidden)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(entry, hidden) for entry in value]
    if isinstance(value, str):
        for secret in hidden:
            value = value.replace(secret, HIDDEN)
    return value


def leaks(path: Path) -> bool:
    """Whether a file contains a secret of the environment."""
    data = path.read_bytes()
    return any(secret.encode() in data for secret in secrets())


def _holds_secret(key: Any, entry: Any) -> bool:
    """``api_key: abc``; but ``max_tokens: 100`` is a number, and ``key_variable`` names a variable."""
    named = isinstance(key, str) and re.search(r"(^|_)(key|token|secret|password)$", key, re.IGNORECASE)
    return bool(named) and isinstance(entry, str) and entry not in os.environ
