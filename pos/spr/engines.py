"""The interface of a language model (the LLM of Eq. 7): instructions in, replies out as they arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pos.errors import PosError


@dataclass(frozen=True)
class Reply:
    """The outcome of one instruction.

    Attributes:
        text: as the model wrote it; empty where there is none.
        problem: why there is no text, in one or two words (``refused``, ``no answer``); else None.
        answered: False where the model did not answer, so that another run requests the reply again.
        instruction_tokens, reply_tokens: tokens of the model, read and written.
        seconds: this reply's share of the time that the replies took.
    """

    text: str = ""
    problem: str | None = None
    answered: bool = True
    instruction_tokens: int = 0
    reply_tokens: int = 0
    seconds: float = 0.0


def current_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored reply or rewrite; earlier versions wrote ``heard`` for ``answered``."""
    return {"answered" if name == "heard" else name: value for name, value in record.items()}


class Engine(Protocol):
    """A language model.

    Attributes:
        fingerprint: hash of everything that changes the replies; known without loading the model.
    """

    fingerprint: str

    def complete(self, instructions: Sequence[str], *, attempt: int, seed: int) -> Iterator[dict[int, Reply]]:
        """One reply to each instruction by its index, in groups as they arrive.

        Another attempt (0, 1, ...) or seed requests another reply.
        """
        ...


def check_temperatures(temperatures: Sequence[float]) -> tuple[float, ...]:
    """The sampling temperature of each attempt.

    Raises:
        PosError: none at all, or one below 0.
    """
    if not temperatures or min(temperatures) < 0:
        raise PosError(f"temperatures is {list(temperatures)}: give a number of at least 0 for each attempt.")
    return tuple(float(value) for value in temperatures)


def at_attempt(temperatures: Sequence[float], attempt: int) -> float:
    """The temperature of an attempt; the last serves all later ones."""
    return temperatures[min(attempt, len(temperatures) - 1)]
