import math
import random

import pytest
import pytorch_lightning as pl
import torch

from pos.data.shapes.rewrites import rewrite_example
from pos.errors import PosError
from pos.spr.instruction import InstructionTemplate
from pos.spr.local import HuggingFaceEngine
from pos.training.rewriter import (
    RewriterData,
    RewriterTask,
    RewriteStream,
    answer_loss,
    causal_tokenizer,
    export_language_model,
    judge_rewrites,
    language_model,
    tokenize_examples,
)
from pos.training.task import Optimization

TEMPLATE = InstructionTemplate("{examples}\nSentence: {prompt}\nIn {max_words} words:")


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return language_model(width=32, layers=2, heads=2, feed_forward=64).eval()


@pytest.fixture(scope="module")
def examples():
    rng = random.Random(0)
    return [rewrite_example(rng, 2) for _ in range(6)]


def test_the_targets_are_the_answers_and_their_ends(examples):
    tokenizer = causal_tokenizer()
    batch = tokenize_examples(tokenizer, TEMPLATE, examples, max_words=20)
    ends = (batch["targets"] == tokenizer.eos_token_id).nonzero().flatten().tolist()
    starts = [0, *[end + 1 for end in ends[:-1]]]
    answers = [tokenizer.decode(batch["targets"][a:b]) for a, b in zip(starts, ends, strict=True)]
    assert answers == [example.answer for example in examples]
    length = batch["input_ids"].shape[1]
    rows = batch["positions"] // length
    for row, (example, start) in enumerate(zip(examples, starts, strict=True)):
        assert (rows[start : ends[row] + 1] == row).all()
        before = batch["input_ids"][row, : batch["positions"][start] % length + 1]
        question = TEMPLATE.render(example.references, example.prompt, 20)
        assert tokenizer.decode(before) == tokenizer.bos_token + " " + question


def test_the_loss_is_that_of_transformers_with_all_else_masked(network, examples):
    batch = tokenize_examples(causal_tokenizer(), TEMPLATE, examples, max_words=20)
    # transformers predicts position i + 1 from i; the last end has no place in input_ids: add one.
    ids = torch.nn.functional.pad(batch["input_ids"], (0, 1))
    labels = torch.full(ids.shape, -100)
    length = batch["input_ids"].shape[1]
    for position, target in zip(batch["positions"].tolist(), batch["targets"].tolist(), strict=True):
        labels[position // length, position % length + 1] = target
    expected = network(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(answer_loss(network, batch), expected, rtol=1e-5, atol=1e-6)


def test_batches_depend_on_their_number_alone():
    stream = RewriteStream(TEMPLATE, batch_size=3, seed=1, references=2, max_words=20)
    first = stream[5]
    assert not torch.equal(stream[6]["targets"], first["targets"])
    for name, tensor in stream[5].items():
        assert torch.equal(tensor, first[name])


def test_an_exported_model_answers_through_the_engine(network, tmp_path):
    export_language_model(network, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 2 * network.num_parameters() + 10_000
    question = TEMPLATE.render(["a red ring"], "a star", 20)
    (reply,) = HuggingFaceEngine(str(tmp_path), max_new_tokens=6).reply([question], attempt=0, seed=0)
    tokenizer = causal_tokenizer()
    ids = tokenizer(question, return_tensors="pt")["input_ids"]
    network = network.float()
    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat([ids, network(ids).logits[:, -1].argmax(dim=1, keepdim=True)], dim=1)
    assert reply.text == tokenizer.decode(ids[0, -6:], skip_special_tokens=True)


def test_weights_beyond_half_precision_are_not_exported(network, tmp_path):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    broken = language_model(width=32, layers=2, heads=2, feed_forward=64)
    broken.load_state_dict(state)
    broken.model.norm.weight.data[0] = 1e6
    with pytest.raises(PosError, match=r"'model\.norm\.weight' is not finite"):
        export_language_model(broken, tmp_path)
    assert not list(tmp_path.iterdir())


def test_judging_rewrites():
    rates = judge_rewrites(
        ["red ring moving left", "small star"],
        ["A small red ring moves left on a plain grey wall.", "A large star " + "slowly " * 20],
        max_words=20,
    )
    assert rates == {"kept": 0.5, "complete": 0.5, "within_limit": 0.5}


def test_training_lowers_the_loss_and_validation_reports_the_rates(tmp_path):
    data = RewriterData(TEMPLATE, batch_size=8, seed=0, workers=0, references=1, validation=4)
    torch.manual_seed(0)
    task = RewriterTask(
        language_model(width=32, layers=1, heads=2, feed_forward=64),
        Optimization(learning_rate=1e-2, warmup=2),
    )
    trainer = pl.Trainer(
        max_steps=30, val_check_interval=30, accelerator="cpu", logger=False, num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["train_loss"] < math.log(len(causal_tokenizer())) - 2
    assert metrics.keys() - {"train_loss"} == {"kept", "complete", "within_limit", "foreign_repeated"}
    task.export(tmp_path / "rewriter" / "model.safetensors")
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    task.network.model.norm.weight.data.zero_()
    task.load(tmp_path / "rewriter" / "model.safetensors")
    for name, tensor in task.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-3, atol=1e-6)


def test_sizes_below_one_are_refused():
    with pytest.raises(PosError, match="batch_size 0"):
        RewriterData(TEMPLATE, batch_size=0, seed=0)
