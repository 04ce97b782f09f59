"""The engine of OpenAI-compatible servers against a real one on loopback that behaves badly."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path

import pytest

from pos.errors import PosError
from pos.spr.instruction import InstructionTemplate
from pos.spr.rewriting import Guard, Rewriter, summarize
from pos.spr.server import KEY, OpenAIEngine
from tests.closed_form import WordCounts
from tests.spr.chat_server import Chat, failed, said, serving, well

TEMPLATE = InstructionTemplate("{examples}\n{max_words}\nSentence: {prompt}\nRewritten:", None)
SECRET = "sk-planted-0123456789abcdef"


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)


def engine(chat: Chat, **changes) -> OpenAIEngine:
    """One with short waits."""
    settings = {"timeout_ms": 1000, "retries": 1, "backoff_ms": 1, "longest_wait_ms": 2000} | changes
    return OpenAIEngine("chat", chat.url, **settings)


def rewriter(chat: Chat, cache: Path, **changes) -> Rewriter:
    guard = Guard(max_words=12, min_similarity=0.3, retries=changes.pop("attempts", 2) - 1)
    return Rewriter(engine(chat, **changes), TEMPLATE, guard, cache)


def rewrite(asking: Rewriter, prompts: list[str], cache: Path):
    return asking.rewrite(prompts, [["a ring"]] * len(prompts), WordCounts(cache))


def late(chat: Chat, *_):
    chat.released.wait(10)
    return well("too late")


def once(answer):
    """Bad once, then well."""
    return lambda _chat, request, before: answer if before == 0 else well(f"a fine {_sentence(request)}")


def _sentence(request) -> str:
    return request["messages"][0]["content"].partition("Sentence: ")[2].splitlines()[0]


BEHAVIOURS = {
    "late": late,
    "limited": once(failed(429, Retry_After="0.05")),
    "broken": once(failed(500)),
    "down": lambda *_: failed(503),
    "garbled": lambda *_: (200, {"Content-Type": "application/json"}, b'{"choices": [{"mess'),
    "page": lambda *_: (200, {"Content-Type": "text/html"}, b"<html>hello</html>"),
    "nothing": lambda *_: said({"choices": []}),
    "mute": lambda *_: well(None),
    "blank": lambda *_: well("  "),
    "shy": lambda *_: well(None, refusal="I would rather not."),
    "sorry": lambda *_: well("I'm sorry, but I cannot rewrite this sentence."),
    "filtered": lambda *_: failed(400, "content policy"),
    "flagged": lambda *_: failed(403, "moderation"),
    "chatty": lambda *_: well("word " * 40),
    "strange": lambda *_: well("submarines"),
    "surrogate": lambda *_: well("a \ud800 bright surrogate ring\x00"),
    "huge": lambda *_: well("a huge ring " * 200_000),
    "dripping": lambda *_: (200, {"X-Drip": "0.05"}, b" " * 400),
    "hangs": lambda *_: (200, {"Content-Length": "1000"}, b"{"),
    "cut": lambda *_: (200, {"Content-Length": "20"}, b"{" * 20),
}


def test_every_prompt_ends_with_a_rewrite_or_a_counted_fallback(tmp_path):
    prompts = ["good ring", *(f"{word} ring" for word in BEHAVIOURS)]
    with serving(**BEHAVIOURS) as chat:
        rewrites = rewrite(rewriter(chat, tmp_path), prompts, tmp_path)
        outcome = {prompt.split()[0]: found for prompt, found in zip(prompts, rewrites, strict=True)}
        assert {word: found.reason for word, found in outcome.items()} == {
            "good": None,
            "late": "no answer",
            "limited": None,
            "broken": None,
            "down": "no answer",
            "garbled": "unreadable",
            "page": "unreadable",
            "nothing": "unreadable",
            "mute": "empty",
            "blank": "empty",
            "shy": "refused",
            "sorry": "refused",
            "filtered": "rejected",
            "flagged": "rejected",
            "chatty": "too long",
            "strange": "dissimilar",
            "surrogate": None,
            "huge": "unreadable",
            "dripping": "no answer",
            "hangs": "no answer",
            "cut": "unreadable",
        }
        assert outcome["good"].text == "a bright good ring"
        assert outcome["limited"].text == "a fine limited ring"
        assert outcome["surrogate"].text == "a bright surrogate ring"
        assert all(
            found.text == prompt for prompt, found in zip(prompts, rewrites, strict=True) if found.reason
        )
        assert sum(summarize(rewrites)["fallbacks"].values()) == len(prompts) - 4

        counts = chat.counts
        assert counts["good ring"] == 1
        assert counts["filtered ring"] == counts["flagged ring"] == 1  # to ask again would not help
        assert {
            counts[f"{word} ring"] for word in BEHAVIOURS.keys() - {"filtered", "flagged", "surrogate"}
        } == {2}

        asked = len(chat.asked)  # a restart asks for what was never answered, and for nothing else
        again = rewrite(rewriter(chat, tmp_path), prompts, tmp_path)
        assert [found.reason for found in again] == [found.reason for found in rewrites]
        repeated = {prompt.split()[0] for prompt, _, _ in chat.asked[asked:]}
        assert repeated == {
            "late", "down", "filtered", "flagged", "dripping", "hangs",
            "garbled", "page", "nothing", "huge", "cut",
        }  # fmt: skip


def test_answers_are_kept_as_completed(tmp_path):
    """What was answered is on disk while another prompt is still waited for."""
    prompts = ["late ring", "red ring", "blue ring"]
    with serving(late=late) as chat:
        asking = rewriter(chat, tmp_path, timeout_ms=10_000, concurrency=2)
        run = threading.Thread(target=rewrite, args=(asking, prompts, tmp_path))
        run.start()
        kept = tmp_path / "replies.jsonl"
        for _ in range(500):
            if kept.exists() and kept.read_text().count("\n") == 2:
                break
            time.sleep(0.01)
        texts = [json.loads(line)["value"]["text"] for line in kept.read_text().splitlines()]
        assert sorted(texts) == ["a bright blue ring", "a bright red ring"]
        assert run.is_alive()
        chat.released.set()
        run.join()


def test_a_request_holds_model_instruction_limit_seed_and_temperature(tmp_path):
    with serving(strange=lambda *_: well("submarines")) as chat:
        rewrite(rewriter(chat, tmp_path, max_new_tokens=77), ["strange ring"], tmp_path)
        first, second = (request for _, request, _ in chat.asked)
        assert first == {
            "model": "chat",
            "messages": [{"role": "user", "content": "- a ring\n12\nSentence: strange ring\nRewritten:"}],
            "max_tokens": 77,
            "seed": 0,
            "temperature": 0.0,
        }
        assert (second["temperature"], second["seed"]) == (0.7, 1)
        rewrite(rewriter(chat, tmp_path, temperatures=None), ["red ring"], tmp_path)
        assert "temperature" not in chat.asked[-1][1]
        assert "max_tokens" not in chat.asked[-1][1]
        assert chat.asked[-1][1]["max_completion_tokens"] == 128


def test_usage_is_recorded_for_every_prompt_and_all_its_attempts(tmp_path):
    silent = said({"choices": [{"message": {"content": "a silent ring"}}]})
    with serving(strange=lambda *_: well("submarines", 5, 7), silent=lambda *_: silent) as chat:
        prompts = ["red ring", "strange ring", "silent ring"]
        red, strange, estimated = rewrite(rewriter(chat, tmp_path), prompts, tmp_path)
        assert (red.instruction_tokens, red.reply_tokens) == (30, 10)
        assert (strange.instruction_tokens, strange.reply_tokens) == (10, 14)
        asked = TEMPLATE.render(["a ring"], "silent ring", 12)
        assert (estimated.instruction_tokens, estimated.reply_tokens) == (-(-len(asked) // 4), 4)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, f"refuses the key in {KEY} (401)."),
        (404, "knows no model 'chat', or is no address of a chat server (404): set rewriter.engine.model and "
         "rewriter.engine.base_url."),
    ],
)  # fmt: skip
def test_what_would_fail_for_every_prompt_stops_at_once(tmp_path, status, sentence):
    prompts = [f"ring {number}" for number in range(60)]
    with serving(ring=lambda *_: failed(status, f"Incorrect API key provided: {SECRET}")) as chat:
        with pytest.raises(PosError) as error:
            rewrite(rewriter(chat, tmp_path, concurrency=4), prompts, tmp_path)
        assert str(error.value) == f"{chat.url} {sentence}"
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__
        time.sleep(0.1)
        assert len(chat.asked) <= 8  # those under way


def test_without_a_key_none_is_sent_where_none_is_needed(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY)
    with serving(locked=lambda *_: failed(401)) as chat:
        assert rewrite(rewriter(chat, tmp_path), ["red ring"], tmp_path)[0].accepted
        assert chat.authorizations == {"Bearer none"}
        with pytest.raises(PosError, match=f"refuses requests without a key, and {KEY} is not set"):
            rewrite(rewriter(chat, tmp_path), ["locked ring"], tmp_path)
    chatgpt = OpenAIEngine("gpt", "https://api.openai.com/v1")
    with pytest.raises(PosError, match=f"needs a key: set {KEY} in the environment"):
        next(chatgpt.complete(["x"], attempt=0, seed=0))


def test_an_absent_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(PosError, match=r"'openai' is needed here: .*pos-t2v\[engines\]"):
        next(OpenAIEngine("m", "http://h/v1").complete(["x"], attempt=0, seed=0))


@pytest.mark.parametrize("key", ["sk-planted\n0123456789", "sk-plantéd-0123456789"])
def test_a_key_that_no_header_can_hold_is_not_repeated(monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    with serving() as chat, pytest.raises(PosError) as error:
        next(engine(chat).complete(["x"], attempt=0, seed=0))
    assert "plant" not in str(error.value)


def test_nobody_listening_is_a_fallback(tmp_path):
    with serving() as chat:
        pass
    (found,) = rewrite(rewriter(chat, tmp_path), ["red ring"], tmp_path)
    assert (found.text, found.reason) == ("red ring", "no answer")


def test_the_key_is_in_no_file_log_or_error(tmp_path, caplog):
    """The server repeats it wherever it can."""
    caplog.set_level(logging.DEBUG)
    echo = {
        "leaky": lambda *_: well(f"a leaky ring {SECRET}"),
        "strict": lambda *_: failed(400, f"bad key {SECRET}"),
        "down": lambda *_: failed(500, f"bad key {SECRET}"),
        "garbled": lambda *_: (200, {}, f"<{SECRET}".encode()),
    }
    prompts = [f"{word} ring" for word in echo]
    with serving(**echo) as chat:
        rewrites = rewrite(rewriter(chat, tmp_path), prompts, tmp_path)
        assert chat.authorizations == {f"Bearer {SECRET}"}
    assert rewrites[0].text == "a leaky ring [key]"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in caplog.text
    assert SECRET not in repr(rewrites)


def test_the_fingerprint_follows_the_server_the_model_and_the_decoding():
    def fingerprint(model="a", url="http://a/v1", **changes):
        return OpenAIEngine(model, url, **changes).fingerprint

    same = [{}, {"concurrency": 1}, {"timeout_ms": 1}, {"retries": 0}, {"backoff_ms": 9}, {"budget": 5}]
    assert len({fingerprint(**change) for change in same}) == 1
    other = [{"model": "b"}, {"url": "http://b/v1"}, {"temperatures": [1]}, {"temperatures": None}]
    assert len({fingerprint(**change) for change in [{}, *other, {"max_new_tokens": 5}]}) == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": 0}, "concurrency is 0: give at least 1"),
        ({"timeout_ms": 0}, "timeout_ms is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"backoff_ms": -1}, "backoff_ms is -1"),
        ({"longest_wait_ms": -1}, "longest_wait_ms is -1"),
        ({"budget": 0}, "budget is 0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperatures": []}, r"temperatures is \[\]"),
        ({"base_url": "localhost:8000"}, "base_url is 'localhost:8000': give an address such as"),
        ({"base_url": "http://h:port/v1"}, "base_url is 'http://h:port/v1'"),
        ({"base_url": "ftp://h/v1"}, "base_url is"),
    ],
)
def test_settings_outside_their_range_are_refused(wrong, message):
    with pytest.raises(PosError, match=message):
        OpenAIEngine(**({"model": "m", "base_url": "http://h/v1"} | wrong))


@pytest.mark.parametrize(
    "url", ["http://me:hush@h:8000/v1", "http://h/v1?key=hush", "http://me:hush@h:port/v1"]
)
def test_a_secret_in_the_address_is_refused_and_not_repeated(url):
    with pytest.raises(PosError, match="base_url holds more than an address") as error:
        OpenAIEngine("m", url)
    assert "hush" not in str(error.value)
