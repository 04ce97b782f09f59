import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pos.errors import PosError
from pos.spr.engines import Reply
from pos.spr.local import GumbelSampling, HuggingFaceEngine, fingerprint_folder

INSTRUCTIONS = ["a red ring", "rewrite: a small blue square moving left on a plain background", "x"]


def byte_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """One token a byte: enough for any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", "<pad>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", **special)


def save_model(folder: Path, **special: str) -> Path:
    tokenizer = byte_tokenizer(**special)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=2,
                bos_token_id=0,
                eos_token_id=1,
                initializer_range=0.3,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), pad_token="<pad>")


def ask(engine: HuggingFaceEngine, texts: Sequence[str] = INSTRUCTIONS, *, attempt: int = 0, seed: int = 0):
    """What the engine says to each text, in their order."""
    found: dict[int, Reply] = {}
    for replies in engine.complete(texts, attempt=attempt, seed=seed):
        found |= replies
    return [found[row].text for row in range(len(texts))]


def greedy_by_hand(folder: Path, text: str, tokens: int) -> str:
    model, tokenizer = LlamaForCausalLM.from_pretrained(folder).eval(), byte_tokenizer()
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    length = ids.shape[1]
    with torch.no_grad():
        for _ in range(tokens):
            best = model(input_ids=ids).logits[0, -1].argmax()
            if best == 1:
                break
            ids = torch.cat([ids, best.view(1, 1)], dim=1)
    return tokenizer.decode(ids[0, length:], skip_special_tokens=True)


def test_greedy_replies_of_a_padded_batch_equal_a_loop_without_padding_and_cache(folder):
    engine = HuggingFaceEngine(str(folder), temperatures=[0.0], max_new_tokens=8, batch_size=3)
    expected = [greedy_by_hand(folder, text, 8) for text in INSTRUCTIONS]
    assert ask(engine) == expected


def test_sampled_replies_do_not_depend_on_batch_order_or_the_global_generator(folder):
    engine = HuggingFaceEngine(str(folder), temperatures=[0.0, 1.0], max_new_tokens=8, batch_size=3)
    replies = ask(engine, attempt=1)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    single = HuggingFaceEngine(str(folder), temperatures=[0.0, 1.0], max_new_tokens=8, batch_size=1)
    assert ask(single, INSTRUCTIONS[::-1], attempt=1) == replies[::-1]
    assert torch.equal(torch.get_rng_state(), before)


def test_attempt_and_seed_change_a_sampled_reply_and_only_a_sampled_one(folder):
    engine = HuggingFaceEngine(str(folder), temperatures=[0.0, 1.0], max_new_tokens=8)
    first = ask(engine, attempt=1)
    assert ask(engine, attempt=2) != first
    assert ask(engine, attempt=1, seed=1) != first
    assert ask(engine, seed=1) == ask(engine)


def test_gumbel_sampling_draws_from_the_softmax_at_its_temperature():
    logits = torch.tensor([2.0, 0.0, 1.0, -torch.inf])
    rows = 4000
    sampling = GumbelSampling(2.0, [f"{row:016x}" for row in range(rows)])
    counts = Counter(sampling(torch.zeros(rows, 1), logits.expand(rows, 4)).argmax(dim=1).tolist())
    expected = (logits / 2.0).softmax(dim=0)
    assert counts[3] == 0
    for token in range(3):
        assert counts[token] / rows == pytest.approx(expected[token].item(), abs=0.03)


def test_a_model_goes_to_its_device_once(folder, monkeypatch):
    moved, move = [], LlamaForCausalLM.to
    monkeypatch.setattr(
        LlamaForCausalLM, "to", lambda self, *where: (moved.append(where), move(self, *where))[1]
    )
    engine = HuggingFaceEngine(str(folder), max_new_tokens=2)
    for _ in range(2):
        ask(engine)
    assert moved == [(engine.device,)]


def test_a_chat_template_is_used_when_the_tokenizer_has_one(folder, tmp_path):
    chat = save_model(tmp_path / "chat", pad_token="<pad>")
    (chat / "chat_template.jinja").write_text("<s>[INST] {{ messages[0]['content'] }} [/INST]")
    replies = ask(HuggingFaceEngine(str(chat), max_new_tokens=6))
    wrapped = [f"[INST] {text} [/INST]" for text in INSTRUCTIONS]
    assert replies == ask(HuggingFaceEngine(str(folder), max_new_tokens=6), wrapped)


def test_a_tokenizer_without_pad_token_pads_with_its_end_token(folder, tmp_path):
    engine = HuggingFaceEngine(str(save_model(tmp_path / "llama")), max_new_tokens=6)
    expected = ask(HuggingFaceEngine(str(folder), max_new_tokens=6))
    assert ask(engine) == expected


def test_fingerprint_follows_weights_and_decoding_but_not_batch_size(folder, tmp_path):
    fingerprint = HuggingFaceEngine(str(folder)).fingerprint
    assert HuggingFaceEngine(str(folder), batch_size=2).fingerprint == fingerprint
    assert HuggingFaceEngine(str(folder), temperatures=[0.5]).fingerprint != fingerprint
    copy = save_model(tmp_path / "copy", pad_token="<pad>")
    assert fingerprint_folder(copy) == fingerprint_folder(folder)
    weights = copy / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert fingerprint_folder(copy) != fingerprint_folder(folder)


def test_an_absent_model_is_named_with_the_command_and_the_key(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        PosError, match=r"'nobody/nothing'.*hf download nobody/nothing.*rewriter\.engine\.model=DIR"
    ):
        HuggingFaceEngine("nobody/nothing")


def test_weights_that_are_not_safetensors_are_refused(tmp_path):
    pickled = save_model(tmp_path / "pickled", pad_token="<pad>")
    torch.save({}, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(PosError, match=r"no \.safetensors weights: convert them first"):
        ask(HuggingFaceEngine(str(pickled)), ["x"])


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"hidden_size": 64}, {"intermediate_size": 64}])
def test_weights_that_do_not_fit_the_configuration_are_refused(tmp_path, change):
    broken = save_model(tmp_path / "broken", pad_token="<pad>")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(PosError, match=str(broken)):
        ask(HuggingFaceEngine(str(broken)), ["x"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperatures": [-1.0]}, "temperatures is"),
        ({"temperatures": []}, "temperatures is"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
    ],
)
def test_settings_outside_their_range_are_refused(folder, wrong, message):
    with pytest.raises(PosError, match=message):
        HuggingFaceEngine(str(folder), **wrong)
