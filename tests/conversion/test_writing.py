"""What a conversion leaves on disk, and that it never replaces anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pos.conversion.run import convert
from pos.conversion.writing import Part
from pos.errors import PosError
from pos.networks.weights import read_config, read_metadata


def halves(source: Path) -> dict[str, Part]:
    """Eight numbers as two networks, whose tensors share memory in part or as a whole."""
    whole = torch.frombuffer(bytearray(source.read_bytes()), dtype=torch.uint8)
    tied = whole[4:].clone()
    return {
        "left": Part({"w": whole[:4], "same": whole[:4]}, {"size": 4}, "a model"),
        "right": Part({"w": tied, "same": tied}, {"size": 4}, "a model"),
    }


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "published.bin"
    path.write_bytes(b"abcdefgh")
    return path


def test_every_part_is_a_file_that_says_what_it_is_and_where_it_comes_from(source, tmp_path):
    files = convert(halves, source, tmp_path / "out")
    assert [path.name for path in files] == ["left.safetensors", "right.safetensors"]
    assert bytes(load_file(files[0])["w"].tolist()) == bytes(load_file(files[0])["same"].tolist()) == b"abcd"
    assert bytes(load_file(files[1])["w"].tolist()) == bytes(load_file(files[1])["same"].tolist()) == b"efgh"
    assert read_config(files[1]) == {"size": 4}
    metadata = read_metadata(files[0])
    assert metadata["model"] == "a model"
    assert metadata["source_sha256"] == hashlib.sha256(b"abcdefgh").hexdigest()


def test_the_same_again_changes_nothing_and_what_is_missing_is_written(source, tmp_path):
    left, right = convert(halves, source, tmp_path / "out")
    before = left.stat().st_mtime_ns
    right.unlink()
    assert convert(halves, source, tmp_path / "out") == [left, right]
    assert left.stat().st_mtime_ns == before
    assert right.is_file()


@pytest.mark.parametrize("change", ["metadata", "names", "values", "precision"])
def test_another_file_in_the_place_is_kept_and_nothing_is_written(source, tmp_path, change):
    left, right = convert(halves, source, tmp_path / "out")
    tensors, metadata = load_file(right), read_metadata(right)
    if change == "metadata":
        metadata["source_sha256"] = "another"
    elif change == "names":
        tensors["v"] = tensors.pop("w")
    elif change == "values":
        tensors["w"] += 1
    else:
        tensors["w"] = tensors["w"].to(torch.int16)
    save_file(tensors, right, metadata)
    before = right.read_bytes()
    left.unlink()
    with pytest.raises(PosError, match=r"right\.safetensors holds something else"):
        convert(halves, source, tmp_path / "out")
    assert right.read_bytes() == before
    assert not left.exists()


def test_an_unwritable_folder_and_an_absent_source(source, tmp_path):
    with pytest.raises(PosError, match="Cannot write"):
        convert(halves, source, source / "out")
    with pytest.raises(PosError, match="There is no file at"):
        convert(halves, tmp_path / "absent", tmp_path / "out")
