from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pos.data.prompts import Prompt, prompt_id, read_prompts
from pos.errors import PosError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_lines_are_prompts_and_blank_ones_are_passed_over(tmp_path: Path):
    path = written(tmp_path, "a.txt", "\ufeffa dog, running\r\n\n  it's (old)  \n50% off!")
    assert read_prompts(path) == [
        Prompt("a dog, running"),
        Prompt("it's (old)"),
        Prompt("50% off!"),
    ]


def test_a_table_has_a_column_of_prompts_and_perhaps_ids(tmp_path: Path):
    path = written(tmp_path, "a.csv", 'id,prompt,note\n7,"a dog, running",x\n,a cat,\n')
    assert read_prompts(path) == [Prompt("a dog, running", "7"), Prompt("a cat")]


@given(prompts=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5))
def test_json_lines_hold_any_text(tmp_path_factory: pytest.TempPathFactory, prompts: list[str]):
    lines = [json.dumps({"prompt": text, "id": number}) for number, text in enumerate(prompts)]
    path = written(tmp_path_factory.mktemp("prompts"), "a.jsonl", "\n\n".join(lines) + "\n")
    assert read_prompts(path) == [Prompt(text, str(number)) for number, text in enumerate(prompts)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "\n \n", "holds no prompt"),
        ("a.csv", "text\na dog\n", "lacks the column prompt: its first line names text"),
        ("a.csv", "", "its first line names none"),
        ("a.csv", "prompt,id\na dog,1\n ,2\n", "Line 3"),
        (
            "a.csv",
            'prompt\na dog\n"a cat\n' + "a bird\n" * 20_000,
            r"file \S*a\.csv is not CSV: field larger",
        ),
        ("a.csv", '"prompt\n' + "a bird\n" * 20_000, r"file \S*a\.csv is not CSV: field larger"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": \n', "Line 2 .* is not JSON"),
        ("a.jsonl", '{"text": "a"}\n', "Line 1 .* has no prompt"),
        ("a.jsonl", '["a"]\n', "Line 1 .* has no prompt"),
        ("a.jsonl", '{"prompt": 5}\n', "Line 1 .* has no prompt"),
        ("a.pdf", "a dog", "must end in .txt, .csv or .jsonl"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, name: str, content: str, said: str):
    with pytest.raises(PosError, match=said):
        read_prompts(written(tmp_path, name, content))


def test_missing_and_undecodable_files_are_named(tmp_path: Path):
    with pytest.raises(PosError, match=r"absent\.txt: No such file"):
        read_prompts(tmp_path / "absent.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(PosError, match=r"latin\.txt: it is not UTF-8 text"):
        read_prompts(tmp_path / "latin.txt")


def test_prompt_id_is_stable_and_differs_between_prompts() -> None:
    assert prompt_id("a red ring") == prompt_id("a red ring") != prompt_id("a red ring ")
    assert Prompt("a red ring").id == prompt_id("a red ring")
    assert Prompt("a red ring", "7").id == "7"
