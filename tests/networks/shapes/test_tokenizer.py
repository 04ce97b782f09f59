import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pos.data.shapes.splits import training_batch
from pos.errors import PosError
from pos.networks.shapes.tokenizer import CONTEXT, load_tokenizer, train_tokenizer
from pos.networks.tokens import dropped_text, token_count
from pos.storage import asset

SHIPPED = asset("shapes/tokenizer.json")
TOWER, CAUSAL = load_tokenizer(SHIPPED), load_tokenizer(SHIPPED, causal=True)


def test_special_tokens_and_size():
    assert (TOWER.pad_token_id, TOWER.bos_token_id, TOWER.eos_token_id) == (0, 1, 2)
    assert len(TOWER) <= 2000
    assert sorted(TOWER.get_vocab().values()) == list(range(len(TOWER)))


def test_captions_are_read_word_by_word_and_fit_the_context():
    captions = training_batch(9, 0, 300, details=(3,)).captions
    assert max(token_count(TOWER, text) for text in captions) <= 32
    assert len(TOWER.tokenize("small red ring moving left")) == 5


def test_towers_pad_to_the_context_between_begin_and_end():
    ids = TOWER(
        ["", "Ring", "ring " * 100], padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    assert ids.shape == (3, CONTEXT)
    assert ids[0, :3].tolist() == [1, 2, 0]
    assert ids[1].tolist() == TOWER("ring", padding="max_length").input_ids
    assert ids[2, [0, -1]].tolist() == [1, 2]


def test_language_models_keep_case_and_leave_the_end_open():
    ids = CAUSAL(["Ring", "a red ring"], padding=True).input_ids
    assert ids[0][:-2] == [0] * (len(ids[0]) - 2)
    assert ids[1][0] == 1
    assert 2 not in ids[1]
    assert CAUSAL("Ring").input_ids != CAUSAL("ring").input_ids


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40).filter(lambda text: not text.startswith(" ")))
def test_every_text_can_be_written_and_read(text):
    assert CAUSAL.decode(CAUSAL(text).input_ids, skip_special_tokens=True) == text


def test_the_dropped_end_of_a_long_text_is_named():
    text = " ".join(["ring"] * (CONTEXT - 2) + ["seen", "last"])
    assert dropped_text(TOWER, text, CONTEXT) == "seen last"
    assert token_count(TOWER, text) == CONTEXT + 2
    assert dropped_text(TOWER, "a red ring", CONTEXT) == ""


def test_training_is_deterministic_and_learns_frequent_words(tmp_path):
    corpus = ["a zebra walks", "the zebra sleeps"] * 3
    first, again = train_tokenizer(corpus, 300), train_tokenizer(corpus, 300)
    assert first.to_str() == again.to_str()
    first.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").tokenize("zebra") == ["Ġzebra"]


def test_a_missing_broken_or_foreign_file_is_named(tmp_path):
    with pytest.raises(PosError, match=r"no tokenizer at .*absent\.json"):
        load_tokenizer(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(PosError, match=r"broken\.json cannot be read"):
        load_tokenizer(tmp_path / "broken.json")
    foreign = train_tokenizer(["a text"], 300).to_str().replace("<bos>", "<s>")
    (tmp_path / "foreign.json").write_text(foreign)
    with pytest.raises(PosError, match=r"lacks the tokens <bos> and <eos>"):
        load_tokenizer(tmp_path / "foreign.json")
