"""Reference-guided rewriting, RGR (Eq. 6-7): a language model rewrites a prompt like its nearest captions."""

from __future__ import annotations

import re
import string
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tqdm import tqdm

from pos.errors import PosError
from pos.storage import RecordCache, content_hash

if TYPE_CHECKING:
    from pos.spr.engines import Engine


class Similarity(Protocol):
    """What the guard asks of a sentence encoder."""

    fingerprint: str

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> Sequence[float]:
        """Cosine similarity of each pair of texts."""
        ...


@dataclass(frozen=True)
class InstructionTemplate:
    """The instruction given to the language model.

    Args:
        text: holds ``{examples}``, ``{prompt}`` and ``{max_words}``, each at least once, and no others.

    Raises:
        PosError: a placeholder is missing, unknown or malformed.
    """

    text: str

    PLACEHOLDERS = ("examples", "prompt", "max_words")

    def __post_init__(self) -> None:
        allowed = ", ".join(f"{{{name}}}" for name in self.PLACEHOLDERS)
        try:
            found = {field for _, field, _, _ in string.Formatter().parse(self.text) if field is not None}
        except ValueError as error:
            raise PosError(f"The instruction template cannot be read ({error}): write {allowed}.") from error
        missing = [name for name in self.PLACEHOLDERS if name not in found]
        unknown = sorted(found.difference(self.PLACEHOLDERS))
        if missing or unknown:
            wrong = f"lacks {{{missing[0]}}}" if missing else f"has an unknown placeholder {{{unknown[0]}}}"
            raise PosError(f"The instruction template {wrong}: it must hold {allowed} and no others.")

    def render(self, examples: Sequence[str], prompt: str, max_words: int) -> str:
        """The instruction for one prompt; the examples stand one a line, nearest first."""
        lines = "\n".join(f"- {_one_line(example)}" for example in examples)
        return self.text.format(examples=lines, prompt=_one_line(prompt), max_words=max_words)


@dataclass(frozen=True)
class Guard:
    """What a rewrite must satisfy to replace its prompt.

    Similarity sees a change of subject, not of detail ("left" for "right" scores 0.96):
    experiments/study_guard.py measures what a threshold refuses and lets through.

    Args:
        max_words: the paper's limit is 20.
        min_similarity: cosine of the sentence embeddings of rewrite and prompt, in [-1, 1].
        retries: further attempts after a rejected one; then the prompt itself is used.

    Raises:
        PosError: a value outside its range.
    """

    max_words: int = 20
    min_similarity: float = 0.25
    retries: int = 2

    def __post_init__(self) -> None:
        if self.max_words < 1:
            raise PosError(f"max_words is {self.max_words}: it must be at least 1.")
        if not -1.0 <= self.min_similarity <= 1.0:
            raise PosError(f"min_similarity is {self.min_similarity}: a cosine lies between -1 and 1.")
        if self.retries < 0:
            raise PosError(f"retries is {self.retries}: it must be at least 0.")

    def objection(self, rewrite: str, similarity: float) -> str | None:
        """Why the rewrite is rejected (``empty``, ``too long`` or ``dissimilar``), or None."""
        if not rewrite:
            return "empty"
        if len(rewrite.split()) > self.max_words:
            return "too long"
        return "dissimilar" if similarity < self.min_similarity else None


@dataclass(frozen=True)
class Rewrite:
    """The outcome for one prompt.

    Attributes:
        text: C^r: the accepted rewrite, or the prompt itself where every attempt was rejected.
        accepted: whether the text is the model's.
        attempts: how many replies were asked for.
        similarity: of the last reply to the prompt.
        reason: why the last reply was rejected; None when accepted.
        seconds: the prompt's share of the time its rewriting took, once.
    """

    text: str
    accepted: bool
    attempts: int
    similarity: float
    reason: str | None
    seconds: float = 0.0


class Rewriter:
    """Rewrites prompts with a language model and references (Eq. 7), guarded and cached.

    Args:
        engine: the language model.
        template: the instruction.
        guard: when a rewrite is refused.
        cache: root folder of the cache; rewrites go to ``rewrites.jsonl`` there.
        k: how many references the caller should retrieve for a prompt (Eq. 6; the paper's is 5).
        seed: of the sampling in the engine.

    Raises:
        PosError: k below 1.
    """

    def __init__(
        self,
        engine: Engine,
        template: InstructionTemplate,
        guard: Guard,
        cache: Path | str,
        k: int = 5,
        seed: int = 0,
    ) -> None:
        if k < 1:
            raise PosError(f"k is {k}: a rewrite needs at least 1 reference.")
        self.engine = engine
        self.template = template
        self.guard = guard
        self.k = k
        self.seed = seed
        self._cache = RecordCache(cache, "rewrites")

    def rewrite(
        self, prompts: Sequence[str], references: Sequence[Sequence[str]], encoder: Similarity
    ) -> list[Rewrite]:
        """The rewrite of each prompt, in order.

        Args:
            prompts: n prompts; equal ones with equal references are rewritten once.
            references: n lists of captions, nearest first (Eq. 6).
            encoder: the sentence encoder that the guard asks.

        Raises:
            PosError: another number of references than of prompts.
        """
        if len(prompts) != len(references):
            raise PosError(f"{len(references)} lists of references were given for {len(prompts)} prompts.")
        keys = [
            self._key(prompt, examples, encoder) for prompt, examples in zip(prompts, references, strict=True)
        ]
        pending = {
            key: (prompt, examples)
            for key, prompt, examples in zip(keys, prompts, references, strict=True)
            if self._cache.get(key) is None
        }
        self._fill_cache(pending, encoder)
        return [Rewrite(**self._cache.get(key)) for key in keys]

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides a rewrite but the prompt, its references and the guard's encoder."""
        return content_hash(
            self.template.text, asdict(self.guard), self.engine.fingerprint, self.k, self.seed
        )

    def _key(self, prompt: str, examples: Sequence[str], encoder: Similarity) -> str:
        return content_hash(prompt, list(examples), self.fingerprint, encoder.fingerprint)

    def _fill_cache(self, pending: dict[str, tuple[str, Sequence[str]]], encoder: Similarity) -> None:
        """Rewrite batch by batch, each stored before the next begins, so that a killed run resumes."""
        keys = list(pending)
        with tqdm(total=len(keys), desc="Rewriting prompts", unit="prompt", disable=not keys) as progress:
            for start in range(0, len(keys), self.engine.batch_size):
                batch = keys[start : start + self.engine.batch_size]
                began = time.perf_counter()
                rewrites = self._rewrite_batch([pending[key] for key in batch], encoder)
                seconds = (time.perf_counter() - began) / len(batch)
                for key, rewrite in zip(batch, rewrites, strict=True):
                    self._cache.put(key, asdict(replace(rewrite, seconds=seconds)))
                progress.update(len(batch))

    def _rewrite_batch(
        self, pairs: Sequence[tuple[str, Sequence[str]]], encoder: Similarity
    ) -> list[Rewrite]:
        rewrites: dict[int, Rewrite] = {}
        waiting = list(range(len(pairs)))
        for attempt in range(self.guard.retries + 1):
            batch = [pairs[row] for row in waiting]
            rewrites |= zip(waiting, self._attempt(batch, attempt, encoder), strict=True)
            waiting = [row for row in waiting if not rewrites[row].accepted]
            if not waiting:
                break
        return [rewrites[row] for row in range(len(pairs))]

    def _attempt(
        self, pairs: Sequence[tuple[str, Sequence[str]]], attempt: int, encoder: Similarity
    ) -> list[Rewrite]:
        prompts = [prompt for prompt, _ in pairs]
        limit = self.guard.max_words
        instructions = [self.template.render(examples, prompt, limit) for prompt, examples in pairs]
        replies = self.engine.complete(instructions, attempt=attempt, seed=self.seed)
        texts = [clean_reply(reply) for reply in replies]
        rewrites = []
        for prompt, text, cosine in zip(prompts, texts, encoder.similarity(prompts, texts), strict=True):
            reason = self.guard.objection(text, float(cosine))
            rewrites.append(
                Rewrite(prompt if reason else text, reason is None, attempt + 1, float(cosine), reason)
            )
        return rewrites


def summarize(rewrites: Sequence[Rewrite]) -> dict[str, int | dict[str, int]]:
    """Counts for the report: prompts, accepted, of those after a retry, and fallbacks by reason."""
    return {
        "prompts": len(rewrites),
        "accepted": sum(rewrite.accepted for rewrite in rewrites),
        "retried": sum(rewrite.accepted and rewrite.attempts > 1 for rewrite in rewrites),
        "fallbacks": dict(Counter(rewrite.reason for rewrite in rewrites if rewrite.reason is not None)),
    }


_TALK = re.compile(r"^(?:sure|certainly|absolutely|of course|okay|ok)[,!.:]\s*", re.IGNORECASE)
_REPLY = r"(?:rewritten|revised|rewrite|sentence|version|answer|output|prompt|caption|paraphrase|result)"
_LABEL = re.compile(
    rf"^(?:here(?:.s| is| are)\b[^:]*\b{_REPLY}\b[^:]*|(?:(?:the|my|rewritten|revised|new)\s+)*{_REPLY}):\s*",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^(?:[-*•]\s+|\(?\d{1,2}[.)]\s+)")
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}


def clean_reply(reply: str) -> str:
    """The first line of a reply that says something, without small talk, label, list marker and quotes."""
    for line in reply.splitlines():
        text = _strip(line)
        if text:
            return text
    return ""


def _strip(line: str) -> str:
    text = _one_line(line).replace("**", "")
    text = _LABEL.sub("", _TALK.sub("", text))
    text = _MARKER.sub("", text).strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return "" if text in _QUOTES else text


def _one_line(text: str) -> str:
    return " ".join(text.split())
