"""Texts to token ids with any of transformers' tokenizers, and what a limit on their number cuts off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pad_id: int | None = None) -> Tensor:
    """Token ids (b, model_max_length), int64, truncated to that length and filled up with ``pad_id``."""
    encoded = tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    if pad_id is None:
        return encoded["input_ids"]
    return encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, pad_id)


def token_count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """How many tokens a text takes, special ones included, before any truncation."""
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def dropped_text(tokenizer: PreTrainedTokenizerBase, text: str, context: int) -> str:
    """The end of a text that truncation to ``context`` tokens leaves out; "" where all of it fits."""
    if token_count(tokenizer, text) <= context:
        return ""
    kept = tokenizer(text, truncation=True, max_length=context, return_offsets_mapping=True)
    return text[max(end for _, end in kept["offset_mapping"]) :].strip()
