"""Cards: what was done stays, what is reached can be measured again."""

import pytest

from pos.errors import PosError
from pos.training import export

RECORD = export.Record(
    name="judge",
    command="python experiments/train.py +experiment=shapes/judge",
    commit="abc",
    device="CPU",
    steps=1200,
    samples=38400,
    seconds=90.0,
    parameters=1000,
    data="a stream",
)


def test_a_card_says_how_and_what_and_is_refreshed(tmp_path):
    weights, card = tmp_path / "judge.safetensors", tmp_path / "judge.md"
    weights.write_bytes(b"x" * 2**20)
    export.write_card(card, RECORD, {"accuracy shape": 0.5}, weights)
    text = card.read_text()
    for part in ("`python experiments/train.py +experiment=shapes/judge`", "commit: abc", "steps: 1,200"):
        assert part in text
    assert "wall time: 1.5 minutes" in text
    assert "1,000 (1.00 MiB on disk)" in text
    assert "| accuracy shape | 0.5 |" in text
    export.refresh_card(card, {"accuracy shape": 0.98})
    fresh = card.read_text()
    assert "| accuracy shape | 0.98 |" in fresh
    assert fresh.replace("0.98", "0.5") == text


def test_a_card_that_is_not_there_cannot_be_refreshed(tmp_path):
    with pytest.raises(PosError, match="train the network first"):
        export.refresh_card(tmp_path / "none.md", {})


def test_the_commit_comes_from_the_environment_first(monkeypatch):
    monkeypatch.setenv("POS_COMMIT", "deadbeef")
    assert export.commit() == "deadbeef"


def test_no_git_means_unknown(monkeypatch):
    monkeypatch.delenv("POS_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert export.commit() == "unknown"
