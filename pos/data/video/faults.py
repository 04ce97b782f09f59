"""What becomes of the real videos of a benchmark that have a fault."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from pos.errors import PosError

Fault = Literal["missing", "corrupt", "short"]


@dataclass(frozen=True)
class Faults:
    """What becomes of a real video that is missing, corrupt or too short for the frames that are read.

    Attributes:
        missing, corrupt: ``error`` stops, ``skip`` leaves the video out of the real set.
        short: ``pad`` too, which repeats its last frame.

    Raises:
        PosError: another policy.
    """

    missing: Literal["error", "skip"] = "error"
    corrupt: Literal["error", "skip"] = "error"
    short: Literal["error", "skip", "pad"] = "pad"

    def __post_init__(self) -> None:
        for name, policy in asdict(self).items():
            allowed = ("error", "skip", "pad") if name == "short" else ("error", "skip")
            if policy not in allowed:
                raise PosError(f"faults.{name} must be {' or '.join(allowed)}, not {policy!r}.")

    def of(self, fault: Fault) -> Literal["error", "skip", "pad"]:
        """The policy for one of them."""
        return getattr(self, fault)
