"""Language models on this machine in the Hugging Face layout: the small one of Shapes, Llama 2, ..."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BatchEncoding,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from pos.devices import resolve_device
from pos.errors import PosError
from pos.spr.engines import Reply, at_attempt, check_temperatures
from pos.storage import asset, content_hash, file_digest

logger = logging.getLogger(__name__)

FINGERPRINTED = ("*.safetensors", "*config.json", "tokenizer*", "special_tokens_map.json", "*.jinja")


class HuggingFaceEngine:
    """Any causal language model, through its chat template where it has one.

    Loaded at the first instruction, so that a run whose rewrites are all cached never loads it. A reply
    depends on its instruction, the attempt and the seed alone: every instruction draws from its own
    generator, whatever its batch.

    Args:
        model: a folder, the name of a shipped asset (``shapes/rewriter``) or a Hub id whose files are already
            on this machine. Weights are read from safetensors only.
        temperatures: the sampling temperature of each attempt, the last serving all later ones; 0 is greedy.
        max_new_tokens: length limit of a reply in tokens.
        batch_size: instructions in one batch.
        device: where the model runs; ``auto`` takes the GPU where there is one.
        dtype: its precision, ``float32``, ``float16`` or ``bfloat16``.

    Raises:
        PosError: a negative temperature, none at all, a size below 1, an unknown dtype, an absent device or
            model.
    """

    def __init__(
        self,
        model: str,
        *,
        temperatures: Sequence[float] = (0.0, 0.7),
        max_new_tokens: int = 64,
        batch_size: int = 8,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        self.temperatures = check_temperatures(temperatures)
        if min(max_new_tokens, batch_size) < 1:
            raise PosError(
                f"max_new_tokens is {max_new_tokens} and batch_size {batch_size}: give at least 1."
            )
        if dtype not in ("float32", "float16", "bfloat16"):
            raise PosError(f"dtype is '{dtype}': a language model runs in float32, float16 or bfloat16.")
        self.folder = resolve_model(model)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = resolve_device(device)
        self.dtype = getattr(torch, dtype)
        files = fingerprint_folder(self.folder)
        self.fingerprint = content_hash(files, self.temperatures, max_new_tokens, dtype)
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    def complete(self, instructions: Sequence[str], *, attempt: int, seed: int) -> Iterator[dict[int, Reply]]:
        """The replies of each batch, by the index of their instructions."""
        for start in range(0, len(instructions), self.batch_size):
            batch = instructions[start : start + self.batch_size]
            yield dict(enumerate(self.reply(batch, attempt=attempt, seed=seed), start))

    @torch.inference_mode()
    def reply(self, instructions: Sequence[str], *, attempt: int, seed: int) -> list[Reply]:
        """One reply to each instruction of a batch (the prompt and special tokens taken off)."""
        began = time.perf_counter()
        model, tokenizer = self._load()
        batch = _tokenize(tokenizer, instructions).to(self.device)
        temperature = at_attempt(self.temperatures, attempt)
        keys = [content_hash(seed, attempt, text) for text in instructions]
        processors = LogitsProcessorList([GumbelSampling(temperature, keys)] if temperature > 0 else [])
        tokens = cast("Any", model).generate(**batch, logits_processor=processors)
        written = tokens[:, batch["input_ids"].shape[1] :].cpu()
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        special = torch.tensor(tokenizer.all_special_ids)
        read = batch["attention_mask"].sum(1).tolist()
        lengths = (~torch.isin(written, special)).sum(1).tolist()
        seconds = (time.perf_counter() - began) / len(instructions)
        return [
            Reply(text, instruction_tokens=asked, reply_tokens=said, seconds=seconds)
            for text, asked, said in zip(texts, read, lengths, strict=True)
        ]

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._loaded is None:
            logger.info("Loading the language model %s", self.folder)
            model, tokenizer = load_model(self.folder, self.dtype), load_tokenizer(self.folder)
            cast("nn.Module", model).to(self.device)
            model.generation_config = GenerationConfig(  # not how its authors would sample
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                eos_token_id=model.generation_config.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            self._loaded = model, tokenizer
        return self._loaded


class GumbelSampling(LogitsProcessor):
    """Turns greedy decoding into sampling at a temperature, each row from its own generator.

    The argmax of ``logits / temperature + Gumbel noise`` is an exact sample of the softmax (Gumbel-max).
    ``generate`` has no generator argument and would draw a whole batch from the global one, so that a reply
    would change with its batch.

    Args:
        temperature: above 0.
        keys: one key a row; equal keys draw equal noise.
    """

    def __init__(self, temperature: float, keys: Sequence[str]) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(int(key, 16) >> 1) for key in keys]

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits (rows, vocabulary) to noisy logits of the same shape."""
        noise = torch.empty(scores.shape)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        gumbel = -noise.clamp_min(torch.finfo(noise.dtype).tiny).log()
        return scores.float() / self.temperature + gumbel.to(scores.device)


def resolve_model(model: str) -> Path:
    """The folder of a model given by folder, asset name or Hub id (from the local cache, never the net).

    Raises:
        PosError: it is not on this machine.
    """
    for folder in (Path(model), asset(model)):
        if folder.is_dir():
            return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise PosError(
            f"The language model '{model}' is not on this machine: get it with 'hf download {model}', "
            "or give a folder that holds it as rewriter.engine.model=DIR."
        ) from error


def fingerprint_folder(folder: Path) -> str:
    """A hash of the files of a model that change its replies, by content."""
    files = sorted({path for pattern in FINGERPRINTED for path in folder.glob(pattern) if path.is_file()})
    return content_hash([[path.name, file_digest(path)] for path in files])


def load_model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal language model in evaluation mode, from safetensors.

    Raises:
        PosError: no safetensors weights, an unreadable configuration, or tensors missing or of another shape.
    """
    if not any(folder.glob("*.safetensors")):
        raise PosError(
            f"{folder} holds no .safetensors weights: convert them first (experiments/convert.py)."
        )
    try:
        # With output_loading_info a pair comes back, which the stubs do not say.
        load: Any = AutoModelForCausalLM.from_pretrained
        model, info = load(
            folder, use_safetensors=True, local_files_only=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise PosError(f"The language model in {folder} cannot be loaded: {_first_line(error)}") from error
    absent = sorted(info["missing_keys"])
    if absent:
        raise PosError(f"The weights in {folder} lack {len(absent)} tensors: {', '.join(absent[:10])}.")
    return model.eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a causal language model, padding on the left as batched generation needs.

    Raises:
        PosError: the folder holds none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    except (OSError, ValueError) as error:
        raise PosError(f"The tokenizer in {folder} cannot be loaded: {_first_line(error)}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # Llama 2 has none; padding is masked
    return tokenizer


def _tokenize(tokenizer: PreTrainedTokenizerBase, instructions: Sequence[str]) -> BatchEncoding:
    """Left-padded input_ids and attention_mask; through the chat template when the tokenizer has one."""
    if tokenizer.chat_template is None:
        return tokenizer(list(instructions), padding=True, return_tensors="pt")
    chats = [[{"role": "user", "content": text}] for text in instructions]
    encoded = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
    )
    return cast("BatchEncoding", encoded)  # with return_dict=True


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
