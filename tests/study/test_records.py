"""What a study's folder says of itself: prompts that several processes add, and records that are damaged."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pos.data.prompts import Prompt
from pos.errors import PosError
from pos.study import records
from tests.known import PROMPTS, known_study


def test_prompts_that_shards_add_at_once_all_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = records.write_atomic

    def slowly(path: Path, content: str) -> None:
        time.sleep(0.05)
        write(path, content)

    monkeypatch.setattr(records, "write_atomic", slowly)
    parts = [[Prompt("a ring", f"test-{index}")] for index in range(6)]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda part: records.claim(tmp_path, "shapes", part), parts))
    assert len(json.loads((tmp_path / records.PROMPTS).read_text())) == 6


def test_a_damaged_record_is_named(tmp_path: Path):
    study = known_study(tmp_path)
    study.generate()
    path = study.folder("ona") / f"{PROMPTS[0].id}-s0.json"
    for content in ("{", "[]", '{"prompt": "a"}'):
        path.write_text(content)
        with pytest.raises(PosError, match=f"{path} is damaged .*: remove it and run the study again"):
            study.write_records(study.out / "results.jsonl")
    path.unlink()
    study.generate()
    study.write_records(study.out / "results.jsonl")
