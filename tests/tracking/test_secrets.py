from __future__ import annotations

import pytest

from pos.tracking.secrets import HIDDEN, leaks, redacted, secrets


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("DB_PASSWORD", "hunter2hunter2")
    monkeypatch.setenv("SHORT_TOKEN", "1")
    monkeypatch.setenv("EDITOR", "an editor")


def test_values_of_variables_named_like_secrets_are_secret():
    assert {"sk-planted", "hunter2hunter2"} <= set(secrets())
    assert not {"1", "an editor"} & set(secrets())


def test_secrets_are_hidden_wherever_they_stand_and_nothing_else_is():
    data = {
        "header": "Bearer sk-planted!",
        "list": ["x", ["hunter2hunter2"], 1, None, 0.5],
        "sk-planted": True,
        "eta": 0.1,
        "max_tokens": 100,
    }
    assert redacted(data) == {
        "header": f"Bearer {HIDDEN}!",
        "list": ["x", [HIDDEN], 1, None, 0.5],
        HIDDEN: True,
        "eta": 0.1,
        "max_tokens": 100,
    }


def test_what_is_called_a_key_is_hidden_even_if_the_environment_does_not_know_it():
    data = {"api_key": "typed by hand", "key": "OPENAI_API_KEY", "token": 5, "password": "x", "monkey": "a"}
    hidden = {"api_key": HIDDEN, "key": "OPENAI_API_KEY", "token": 5, "password": HIDDEN, "monkey": "a"}
    assert redacted(data) == hidden  # the name of a variable is no secret


def test_files_with_secrets_are_found(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b"\0\xff sk-plante")
    assert not leaks(path)
    path.write_bytes(b"\0\xff sk-planted \0")
    assert leaks(path)
