"""CLIP's tokenizer, from the vocabulary that open_clip carries: no file to download."""

from __future__ import annotations

from transformers import CLIPTokenizer

from pos.errors import require

EXTRA = "videocrafter"
CONTEXT = 77  # tokens of a text, the first and last special ones included
BOS, EOS = "<|startoftext|>", "<|endoftext|>"  # the last two ids, 49406 and 49407


def clip_tokenizer() -> CLIPTokenizer:
    """transformers' tokenizer of CLIP (OpenAI's and OpenCLIP's vocabulary is the same); it pads with 49407.

    Raises:
        PosError: open_clip is not installed.
    """
    theirs = require("open_clip", EXTRA).SimpleTokenizer()
    words = sorted(theirs.encoder, key=theirs.encoder.get)[:-2]  # all but the special ones
    vocabulary = {word: index for index, word in enumerate([*words, BOS, EOS])}
    return CLIPTokenizer(vocab=vocabulary, merges=list(theirs.bpe_ranks), model_max_length=CONTEXT)


def clean_text(text: str) -> str:
    """A text as open_clip cleans it before it counts tokens: broken characters, HTML and spaces mended.

    Raises:
        PosError: open_clip is not installed.
    """
    return require("open_clip.tokenizer", EXTRA).get_clean_fn("lower")(text)
