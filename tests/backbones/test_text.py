"""CLIP text towers: which tokens they see, and which hidden state the network."""

from __future__ import annotations

import logging
from pathlib import Path

import open_clip
import pytest
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pos.backbones.text import ClipText
from pos.conversion.keys.open_clip import from_open_clip
from pos.errors import PosError
from tests.backbones.published import LENGTH, drawn, text_model, tokenizer

START, END = 1, 55
A, B_AT_THE_END = 2, 29  # of a word


@pytest.fixture
def words(tmp_path: Path):
    return tokenizer(tmp_path / "tokenizer")


def seen(text: ClipText, prompt: str) -> list[int]:
    """The tokens that the model is given."""
    tokens = []
    hook = text.model.register_forward_pre_hook(
        lambda _, __, keywords: tokens.append(keywords["input_ids"]), with_kwargs=True
    )
    text([prompt])
    hook.remove()
    return tokens[0][0].tolist()


@pytest.mark.parametrize(("pad_id", "filled"), [(None, END), (0, 0), (END, END)])
def test_a_text_is_filled_up_with_its_pad(words, pad_id: int | None, filled: int) -> None:
    text = ClipText(text_model(CLIPTextModel, 0), words, pad_id=pad_id)
    assert seen(text, "ab") == [START, A, B_AT_THE_END, END] + [filled] * (LENGTH - 4)


def test_xl_fills_up_with_an_exclamation_mark(tmp_path: Path) -> None:
    text = ClipText(text_model(CLIPTextModel, 0), tokenizer(tmp_path, pad="!"))
    assert seen(text, "ab")[3:6] == [END, 0, 0]


def open_clip_tower() -> nn.Module:
    """OpenCLIP's text tower of the kind of ViT-H and ViT-bigG, which Stable Diffusion XL reads."""
    tower = open_clip.transformer.TextTransformer(
        context_length=LENGTH, vocab_size=56, width=16, heads=2, layers=3, output_dim=10
    )
    return drawn(tower, 5, 0.3)


def transformers_model(tower: nn.Module, layers: int = 3) -> CLIPTextModelWithProjection:
    """The same in transformers, with its first layers."""
    config = CLIPTextConfig(
        vocab_size=56, hidden_size=16, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=LENGTH, projection_dim=10, hidden_act="gelu", eos_token_id=END,
    )  # fmt: skip
    state = dict(tower.state_dict())
    projection = state.pop("text_projection")
    kept = {name: value for name, value in state.items() if f"resblocks.{layers}." not in name}
    model = CLIPTextModelWithProjection(config)
    named = {f"text_model.{name}": value for name, value in from_open_clip(kept).items()}
    model.load_state_dict({**named, "text_projection.weight": projection.T.contiguous()})
    return model


@torch.no_grad()
def test_the_second_encoder_of_xl_is_open_clips(tmp_path: Path) -> None:
    tower, ids = open_clip_tower(), tokenizer(tmp_path, pad="!")
    text = ClipText(transformers_model(tower), ids, "penultimate")
    prompts = ["a red ring", "blue"]
    tokens = torch.tensor([seen(text, prompt) for prompt in prompts])
    states = []
    tower.transformer.resblocks[1].register_forward_hook(lambda *call: states.append(call[-1]))
    pooled = tower(tokens)
    output = text.encode(prompts)
    torch.testing.assert_close(text.context(output), states[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(text(prompts)["context"], states[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.text_embeds, pooled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_tower_without_its_last_layer_is_read_after_the_norm(words) -> None:
    """What ModelScope publishes of OpenCLIP ViT-H: the penultimate layer and ln_final."""
    tower = open_clip_tower()
    text = ClipText(transformers_model(tower, layers=2).text_model, words, "last", pad_id=0)
    tokens = torch.tensor([seen(text, "a red ring")])
    states = []
    tower.transformer.resblocks[1].register_forward_hook(lambda *call: states.append(call[-1]))
    tower(tokens)
    wanted = tower.ln_final(states[0])
    torch.testing.assert_close(text(["a red ring"])["context"], wanted, rtol=1e-4, atol=1e-5)


def test_a_long_prompt_is_cut_with_one_warning(words, caplog: pytest.LogCaptureFixture) -> None:
    text = ClipText(text_model(CLIPTextModel, 0), words)
    prompt = "abc " * 6 + "xyz " * 4
    with caplog.at_level(logging.WARNING):
        text([prompt, prompt])
        text([prompt, "abc"])
    assert len(caplog.records) == 1
    assert f"{LENGTH} tokens" in caplog.text
    assert "drops 'yz xyz xyz'" in caplog.text
    assert seen(text, prompt)[-1] == END


def test_another_hidden_state_is_refused(words) -> None:
    with pytest.raises(PosError, match="hidden_state='first' is unknown: choose last or penultimate"):
        ClipText(text_model(CLIPTextModel, 0), words, "first")
