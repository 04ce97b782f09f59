"""The small language model of Shapes: reference-guided rewriting (Eq. 7) learnt from examples."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from pos.data.shapes import english
from pos.data.shapes.captions import named_attributes
from pos.data.shapes.consistency import changed_attributes
from pos.data.shapes.rewrites import RewriteExample, neighbours, rewrite_example
from pos.data.shapes.splits import validation_prompts
from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.spr.cleaning import clean_reply
from pos.spr.instruction import InstructionTemplate
from pos.spr.local import HuggingFaceEngine, load_model
from pos.storage import asset, write_atomic
from pos.training.task import Optimization, Task

_ENDLESS = 2**31  # batches; no run sees the end of it
_CONTEXT = 1024  # tokens of instruction and answer; an instruction takes some 130


def language_model(width: int, layers: int, heads: int, feed_forward: int) -> LlamaForCausalLM:
    """A Llama over the Shapes tokenizer, with tied embeddings, from random weights.

    Args:
        width: of the hidden states, a multiple of 2 * heads.
        layers, heads, feed_forward: as in Llama.
    """
    tokenizer = causal_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def causal_tokenizer() -> PreTrainedTokenizerBase:
    """The shipped tokenizer of Shapes, for a language model."""
    return load_tokenizer(asset("shapes/tokenizer.json"), causal=True)


class RewriterTask(Task):
    """Trains a language model to answer instructions; only the tokens of the answers count.

    Validation lets the exported model answer through ``HuggingFaceEngine``, as it is used later.

    Args:
        network: the language model.
        optimization: optimiser and schedule.
        max_words: limit of a rewrite, for the validation.
    """

    def __init__(self, network: LlamaForCausalLM, optimization: Optimization, max_words: int = 20) -> None:
        super().__init__(network, optimization)
        self.max_words = max_words

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        loss = answer_loss(self.network, batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:  # noqa: ARG002
        with tempfile.TemporaryDirectory() as folder:
            export_language_model(self.network, Path(folder))
            engine = HuggingFaceEngine(folder, temperatures=[0.0], device=str(self.device))
            replies = engine.reply(batch["instructions"], attempt=0, seed=0)
        rewrites = [clean_reply(reply.text) for reply in replies]
        if batch["world"] == "shapes":
            rates = judge_rewrites(batch["prompts"], rewrites, self.max_words)
        else:
            pairs = zip(batch["prompts"], rewrites, strict=True)
            rates = {"foreign_repeated": fmean(prompt.lower() == text.lower() for prompt, text in pairs)}
        self.log_dict(rates, batch_size=len(rewrites))

    def export(self, path: Path) -> None:
        """Write the Hugging Face folder whose ``model.safetensors`` is ``path``, in half precision."""
        export_language_model(self.network, path.parent)

    def load(self, path: Path) -> None:
        self.network.load_state_dict(load_model(path.parent, torch.float32).state_dict())


def answer_loss(network: LlamaForCausalLM, batch: dict[str, Tensor]) -> Tensor:
    """The mean cross-entropy of the answers' tokens. Logits are made for these alone, to save memory.

    No attention mask is needed: padding stands on the right, where causal attention never looks.
    """
    hidden = network.model(input_ids=batch["input_ids"], use_cache=False).last_hidden_state
    logits = network.lm_head(hidden.flatten(0, 1)[batch["positions"]])
    return F.cross_entropy(logits.float(), batch["targets"])


def judge_rewrites(prompts: Sequence[str], rewrites: Sequence[str], max_words: int) -> dict[str, float]:
    """Rates over rewrites of Shapes prompts.

    Returns:
        ``kept``: the share that keep every attribute their prompt names; ``complete``: the share that name
        all six; ``within_limit``: the share of 1 to ``max_words`` words.
    """
    return {
        "kept": fmean(not changed_attributes(*pair) for pair in zip(prompts, rewrites, strict=True)),
        "complete": fmean(len(named_attributes(rewrite)) == len(ATTRIBUTES) for rewrite in rewrites),
        "within_limit": fmean(0 < len(rewrite.split()) <= max_words for rewrite in rewrites),
    }


def export_language_model(network: LlamaForCausalLM, folder: Path) -> None:
    """Write model and tokenizer in the Hugging Face layout, weights in half precision, each file atomically.

    Raises:
        PosError: a weight is not finite in half precision, or the folder cannot be written.
    """
    state = {name: tensor.detach().half().cpu() for name, tensor in network.state_dict().items()}
    del state["lm_head.weight"]  # tied to the embeddings
    bad = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if bad:
        raise PosError(f"The weight '{bad[0]}' is not finite in half precision: nothing was written.")
    with tempfile.TemporaryDirectory() as temporary:
        save_file(state, Path(temporary) / "model.safetensors", metadata={"format": "pt"})
        network.config.save_pretrained(temporary)
        network.generation_config.save_pretrained(temporary)
        causal_tokenizer().save_pretrained(temporary)
        for path in sorted(Path(temporary).iterdir()):
            write_atomic(folder / path.name, path.read_bytes())


class RewriterData(pl.LightningDataModule):
    """Instructions with answers, drawn without end by the workers, and prompts to validate on.

    Batch i of the stream is a function of the seed and i, so a resumed run goes on where it stopped.

    Args:
        template: the instruction.
        batch_size: examples of a training batch, of each process.
        seed: of the stream.
        workers: processes that draw.
        references: captions in an instruction (k of Eq. 6).
        max_words: the limit the instruction states.
        validation: validation prompts; a quarter as many prompts of another world join them.
    """

    def __init__(
        self,
        template: InstructionTemplate,
        batch_size: int,
        seed: int,
        workers: int = 4,
        references: int = 5,
        max_words: int = 20,
        validation: int = 256,
    ) -> None:
        super().__init__()
        if min(batch_size, references, validation) < 1 or workers < 0:
            raise PosError(
                f"batch_size {batch_size}, references {references} and validation {validation} must be at "
                f"least 1, and workers {workers} at least 0."
            )
        self.template = template
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.references, self.max_words, self.validation = references, max_words, validation

    @property
    def description(self) -> str:
        """What a card says about the data."""
        return (
            f"rewriting examples of the Shapes world, seed {self.seed}, {self.references} references each; "
            f"held out: {self.validation} validation prompts"
        )

    def train_dataloader(self) -> DataLoader:
        # Batch numbers go on from the step a checkpoint was made at, and the processes take turns.
        first = self.trainer.global_step * self.trainer.world_size + self.trainer.global_rank
        return DataLoader(
            RewriteStream(self.template, self.batch_size, self.seed, self.references, self.max_words),
            batch_size=None,
            sampler=range(first, _ENDLESS, self.trainer.world_size),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        rng = random.Random(self.seed)
        shapes = [prompt.text for prompt in validation_prompts(self.validation)]
        foreign = [english.sentence(rng) for _ in range(max(1, self.validation // 4))]
        batches = [self._questions(shapes, "shapes", rng), self._questions(foreign, "foreign", rng)]
        return DataLoader(batches, batch_size=None)

    def _questions(self, prompts: list[str], world: str, rng: random.Random) -> dict[str, Any]:
        instructions = [
            self.template.render(neighbours(prompt, self.references, rng), prompt, self.max_words)
            for prompt in prompts
        ]
        return {"world": world, "prompts": prompts, "instructions": instructions}


class RewriteStream(Dataset):
    """Batch i of an endless stream: see ``tokenize_examples``."""

    def __init__(
        self, template: InstructionTemplate, batch_size: int, seed: int, references: int, max_words: int
    ) -> None:
        self.template, self.batch_size, self.seed = template, batch_size, seed
        self.references, self.max_words = references, max_words
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # loader workers are the parallelism
        self.tokenizer = causal_tokenizer()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = random.Random(self.seed << 40 | index)
        examples = [rewrite_example(rng, self.references) for _ in range(self.batch_size)]
        return tokenize_examples(self.tokenizer, self.template, examples, self.max_words)


def tokenize_examples(
    tokenizer: PreTrainedTokenizerBase,
    template: InstructionTemplate,
    examples: Sequence[RewriteExample],
    max_words: int,
) -> dict[str, Tensor]:
    """Examples to a batch.

    Returns:
        ``input_ids`` (b, n): ``<bos> instruction answer``, padded on the right; ``positions`` (m,): indices
        into the b * n tokens after which an answer's token (or the end) comes; ``targets`` (m,): these.
    """
    texts = [template.render(example.references, example.prompt, max_words) for example in examples]
    questions = tokenizer(texts)["input_ids"]
    answered = tokenizer([example.answer for example in examples], add_special_tokens=False)["input_ids"]
    length = max(len(question) + len(answer) for question, answer in zip(questions, answered, strict=True))
    ids = torch.full((len(examples), length), tokenizer.pad_token_id)
    positions, targets = [], []
    for row, (question, answer) in enumerate(zip(questions, answered, strict=True)):
        ids[row, : len(question) + len(answer)] = torch.tensor(question + answer)
        first = row * length + len(question) - 1
        positions += range(first, first + len(answer) + 1)
        targets += [*answer, tokenizer.eos_token_id]
    return {"input_ids": ids, "positions": torch.tensor(positions), "targets": torch.tensor(targets)}
