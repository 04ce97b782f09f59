"""Reference-guided rewriting, RGR (Eq. 6-7): a language model rewrites a prompt like its nearest captions."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from pos.errors import PosError
from pos.spr.cleaning import clean_reply, is_refusal, one_line
from pos.spr.engines import Engine, Reply, current_names
from pos.spr.instruction import InstructionTemplate
from pos.storage import RecordCache, content_hash

log = logging.getLogger(__name__)


class Similarity(Protocol):
    """The part of a sentence encoder that the guard needs."""

    fingerprint: str

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> Sequence[float]:
        """Cosine similarity of each pair of texts."""
        ...


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
        """Why the rewrite is rejected (``empty``, ``refused``, ``too long`` or ``dissimilar``), or None."""
        if not rewrite:
            return "empty"
        if is_refusal(rewrite):
            return "refused"
        if len(rewrite.split()) > self.max_words:
            return "too long"
        return "dissimilar" if similarity < self.min_similarity else None


@dataclass(frozen=True)
class Rewrite:
    """The outcome for one prompt.

    Attributes:
        text: C^r: the accepted rewrite, or the prompt itself where there is none.
        accepted: whether the text is the model's.
        attempts: how many replies came.
        similarity: of the last reply to the prompt; 0 where it holds no sentence.
        reason: why the last reply was rejected, or why none came; None when accepted.
        seconds: the prompt's share of the time its rewriting took, once.
        instruction_tokens, reply_tokens: what the model read and wrote in all attempts, in its tokens.
        answered: False where the model did not answer in the end (a server that is down, a budget that ran
            out), so that another run may come to another outcome.
    """

    text: str
    accepted: bool
    attempts: int
    similarity: float
    reason: str | None
    seconds: float = 0.0
    instruction_tokens: int = 0
    reply_tokens: int = 0
    answered: bool = True

    def after(self, earlier: Rewrite | None) -> Rewrite:
        """This outcome of a later attempt, with the cost of the earlier ones."""
        if earlier is None:
            return self
        return replace(
            self,
            seconds=earlier.seconds + self.seconds,
            instruction_tokens=earlier.instruction_tokens + self.instruction_tokens,
            reply_tokens=earlier.reply_tokens + self.reply_tokens,
        )


@dataclass(frozen=True)
class Question:
    """A prompt and the instruction to rewrite it."""

    prompt: str
    instruction: str


@dataclass
class Rewriter:
    """Rewrites prompts with a language model and references (Eq. 7), guarded and cached.

    Every reply is cached when it arrives, so that a killed run requests nothing twice, and another guard
    requests nothing new. A prompt that the model did not answer falls back to itself, and the next run
    requests it again.

    Attributes:
        engine: the language model.
        template: the instruction; None sends the prompt itself and takes the reply unchanged (a table).
        guard: when a rewrite is refused.
        cache: root folder of the cache; replies go to ``replies.jsonl`` there.
        references: k, how many references the caller should retrieve for a prompt (Eq. 6; the paper's is 5).
        seed: of the sampling in the engine.

    Raises:
        PosError: references below 0, or 0 with a template that needs them.
    """

    engine: Engine
    template: InstructionTemplate | None
    guard: Guard
    cache: Path | str
    references: int = 5
    seed: int = 0
    _answered: RecordCache = field(init=False, repr=False)
    _unanswered: dict[str, Reply] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.references < 0:
            raise PosError(f"references is {self.references}: a rewrite takes 0 or more of them.")
        if self.template is not None:
            self.template.body(self.references)
        self._answered = RecordCache(self.cache, "replies")

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines a rewrite but the prompt, its references and the encoder."""
        text = None if self.template is None else self.template.body(self.references)
        return content_hash(text, asdict(self.guard), self.engine.fingerprint, self.references, self.seed)

    def referring(self, references: int) -> Rewriter:
        """The same rewriter, and the same model, with another number of references (Table 4c)."""
        return replace(self, references=references)

    def rewrite(
        self, prompts: Sequence[str], references: Sequence[Sequence[str]], encoder: Similarity
    ) -> list[Rewrite]:
        """The rewrite of each prompt, in order.

        Args:
            prompts: n prompts; equal ones with equal references are rewritten once.
            references: n lists of captions, nearest first (Eq. 6).
            encoder: the sentence encoder of the guard.

        Raises:
            PosError: another number of references than of prompts; whatever the engine raises.
        """
        if len(prompts) != len(references):
            raise PosError(f"{len(references)} lists of references were given for {len(prompts)} prompts.")
        pairs = zip(prompts, references, strict=True)
        questions = [Question(prompt, self._instruction(prompt, examples)) for prompt, examples in pairs]
        rewrites: dict[Question, Rewrite] = {}
        unsettled, news = list(dict.fromkeys(questions)), False
        for attempt in range(self.guard.retries + 1):
            news |= self._ask(unsettled, attempt)
            for question, rewrite in self._judge(unsettled, attempt, encoder):
                rewrites[question] = rewrite.after(rewrites.get(question))
            unsettled = [
                question
                for question in unsettled
                if not rewrites[question].accepted and rewrites[question].attempts == attempt + 1
            ]
        if news:
            log.info("%s.", describe(summarize(list(rewrites.values()))))
        return [rewrites[question] for question in questions]

    def _instruction(self, prompt: str, examples: Sequence[str]) -> str:
        if self.template is None:
            return prompt
        return self.template.render(examples, prompt, self.guard.max_words)

    def _ask(self, questions: Sequence[Question], attempt: int) -> bool:
        """Request the replies that are not cached and cache each when it arrives; whether there were any."""
        keys = {self._key(question, attempt): question.instruction for question in questions}
        new = [key for key in keys if self._answered.get(key) is None and key not in self._unanswered]
        if not new:
            return False
        label = "Rewriting prompts" if attempt == 0 else f"Rewriting again ({attempt})"
        with tqdm(total=len(new), desc=label, unit="prompt") as progress:
            instructions = [keys[key] for key in new]
            for replies in self.engine.complete(instructions, attempt=attempt, seed=self.seed):
                for row, reply in replies.items():
                    if reply.answered:
                        self._answered.put(new[row], asdict(reply))
                    else:
                        self._unanswered[new[row]] = reply
                progress.update(len(replies))
        return True

    def _key(self, question: Question, attempt: int) -> str:
        return content_hash(question.instruction, self.engine.fingerprint, attempt, self.seed)

    def _reply(self, key: str) -> Reply:
        """The reply to a request of this run, or of an earlier one where the model answered it."""
        record = self._answered.get(key)
        return self._unanswered[key] if record is None else Reply(**current_names(record))

    def _judge(
        self, questions: Sequence[Question], attempt: int, encoder: Similarity
    ) -> Iterator[tuple[Question, Rewrite]]:
        """Each question with the outcome of its reply in this attempt."""
        keys = [self._key(question, attempt) for question in questions]
        replies = [
            self._unanswered.get(key) or Reply(**current_names(self._answered.get(key) or {})) for key in keys
        ]
        clean = one_line if self.template is None else clean_reply
        texts = [clean(reply.text) for reply in replies]
        said = [(question.prompt, text) for question, text in zip(questions, texts, strict=True) if text]
        scores = encoder.similarity([prompt for prompt, _ in said], [text for _, text in said])
        cosines = dict(zip(said, map(float, scores), strict=True))
        for question, reply, text in zip(questions, replies, texts, strict=True):
            cosine = cosines.get((question.prompt, text), 0.0)
            reason = reply.problem or self.guard.objection(text, cosine)
            yield (
                question,
                Rewrite(
                    text=question.prompt if reason else text,
                    accepted=reason is None,
                    attempts=attempt + reply.answered,
                    similarity=cosine,
                    reason=reason,
                    seconds=reply.seconds,
                    instruction_tokens=reply.instruction_tokens,
                    reply_tokens=reply.reply_tokens,
                    answered=reply.answered,
                ),
            )


def summarize(rewrites: Sequence[Rewrite]) -> dict[str, Any]:
    """Counts for the report: prompts, accepted, of those after a retry, fallbacks by reason, and tokens."""
    return {
        "prompts": len(rewrites),
        "accepted": sum(rewrite.accepted for rewrite in rewrites),
        "retried": sum(rewrite.accepted and rewrite.attempts > 1 for rewrite in rewrites),
        "fallbacks": dict(Counter(rewrite.reason for rewrite in rewrites if rewrite.reason is not None)),
        "instruction_tokens": sum(rewrite.instruction_tokens for rewrite in rewrites),
        "reply_tokens": sum(rewrite.reply_tokens for rewrite in rewrites),
    }


def describe(summary: dict[str, Any]) -> str:
    """A summary as one sentence."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary["fallbacks"].items())
    return (
        f"{summary['accepted']} of {summary['prompts']} rewrites accepted "
        f"({summary['retried']} after a retry), {sum(summary['fallbacks'].values())} fell back to the prompt"
        f"{f' ({reasons})' if reasons else ''}; {summary['instruction_tokens']} tokens read, "
        f"{summary['reply_tokens']} written"
    )
