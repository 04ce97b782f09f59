"""Llama 2 as it is published, through the same engine as the language model of Shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from pos.spr.local import HuggingFaceEngine, load_tokenizer
from tests.closed_form import WordCounts
from tests.spr.llama import tokenizer, write_llama

CONF = Path(__file__).parents[2] / "conf"
INSTRUCTIONS = ["rewrite the sentence : a red ring", "  a ring moves left .\n", "Ünïcode \u2603 too"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama") / "Llama-2-7b-chat-hf")


def by_hand(folder: Path, instruction: str, length: int) -> tuple[int, list[int]]:
    """How many tokens are read, and those written greedily, without padding, cache or chat template."""
    config = LlamaConfig.from_pretrained(folder)
    model = LlamaForCausalLM(config).eval()
    weights = {
        name: tensor.float()
        for file in folder.glob("*.safetensors")
        for name, tensor in load_file(file).items()
        if "rotary" not in name
    }
    model.load_state_dict(weights, strict=True)
    asked = f"<s>[INST] {instruction.strip()} [/INST]"
    ids = load_tokenizer(folder)(asked, add_special_tokens=False)["input_ids"]
    read = len(ids)
    with torch.no_grad():
        while len(ids) < read + length:
            best = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if best == 2:
                break
            ids.append(best)
    return read, ids[read:]


def test_a_padded_batch_through_the_chat_template_equals_a_loop_by_hand(folder):
    engine = HuggingFaceEngine(str(folder), temperatures=[0.0], max_new_tokens=10)
    replies = engine.reply(INSTRUCTIONS, attempt=0, seed=0)
    lengths = set()
    for instruction, reply in zip(INSTRUCTIONS, replies, strict=True):
        read, written = by_hand(folder, instruction, 10)
        assert reply.text == tokenizer().decode(written)
        assert reply.instruction_tokens == read
        assert reply.reply_tokens == len([token for token in written if token > 2])
        lengths.add(read)
    assert len(lengths) == len(INSTRUCTIONS)  # so the batch was padded


def test_the_tokenizer_is_the_published_one(folder):
    loaded = load_tokenizer(folder)
    assert loaded.padding_side == "left"
    assert loaded("a red ring")["input_ids"] == tokenizer().encode("a red ring").ids
    chat = loaded.apply_chat_template([{"role": "user", "content": " a ring "}], tokenize=False)
    assert chat == "<s>[INST] a ring [/INST]"


def test_sampling_follows_seed_and_attempt_and_not_the_published_settings(folder):
    engine = HuggingFaceEngine(str(folder), temperatures=[0.0, 1.0], max_new_tokens=8)

    def texts(**which: int) -> list[str]:
        return [reply.text for reply in engine.reply(INSTRUCTIONS, **which)]

    greedy = texts(attempt=0, seed=0)
    assert texts(attempt=0, seed=1) == greedy  # generation_config.json would sample
    sampled = texts(attempt=1, seed=0)
    assert sampled == texts(attempt=1, seed=0) != greedy
    assert texts(attempt=1, seed=1) != sampled


@pytest.mark.parametrize("references", [0, 2])
def test_the_configured_rewriter_rewrites_with_and_without_references(folder, tmp_path, references):
    overrides = [
        "rewriter=llama2", f"rewriter.engine.model={folder}", "rewriter.engine.dtype=float32", "device=cpu",
        f"cache={tmp_path}", f"rewriter.references={references}", "rewriter.engine.max_new_tokens=6",
        "rewriter.guard.min_similarity=-1",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        rewriter = instantiate(compose("generate", overrides).rewriter)
    prompts = ["a red ring", "a ring moves left"]
    examples = [["a bright ring", "the ring"][:references]] * 2
    rewrites = rewriter.rewrite(prompts, examples, WordCounts(tmp_path))
    assert all(rewrite.reply_tokens <= 6 * rewrite.attempts for rewrite in rewrites)
    for prompt, rewrite in zip(prompts, rewrites, strict=True):
        assert rewrite.accepted or rewrite.text == prompt
    kept = (tmp_path / "replies.jsonl").read_bytes()
    assert rewriter.referring(references).rewrite(prompts, examples, WordCounts(tmp_path)) == rewrites
    assert (tmp_path / "replies.jsonl").read_bytes() == kept
