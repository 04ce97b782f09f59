"""The byte-level BPE of the Shapes networks: one vocabulary for text towers and the rewriting language model.

CLIP's own vocabulary alone would weigh 12 MB of embeddings. Bytes are the base, so every text can be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pos.errors import PosError

VOCABULARY = 2000
CONTEXT = 64  # tokens of a text tower, <bos> and <eos> included
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"  # ids 0, 1 and 2


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE of at most ``vocabulary`` tokens; a text's first word is as those inside it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path | str, causal: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer file as transformers' tokenizer.

    Args:
        path: a ``tokenizer.json`` written by ``train_tokenizer(...).save(path)``.
        causal: False for text towers: lower case, ``<bos> text <eos>``, padded on the right, at most
            ``CONTEXT`` tokens. True for language models: case kept, ``<bos> text`` to be continued,
            padded on the left.

    Raises:
        PosError: the file is absent or is not such a tokenizer.
    """
    if not Path(path).is_file():
        raise PosError(f"There is no tokenizer at {path}: a tokenizer.json file is expected there.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise PosError(f"The tokenizer {path} cannot be read: {error}.") from error
    special = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    if None in dict(special).values():
        raise PosError(f"The tokenizer {path} lacks the tokens {BOS} and {EOS}.")
    pattern = f"{BOS} $A" if causal else f"{BOS} $A {EOS}"
    tokenizer.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=special)
    if not causal:
        tokenizer.normalizer = normalizers.Lowercase()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left" if causal else "right",
        model_max_length=2**20 if causal else CONTEXT,
    )
