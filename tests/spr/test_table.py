from __future__ import annotations

import pytest

from pos.errors import PosError
from pos.spr.rewriting import Guard, Rewriter, summarize
from pos.spr.table import TableEngine, read_rewrites
from tests.closed_form import WordCounts

CSV = 'prompt,note,rewrite\nred ring,x,"a ring, bright red"\n"two  words, more",y,fine words\n'
JSONL = (
    '{"prompt": "red ring", "rewrite": "a ring, bright red", "note": 1}\n\n'
    '{"prompt": " two words,\\nmore", "rewrite": " fine\\n words "}\n'
)
REWRITES = {"red ring": "a ring, bright red", "two words, more": "fine words"}


def written(folder, text, name="rewrites.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("name", "text"), [("a.csv", CSV), ("a.CSV", "\ufeff" + CSV), ("a.jsonl", JSONL)])
def test_a_table_is_read(tmp_path, name, text):
    assert read_rewrites(written(tmp_path, text, name)) == REWRITES


def test_a_missing_prompt_falls_back_and_the_guard_judges_the_others(tmp_path):
    rows = "prompt,rewrite\nred ring,a red ring\nblue disc,the sea\ngreen ring,green ring" + " and more" * 9
    engine = TableEngine(written(tmp_path, rows))
    rewriter = Rewriter(
        engine, None, Guard(max_words=12, min_similarity=0.5, retries=0), tmp_path, references=0
    )
    prompts = ["red ring", "red  ring", "blue disc", "green ring", "old tree"]
    rewrites = rewriter.rewrite(prompts, [[]] * 5, WordCounts(tmp_path))
    assert [rewrite.text for rewrite in rewrites] == ["a red ring", "a red ring", *prompts[2:]]
    assert summarize(rewrites)["fallbacks"] == {"dissimilar": 1, "too long": 1, "missing": 1}
    assert summarize(rewrites)["reply_tokens"] == 0


def test_the_fingerprint_is_of_the_rewrites_alone(tmp_path):
    one, other = written(tmp_path, CSV), written(tmp_path, JSONL, "b.jsonl")
    assert TableEngine(one).fingerprint == TableEngine(other).fingerprint
    changed = written(tmp_path, CSV.replace("bright", "dark"), "c.csv")
    assert TableEngine(changed).fingerprint != TableEngine(one).fingerprint


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", CSV, r"a\.txt must end in \.csv or \.jsonl"),
        ("a.csv", b"\xff\xfe\xff", "it is not UTF-8 text"),
        ("a.csv", "", "lacks the column prompt and rewrite: its first line names none"),
        ("a.csv", "prompt,text\na,b\n", "lacks the column rewrite: its first line names prompt, text"),
        ("a.csv", "prompt,rewrite\n", "holds no rewrite"),
        ("a.csv", "prompt,rewrite\na,b, c\nd,e\nf\n", "line 2 has more columns .*; line 4 has no rewrite"),
        ("a.csv", "prompt,rewrite\n ,b\n", "line 2 has no prompt"),
        ("a.csv", "prompt,rewrite\na,b\na,b\na,c\n", "line 4 gives another rewrite"),
        ("a.csv", "prompt,rewrite\n" + "a\n" * 7, "line 6 has no rewrite and 2 more"),
        ("a.csv", 'prompt,rewrite\na,"' + "b" * 200_000 + '"\n', "is not CSV: field larger"),
        ("a.jsonl", '{"prompt": "a"}\n[1]\n{"prompt\n{"prompt": 1, "rewrite": "b"}',
         "line 1 has no rewrite; line 2 is not a JSON object; line 3 is not .*; line 4 has no prompt"),
    ],
)  # fmt: skip
def test_malformed_rows_are_named(tmp_path, name, text, message):
    with pytest.raises(PosError, match=message):
        TableEngine(written(tmp_path, text, name))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(PosError, match=r"Cannot read the rewrites file .*absent\.csv: No such file"):
        TableEngine(tmp_path / "absent.csv")
