"""A tiny random Llama in the files and layout that meta-llama/Llama-2-7b-chat-hf is published in."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import LlamaConfig, LlamaForCausalLM

TEXT = "rewrite the sentence a red ring moves left bright slowly sure here is : . [INST] [/INST]"
WORDS = TEXT.split()
BLANK = "\u2581"  # how sentencepiece writes it
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{% set asked = messages[1:] %}"
    "{% set system = messages[0]['content'] %}"
    "{% else %}{% set asked = messages %}{% set system = false %}{% endif %}"
    "{% for message in asked %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if loop.index0 == 0 and system != false %}"
    "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
"""Llama 2's: one turn is ``<s>[INST] words [/INST]``."""


def tokenizer() -> Tokenizer:
    """As tokenizer.json holds it: pairs merged, a blank before the text, bytes where no token is."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:  # every word from its characters, then with the blank before it
        made = word[0]
        for character in word[1:]:
            merges.append((made, character))
            made += character
        merges.append((BLANK, word))
    merges = list(dict.fromkeys(merges))
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), BLANK, *"".join(WORDS)]
    tokens += [first + second for first, second in merges]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    made.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    return made


def write_llama(folder: Path) -> Path:
    """The published files with small random contents: weights in two shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    made.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = LlamaConfig(
        vocab_size=made.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-5,
        bos_token_id=1, eos_token_id=2, initializer_range=0.3, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = {name: tensor.half() for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    for layer in range(2):  # the published shards carry these old buffers
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    _write_shards(folder, weights)
    _write(folder, "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": config.vocab_size,
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "bos_token_id": 1, "eos_token_id": 2, "pretraining_tp": 1, "rope_scaling": None, "use_cache": True,
        "tie_word_embeddings": False, "initializer_range": 0.02, "torch_dtype": "float16",
        "transformers_version": "4.32.0.dev0",
    })  # fmt: skip
    _write(folder, "generation_config.json", {
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "do_sample": True, "temperature": 0.6,
        "top_p": 0.9, "max_length": 4096, "transformers_version": "4.32.0.dev0",
    })  # fmt: skip
    _write(folder, "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "legacy": False, "model_max_length": 10**30,
        "pad_token": None, "padding_side": "right", "clean_up_tokenization_spaces": False,
        "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer", "chat_template": CHAT_TEMPLATE, **special,
    })  # fmt: skip
    _write(folder, "special_tokens_map.json", special)
    return folder


def _write_shards(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    names = sorted(weights)
    shards = {"00001": names[: len(names) // 2], "00002": names[len(names) // 2 :]}
    where = {}
    for number, part in shards.items():
        file = f"model-{number}-of-00002.safetensors"
        save_file({name: weights[name].contiguous() for name in part}, folder / file, {"format": "pt"})
        where |= dict.fromkeys(part, file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    _write(folder, "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})


def _write(folder: Path, name: str, content: dict) -> None:
    (folder / name).write_text(json.dumps(content))
