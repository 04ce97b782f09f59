"""experiments/generate.py with each rewriter, as a user runs it: its own process in an empty folder."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from pos.spr.server import KEY
from tests.cli.test_commands import files, run, start
from tests.spr.chat_server import failed, serving, well

SECRET = "sk-planted-0123456789abcdef"
PROMPTS = [f"a {colour} ring" for colour in ("red", "blue", "green", "white", "purple", "orange")]
SPR = ("method=spr", "steps=2", "rewriter.references=0")  # without references no pool is searched
EXACT = (
    "~backbone",
    "+backbone._target_=tests.closed_form.ColourBackbone",
    "retriever.encoder._target_=tests.closed_form.WordCounts",
)


@pytest.fixture
def prompts(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv(KEY, SECRET)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    return "prompts=prompts.txt"


def rewrites(folder: Path) -> dict[str, str]:
    """The rewrite of every prompt that the cache holds."""
    lines = (folder / "outputs/cache/replies.jsonl").read_text().splitlines()
    return {
        text.removeprefix("a bright "): text for text in (json.loads(line)["value"]["text"] for line in lines)
    }


@pytest.mark.parametrize("parts", [EXACT, pytest.param((), marks=pytest.mark.slow, id="shapes")])
def test_a_killed_run_asks_nothing_twice_and_leaves_no_key(tmp_path: Path, prompts: str, parts: tuple[str]):
    with serving() as chat:
        chat.delay = 0.2
        arguments = [prompts, *SPR, *parts, "rewriter=openai", f"rewriter.engine.base_url={chat.url}"]
        process = start(tmp_path, "generate", *arguments, "rewriter.engine.concurrency=1")
        while len(chat.asked) < 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        said = "".join(process.communicate(timeout=60))
        kept = rewrites(tmp_path)
        assert 1 <= len(kept) < len(PROMPTS)
        chat.delay = 0.0

        status, stdout, stderr = run(tmp_path, "generate", *arguments)
        assert status == 0, stderr
        assert "6 of 6 rewrites accepted" in stderr
        assert rewrites(tmp_path).keys() == set(PROMPTS)
        assert {prompt: chat.counts[prompt] for prompt in kept} == dict.fromkeys(kept, 1)
        assert len(chat.asked) <= len(PROMPTS) + 1  # the one under way at the kill was never answered

        records = [json.loads(path.read_text()) for path in sorted((tmp_path / "outputs").rglob("*-s0.json"))]
        assert [record["rewritten_prompt"] for record in records] == [f"a bright {text}" for text in PROMPTS]
        assert {record["rewrite"]["reply_tokens"] for record in records} == {10}

        assert chat.authorizations == {f"Bearer {SECRET}"}
    assert not [name for name, data in files(tmp_path).items() if SECRET.encode() in data]
    assert SECRET not in said + stdout + stderr


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(tmp_path: Path, prompts: str):
    def hang(chat, *_):
        chat.released.wait(30)
        return well("too late")

    with serving(ring=hang) as chat:
        arguments = [prompts, *SPR, *EXACT, "rewriter=openai", f"rewriter.engine.base_url={chat.url}"]
        process = start(tmp_path, "generate", *arguments)
        while not chat.asked and process.poll() is None:
            time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert time.monotonic() - began < 20
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1].startswith("interrupted: what is finished stays")


@pytest.mark.slow
def test_a_wrong_key_is_one_sentence(tmp_path: Path, prompts: str):
    with serving(ring=lambda *_: failed(401, f"Incorrect API key provided: {SECRET}")) as chat:
        arguments = [prompts, *SPR, "rewriter=openai", f"rewriter.engine.base_url={chat.url}"]
        status, stdout, stderr = run(tmp_path, "generate", *arguments)
        assert status == 2
        assert stderr.splitlines()[-1] == f"error: {chat.url} refuses the key in {KEY} (401)."
        assert "Traceback" not in stderr
        assert SECRET not in stdout + stderr


@pytest.mark.slow
def test_a_table_of_rewrites_with_a_prompt_missing(tmp_path: Path, prompts: str):
    rows = "".join(f'{prompt},"{prompt}, bright"\n' for prompt in PROMPTS[:-1])
    (tmp_path / "mine.csv").write_text(f"prompt,rewrite\n{rows}")
    arguments = [prompts, "method=spr", "steps=2", "rewriter=file", "rewriter.engine.path=mine.csv"]
    status, _, stderr = run(tmp_path, "generate", *arguments)
    assert status == 0, stderr
    assert "5 of 6 rewrites accepted (0 after a retry), 1 fell back to the prompt (1 missing)" in stderr
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "outputs").rglob("*-s0.json"))]
    texts = [record["rewritten_prompt"] for record in records]
    assert texts == [*(f"{prompt}, bright" for prompt in PROMPTS[:-1]), PROMPTS[-1]]


@pytest.mark.slow
def test_a_server_that_answers_some_prompts_still_gives_every_video(tmp_path: Path, prompts: str):
    bad = {
        "red": lambda *_: failed(503),
        "blue": lambda *_: well(None),
        "green": lambda *_: well("I cannot."),
    }
    with serving(**bad) as chat:
        arguments = [prompts, *SPR, "rewriter=openai", f"rewriter.engine.base_url={chat.url}"]
        status, _, stderr = run(
            tmp_path, "generate", *arguments, "rewriter.engine.retries=1", "rewriter.engine.backoff_ms=1"
        )
    assert status == 0, stderr
    assert "3 of 6 rewrites accepted (0 after a retry), 3 fell back to the prompt" in stderr
    assert all(text in stderr for text in ("1 no answer", "1 empty", "1 refused"))
    assert len(list((tmp_path / "outputs").rglob("*-s0.json"))) == 6
