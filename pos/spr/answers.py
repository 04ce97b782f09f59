"""What an OpenAI-compatible server says: the reply in an answer's body, the wait in its headers."""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any

from pos.spr.engines import Reply

BYTES_A_TOKEN = 4  # of English text, for servers that do not say what they used


def read_answer(body: str, instruction: str, seconds: float) -> Reply:
    """The reply in the JSON of a chat completion.

    Args:
        body: of the HTTP answer, anything.
        instruction: of the request; its length is counted where the server reports no usage.
        seconds: what the reply took.

    Returns:
        The reply; its problem is ``unreadable`` where the body is no chat completion, and then the model was
        not answered, ``refused`` where the model or a filter declined.
    """
    answer, content, problem = None, None, None
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        content, refusal = choice["message"].get("content"), choice["message"].get("refusal")
        if refusal or choice.get("finish_reason") == "content_filter":
            problem = "refused"
        elif not isinstance(content, str | None):
            problem = "unreadable"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        problem = "unreadable"
    text = "" if problem or content is None else content
    text = text.encode("utf-8", "ignore").decode()  # JSON may hold halves of characters
    read, written = _usage(answer, instruction, text)
    return Reply(text, problem, problem != "unreadable", read, written, seconds)


def _usage(answer: Any, instruction: str, text: str) -> tuple[int, int]:
    """Tokens read and written, as the server reports them or as their bytes suggest."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    reported = usage if isinstance(usage, dict) else {}
    estimates = {"prompt_tokens": instruction, "completion_tokens": text}
    read, written = (
        reported[name] if _is_count(reported.get(name)) else math.ceil(len(said.encode()) / BYTES_A_TOKEN)
        for name, said in estimates.items()
    )
    return read, written


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (``retry-after-ms`` before it), given as a number or a date; None without."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            value = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if value >= 0 and math.isfinite(value):
            return value
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
