"""Prompts to what a network is conditioned on: a CLIP text tower and its tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.tokens import dropped_text, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from transformers.modeling_outputs import ModelOutput

log = logging.getLogger(__name__)

SHOWN = 60  # characters of a truncated prompt in a warning
HiddenState = Literal["last", "penultimate"]


class TextEncoder(Protocol):
    """Prompts to named tensors with one row each; the names are keywords of the network's ``forward``."""

    def __call__(self, prompts: Sequence[str]) -> dict[str, Tensor]: ...

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the networks there, frozen and in evaluation mode."""


class ClipText:
    """A frozen CLIP text model with its tokenizer.

    Args:
        model: transformers' ``CLIPTextModel``, its bare transformer, ``CLIPTextModelWithProjection``, or the
            ``TextTransformer`` of Shapes.
        tokenizer: its ``model_max_length`` is the length of every text.
        hidden_state: what the context is: the ``last`` hidden state, after the final norm, or the
            ``penultimate`` one, before it (Stable Diffusion XL).
        pad_id: the token that fills a text up; None is the tokenizer's own.

    Raises:
        PosError: another hidden state.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        hidden_state: HiddenState = "last",
        pad_id: int | None = None,
    ) -> None:
        if hidden_state not in ("last", "penultimate"):
            raise PosError(f"hidden_state={hidden_state!r} is unknown: choose last or penultimate.")
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.hidden_state, self.pad_id = tokenizer, hidden_state, pad_id
        self._warned: set[str] = set()

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.model.to(device, dtype)

    def __call__(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """{"context": (b, n, d)}; too long a prompt is cut, with a warning that says what is lost."""
        return {"context": self.context(self.encode(prompts))}

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> ModelOutput:
        """All that the model says of prompts."""
        for prompt in prompts:
            self._warn_of_truncation(prompt)
        tokens = tokenize(self.tokenizer, prompts, self.pad_id).to(next(self.model.parameters()).device)
        return self.model(input_ids=tokens, output_hidden_states=self.hidden_state == "penultimate")

    def context(self, output: ModelOutput) -> Tensor:
        """The hidden state (b, n, d) that the network attends to."""
        return output.last_hidden_state if self.hidden_state == "last" else output.hidden_states[-2]

    def _warn_of_truncation(self, prompt: str) -> None:
        limit = self.tokenizer.model_max_length
        lost = dropped_text(self.tokenizer, prompt, limit)
        if lost and prompt not in self._warned:
            self._warned.add(prompt)
            log.warning(
                "The prompt '%s' is longer than the %d tokens that the text encoder reads; it drops '%s'.",
                _shown(prompt),
                limit,
                _shown(lost),
            )


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
