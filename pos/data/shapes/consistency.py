"""Whether a rewrite still says what its prompt says; the similarity of two sentences cannot tell."""

from __future__ import annotations

from pos.data.shapes.lexicon import named_attributes


def changed_attributes(prompt: str, rewrite: str) -> list[str]:
    """The attributes that the prompt names and the rewrite does not name with the same value, in order.

    Dropping "red" counts, as does naming a second colour; what the rewrite adds does not.
    """
    kept = named_attributes(rewrite)
    return [name for name, value in named_attributes(prompt).items() if kept.get(name) != value]
