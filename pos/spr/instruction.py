"""The instruction in which a language model is given a prompt and its references (Eq. 7)."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from pos.errors import PosError
from pos.spr.cleaning import one_line


@dataclass(frozen=True)
class InstructionTemplate:
    """The instruction given to the language model.

    Args:
        text: holds ``{prompt}``, ``{max_words}`` and the references, as ``{examples}`` (one a line) or
            ``{listed}`` (separated by commas); perhaps ``{count}``, their number; and no others.
        without_examples: the instruction where there are no references (k = 0): ``{prompt}`` and
            ``{max_words}``. None: there is none.

    Raises:
        PosError: a placeholder is missing, unknown or malformed.
    """

    text: str
    without_examples: str | None = None

    def __post_init__(self) -> None:
        examples = "listed" if "{listed}" in self.text else "examples"
        _check_placeholders(self.text, "", (examples, "prompt", "max_words"), optional=("count",))
        if self.without_examples is not None:
            _check_placeholders(self.without_examples, " without examples", ("prompt", "max_words"))

    def body(self, references: int) -> str:
        """The text for a number of references.

        Raises:
            PosError: there are no references, and no text for that.
        """
        if references:
            return self.text
        if self.without_examples is None:
            raise PosError("references is 0, but the instruction template has no text without_examples.")
        return self.without_examples

    def render(self, examples: Sequence[str], prompt: str, max_words: int) -> str:
        """The instruction for one prompt; the examples stand nearest first."""
        texts = [one_line(example) for example in examples]
        return self.body(len(texts)).format(
            examples="\n".join(f"- {text}" for text in texts),
            listed=", ".join(texts),
            count=len(texts),
            prompt=one_line(prompt),
            max_words=max_words,
        )


def _check_placeholders(text: str, which: str, names: Sequence[str], optional: Sequence[str] = ()) -> None:
    allowed = ", ".join(f"{{{name}}}" for name in names)
    try:
        found = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise PosError(
            f"The instruction template{which} cannot be read ({error}): write {allowed}."
        ) from error
    missing = [name for name in names if name not in found]
    unknown = sorted(found.difference(names, optional))
    if missing or unknown:
        wrong = f"lacks {{{missing[0]}}}" if missing else f"has an unknown placeholder {{{unknown[0]}}}"
        raise PosError(f"The instruction template{which} {wrong}: it must hold {allowed} and no others.")
