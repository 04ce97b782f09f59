"""Checkpoints as others publish them, and what each broken one is told."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pos.conversion.reading import read_checkpoint
from pos.errors import PosError

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.ids": torch.arange(3), "b": torch.ones(4).half()}


def saved(path: Path, content: object, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


class Command:
    """What a hostile pickle holds: unpickled carelessly, it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("nest", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_names_precisions_and_values_are_the_files(tmp_path, zipped, nest):
    read = read_checkpoint(saved(tmp_path / "model.ckpt", nest(TENSORS), zipped=zipped))
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_safetensors_is_read_as_it_is(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    read = read_checkpoint(tmp_path / "model.safetensors")
    assert read["b"].dtype == torch.float16
    assert read.keys() == TENSORS.keys()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_tensor_is_refused_by_name_and_not_run(tmp_path, zipped):
    marker = tmp_path / "ran"
    path = saved(tmp_path / "m.ckpt", {"state_dict": TENSORS, "x": Command(marker)}, zipped=zipped)
    with pytest.raises(PosError, match=r"contains 'posix\.system', which is no tensor"):
        read_checkpoint(path)
    assert not marker.exists()


def test_a_class_of_another_package_is_refused_by_name(tmp_path):
    path = saved(tmp_path / "m.ckpt", {"state_dict": TENSORS, "callback": random.Random(0)})
    with pytest.raises(PosError, match=r"contains 'random\.Random'"):
        read_checkpoint(path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_something_else_is_an_error(tmp_path, protocol):
    path = tmp_path / "m.pt"
    path.write_bytes(pickle.dumps({"weight": [1.0]}, protocol=protocol))
    with pytest.raises(PosError, match="cannot be read, it is cut short, damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(1)], "holds a list"),
        ({"model": {"a": torch.ones(1)}, "epoch": 1}, "but model, epoch"),
        ({}, "but nothing"),
        ({f"k{i}": i for i in range(12)}, r"but k0,.* k9, \.\.\."),
    ],
)
def test_contents_without_tensors_by_name(tmp_path, content, said):
    with pytest.raises(PosError, match=said):
        read_checkpoint(saved(tmp_path / "m.pt", content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 7\n", "git's pointer"),
        (b"<html>404</html>", "is not a PyTorch checkpoint"),
        (b"PK\x03\x04half", "is cut short, damaged"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path, content, said):
    (tmp_path / "m.ckpt").write_bytes(content)
    with pytest.raises(PosError, match=said):
        read_checkpoint(tmp_path / "m.ckpt")


def test_absent_files_and_folders(tmp_path):
    for path in (tmp_path / "none.ckpt", tmp_path):
        with pytest.raises(PosError, match="There is no file at"):
            read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:TypedStorage")
def test_every_half_download_and_every_flipped_byte_is_one_clear_error_or_harmless(tmp_path, zipped):
    whole = saved(tmp_path / "m.ckpt", {"state_dict": TENSORS}, zipped=zipped).read_bytes()
    path, draw = tmp_path / "broken.ckpt", random.Random(0)
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(PosError):
            read_checkpoint(path)
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(draw.choice([1, 3, 20])):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(broken)
        with contextlib.suppress(PosError):
            read_checkpoint(path)


def test_a_hole_in_a_download_is_seen(tmp_path):
    path = saved(tmp_path / "m.ckpt", {"a": torch.rand(1000) + 1})
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("m/data/0").header_offset + 2000
    whole = bytearray(path.read_bytes())
    whole[offset : offset + 100] = bytes(100)
    path.write_bytes(whole)
    with pytest.raises(PosError, match="cannot be read, it is cut short, damaged"):
        read_checkpoint(path)
