"""Language models behind an OpenAI-compatible server: the paper's ChatGPT, vLLM, Ollama, llama.cpp, ..."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pos.errors import PosError, require
from pos.spr.answers import read_answer, seconds_to_wait
from pos.spr.engines import Reply, at_attempt, check_temperatures
from pos.spr.traffic import Traffic, as_completed
from pos.storage import content_hash

if TYPE_CHECKING:
    import openai

KEY = "OPENAI_API_KEY"
"""The environment variable of the key. It is read nowhere else, so that no file or log can hold it."""

NEEDS_KEY = "api.openai.com"  # others may do without
LEAST_KEY = 12  # characters; shorter ones, as vLLM's EMPTY, are no secrets but ordinary words
WORTH_A_RETRY = frozenset({408, 409, 425, 429, *range(500, 600)})
LONGEST_BODY = 1 << 20  # bytes of an answer


class UnansweredError(Exception):
    """A request without an answer: why, in a word or two and in detail; whether to repeat it, and when."""

    def __init__(self, problem: str, detail: str, *, again: bool = True, pause: float | None = None) -> None:
        super().__init__(detail)
        self.problem, self.detail, self.again, self.pause = problem, detail, again, pause


class OpenAIEngine:
    """A chat model behind an HTTP server that speaks OpenAI's protocol.

    A prompt that the server does not answer is given up alone: its reply names the problem. What would fail
    for every prompt (a wrong key, an unknown model) stops the run. The key is that of the environment
    variable ``OPENAI_API_KEY``; servers of one's own need none.

    Args:
        model: what the server calls it.
        base_url: of the server; a part of what rewrites are known by.
        temperatures: the sampling temperature of each attempt, the last serving all later ones. None for
            reasoning models: they take none, and their limit is called ``max_completion_tokens``.
        max_new_tokens: length limit of a reply in tokens.
        concurrency: requests at a time.
        timeout_ms: how long to wait for an answer, to its last byte.
        retries: repetitions of a request answered with 408, 409, 425, 429 or 5xx, with what is no chat
            completion, or not at all.
        backoff_ms: the wait before the first of them; it doubles. Where the server says Retry-After, all
            requests wait that long instead.
        longest_wait_ms: a server that requires a longer pause gets no more requests in this run.
        budget: tokens, of instructions and replies, in this run; None is no limit. Requests under way when it
            is spent are still used.

    Raises:
        PosError: a value outside its range, or a URL that is none or holds more than an address.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        temperatures: Sequence[float] | None = (0.0, 0.7),
        max_new_tokens: int = 128,
        concurrency: int = 8,
        timeout_ms: float = 60_000,
        retries: int = 4,
        backoff_ms: float = 500,
        longest_wait_ms: float = 60_000,
        budget: int | None = None,
    ) -> None:
        _check_at_least(1, max_new_tokens=max_new_tokens, concurrency=concurrency, timeout_ms=timeout_ms)
        _check_at_least(0, retries=retries, backoff_ms=backoff_ms, longest_wait_ms=longest_wait_ms)
        _check_at_least(1, budget=1 if budget is None else budget)
        _check_url(base_url)
        self.model, self.base_url = model, base_url
        self.temperatures = None if temperatures is None else check_temperatures(temperatures)
        self.max_new_tokens, self.concurrency, self.retries = max_new_tokens, concurrency, retries
        self.timeout, self.backoff, self.longest_wait = (
            value / 1000 for value in (timeout_ms, backoff_ms, longest_wait_ms)
        )
        self.fingerprint = content_hash("openai", base_url, model, self.temperatures, max_new_tokens)
        self._traffic = Traffic(budget, base_url, self.longest_wait)

    def complete(self, instructions: Sequence[str], *, attempt: int, seed: int) -> Iterator[dict[int, Reply]]:
        """Each reply when it arrives, by the index of its instruction.

        Raises:
            PosError: the package ``openai`` or the key is absent, or the server refuses key or model.
        """
        _ = self._client  # made before there are threads
        self._traffic.open()
        threads = min(self.concurrency, len(instructions))
        requests = [self._arguments(text, attempt, seed) for text in instructions]
        try:
            for row, reply in as_completed(partial(self._ask, threads=threads), requests, threads):
                yield {row: reply}
        finally:
            self._traffic.stop()

    def _arguments(self, instruction: str, attempt: int, seed: int) -> dict[str, Any]:
        """The arguments of a request."""
        arguments = {
            "model": self.model,
            "messages": [{"role": "user", "content": instruction}],
            "seed": seed + attempt,
        }
        if self.temperatures is None:
            return {**arguments, "max_completion_tokens": self.max_new_tokens}
        temperature = at_attempt(self.temperatures, attempt)
        return {**arguments, "max_tokens": self.max_new_tokens, "temperature": temperature}

    def _ask(self, arguments: dict[str, Any], threads: int) -> Reply:
        """One reply, with retries where they may help; its time is a share of that of all threads."""
        began, given_up = time.monotonic(), UnansweredError("no answer", "no attempt")
        for retry in range(self.retries + 1):
            closed = self._traffic.problem()
            if closed is not None:
                return Reply(problem=closed, answered=False)
            try:
                reply = self._answer(arguments)
                return replace(reply, seconds=(time.monotonic() - began) / threads)
            except UnansweredError as silence:
                given_up = silence
                last = not silence.again or retry == self.retries
                if not last or silence.pause is not None:  # whatever becomes of this prompt, others wait too
                    self._traffic.rest(silence.pause, min(self.backoff * 2**retry, self.longest_wait))
                if last:
                    break
        self._traffic.unanswered(given_up.problem, given_up.detail)
        return Reply(problem=given_up.problem, answered=False, seconds=(time.monotonic() - began) / threads)

    def _answer(self, arguments: dict[str, Any]) -> Reply:
        """The reply of the model, without its time.

        Raises:
            UnansweredError: there is no answer, though perhaps a body: a page of a proxy, half an answer.
            PosError: as ``_request``.
        """
        reply = read_answer(self._request(arguments), arguments["messages"][0]["content"], 0.0)
        self._traffic.answered(reply)
        if not reply.answered:
            raise UnansweredError(reply.problem or "unreadable", "no chat completion")
        return reply

    def _request(self, arguments: dict[str, Any]) -> str:
        """The body of an answer, without the key wherever the server repeats it.

        Raises:
            UnansweredError: there is none.
            PosError: there will be none for any prompt.
        """
        errors, transport = require("openai", extra="engines"), require("httpx2", extra="engines")
        try:
            return self._mask(self._receive(arguments).decode("utf-8", "replace"))
        except errors.APIStatusError as error:
            raise self._explain(error) from None  # its text may repeat the key
        except (errors.APITimeoutError, transport.TimeoutException, TimeoutError):
            raise UnansweredError("no answer", f"nothing within {self.timeout:g} s") from None
        except (errors.APIConnectionError, transport.HTTPError):
            raise UnansweredError("no answer", "no connection") from None

    def _receive(self, arguments: dict[str, Any]) -> bytes:
        """The bytes of an answer, all of them in time: openai's own limit is for each piece."""
        body, end = bytearray(), time.monotonic() + self.timeout
        with self._client.chat.completions.with_streaming_response.create(**arguments) as response:
            for piece in response.iter_bytes():
                body += piece
                if time.monotonic() > end:
                    raise TimeoutError
                if len(body) > LONGEST_BODY:
                    break  # what is cut is unreadable
        return bytes(body)

    def _explain(self, error: openai.APIStatusError) -> UnansweredError | PosError:
        """The error that a status other than 200 stands for."""
        status = error.status_code
        if status == 401:
            which = f"the key in {KEY}" if _key() else f"requests without a key, and {KEY} is not set"
            return self._traffic.fail(PosError(f"{self.base_url} refuses {which} (401)."))
        if status == 404:
            return self._traffic.fail(
                PosError(
                    f"{self.base_url} knows no model '{self.model}', or is no address of a chat server "
                    "(404): set rewriter.engine.model and rewriter.engine.base_url."
                )
            )
        pause = seconds_to_wait(error.response.headers)
        if status in WORTH_A_RETRY:
            again = pause is None or pause <= self.longest_wait
            return UnansweredError("no answer", f"status {status}", again=again, pause=pause)
        return UnansweredError("rejected", f"status {status}: {self._mask(error.message)[:200]}", again=False)

    @cached_property
    def _client(self) -> openai.OpenAI:
        package, key = require("openai", extra="engines"), _key()
        if not key and urlsplit(self.base_url).hostname == NEEDS_KEY:
            raise PosError(f"{self.base_url} needs a key: set {KEY} in the environment.")
        return package.OpenAI(
            api_key=key or "none", base_url=self.base_url, timeout=self.timeout, max_retries=0
        )

    def _mask(self, text: str) -> str:
        key = _key()
        return text.replace(key, "[key]") if len(key) >= LEAST_KEY else text


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise PosError(f"{KEY} holds characters that no key has: set it again.")
    return key


def _check_at_least(least: int, **values: float) -> None:
    for name, value in values.items():
        if value < least:
            raise PosError(f"{name} is {value}: give at least {least}.")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if "@" in url or "?" in url:
        raise PosError(f"base_url holds more than an address: the key belongs in {KEY}, and nowhere else.")
    if not whole:
        raise PosError(f"base_url is '{url}': give an address such as http://localhost:8000/v1.")
