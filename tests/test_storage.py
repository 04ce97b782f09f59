from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from pos.errors import PosError, require
from pos.storage import (
    RecordCache,
    TensorCache,
    append_jsonl,
    asset,
    content_hash,
    csv_text,
    jsonable,
    lock_folder,
    read_csv,
    read_json,
    read_jsonl,
    read_text,
    write_atomic,
)

TEXTS = st.lists(st.text(st.sampled_from('ab1:,["'), max_size=3), max_size=4)


@given(first=TEXTS, second=TEXTS)
def test_a_hash_sees_content_order_and_boundaries(first: list[str], second: list[str]):
    assert (content_hash(*first) == content_hash(*second)) == (first == second)


def test_a_hash_of_a_tensor_sees_its_values_shape_and_type_and_not_its_strides():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert content_hash(tensor) == content_hash(tensor.T.contiguous().T)
    others = [tensor + 1, tensor.reshape(3, 2), tensor.double(), tensor.T]
    assert content_hash(tensor) not in {content_hash(other) for other in others}


def test_a_hash_is_the_same_in_another_process():
    code = "from pos.storage import content_hash; print(content_hash('a', {'b': [1, 2.5], 'a': None}, b'c'))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == content_hash("a", {"a": None, "b": [1, 2.5]}, b"c")


def test_a_file_is_old_or_whole(tmp_path: Path):
    path = tmp_path / "folder" / "file.txt"
    write_atomic(path, "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    write_atomic(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PosError, match=rf"Cannot write {tmp_path}/file/a\.txt: "):
        write_atomic(tmp_path / "file" / "a.txt", "text")

    def fail(_: Path) -> None:
        raise SafetensorError("I/O error: No space left on device")

    with pytest.raises(PosError, match=r"Cannot write .* No space left on device"):
        write_atomic(tmp_path / "b.safetensors", fail)
    assert os.listdir(tmp_path) == ["file"]


def test_tensors_come_back_and_a_torn_file_counts_as_absent(tmp_path: Path):
    cache = TensorCache(tmp_path, "noises")
    assert cache.get("key") is None
    cache.put("key", {"noise": torch.arange(6).reshape(2, 3).T})
    assert cache.get("key")["noise"].tolist() == [[0, 3], [1, 4], [2, 5]]
    whole = cache.path("key").read_bytes()
    cache.path("key").write_bytes(whole[: len(whole) // 2])
    assert cache.get("key") is None


def test_records_come_back_in_another_run_and_the_last_counts(tmp_path: Path):
    cache = RecordCache(tmp_path, "rewrites")
    cache.put("a", {"text": "狗"})
    cache.put("b", None)
    cache.put("a", {"text": "dog"})
    again = RecordCache(tmp_path, "rewrites")
    assert again.get("a") == {"text": "dog"}
    assert again.get("c") is None


def test_a_damaged_record_counts_as_absent(tmp_path: Path):
    RecordCache(tmp_path, "rewrites").put("a", 1)
    with (tmp_path / "rewrites.jsonl").open("a") as stream:
        stream.write('5\n{}\n{"key": "b"}\nnonsense\n')
    again = RecordCache(tmp_path, "rewrites")
    assert (again.get("a"), again.get("b")) == (1, None)


def test_a_line_cut_by_a_kill_costs_only_itself(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"n": 1})
    with path.open("a") as stream:
        stream.write('{"n": 2, "te')
    append_jsonl(path, {"n": 3})
    assert [row["n"] for row in read_jsonl(path)] == [1, 3]


def test_a_table_is_read_row_by_row_with_its_lines(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text('# note\n video , prompt\na.mp4, "one,\ntwo"\nb.mp4\nc.mp4,x,y\n', encoding="utf-8")
    rows = list(read_csv(path, "prompts file", ["video"], comments=True))
    assert rows == [
        (3, {"video": "a.mp4", "prompt": "one,\ntwo"}),
        (4, {"video": "b.mp4", "prompt": None}),
        (5, {"video": "c.mp4", "prompt": "x", None: ["y"]}),
    ]
    path.write_text("video,prompt\n", encoding="utf-8-sig")
    assert list(read_csv(path, "prompts file", ["video", "prompt"])) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"video\na.mp4\n", "The prompts file .*a.csv lacks the column prompt: its first line names video"),
        (b"", "lacks the column prompt: its first line names none"),
        (b'prompt\none\n"two\n', "Line 3 of the prompts file .*a.csv is not CSV: unexpected end of data"),
        (b"prompt\nl\xe4uft\n", "Cannot read the prompts file .*a.csv: it is not UTF-8 text"),
        (None, "Cannot read the prompts file .*a.csv: No such file or directory"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PosError, match=reason):
        list(read_csv(path, "prompts file", ["prompt"]))


def test_a_folder_is_held_by_one_and_free_afterwards(tmp_path: Path):
    with lock_folder(tmp_path):
        with pytest.raises(PosError, match="Another run is writing"), lock_folder(tmp_path):
            pass
        with lock_folder(tmp_path / "other"):
            pass
    with lock_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_held_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PosError, match=f"Cannot write to the folder {tmp_path}/file"),
        lock_folder(tmp_path / "file"),
    ):
        pass


def test_assets_are_inside_the_package():
    assert asset("shapes/tokenizer.json").is_file()


def test_a_missing_package_is_said_with_the_extra_that_installs_it():
    assert require("json", extra="none") is json
    with pytest.raises(PosError, match=r"'nowhere_to_be_found' .* pip install 'pos-t2v\[video\]'"):
        require("nowhere_to_be_found", extra="video")


def test_text_is_read_without_its_mark_and_what_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffgrün\n".encode())
    assert read_text(path, "list of words") == "grün\n"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PosError, match=r"Cannot read the list of words .*words.txt: it is not UTF-8 text"):
        read_text(path, "list of words")
    with pytest.raises(PosError, match=r"Cannot read the list of words .*absent.txt: No such file"):
        read_text(tmp_path / "absent.txt", "list of words")


def test_csv_quotes_what_it_must_and_leaves_none_empty() -> None:
    assert csv_text([["a", "b"], ["x, y", None], ['"', 1.5]]) == 'a,b\n"x, y",\n"""",1.5\n'


def test_numbers_that_json_lacks_are_texts():
    values = {"a": math.inf, "b": [-math.inf, (math.nan, 1.5)], "c": "inf", "d": None}
    found = jsonable(values)
    assert found == {"a": "inf", "b": ["-inf", ["nan", 1.5]], "c": "inf", "d": None}
    assert values["a"] == math.inf, "the original stays"
    json.dumps(found, allow_nan=False)


def test_a_json_file_is_parsed_or_named_as_damaged(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"a": "1"}')
    assert read_json(path) == {"a": "1"}
    assert read_json(path, lambda content: int(content["a"])) == 1
    for parse, reason in (
        (lambda content: content["b"], "it has no 'b'"),
        (lambda content: int(content["a"] + "x"), "invalid literal"),
        (lambda content: len(content["a"] + 1), "can only concatenate"),
    ):
        with pytest.raises(PosError, match=rf"a\.json is damaged \({reason}.*\): remove it and run"):
            read_json(path, parse)
    with pytest.raises(PosError, match=r"b\.json is damaged \(.*No such file"):
        read_json(tmp_path / "b.json")
