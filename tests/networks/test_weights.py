"""Weights round trips, and the one sentence each wrong file gets."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pos.errors import PosError
from pos.networks.weights import load_weights, read_config, read_state, save_weights


def linear(inputs: int = 3, outputs: int = 2) -> nn.Linear:
    torch.manual_seed(inputs)
    return nn.Linear(inputs, outputs)


def test_round_trip_is_half_precision_on_disk_and_float32_in_memory(tmp_path):
    source, target = linear(), linear()
    nn.init.zeros_(target.weight)
    save_weights(source, tmp_path / "w.safetensors", {"inputs": 3})
    load_weights(target, tmp_path / "w.safetensors")
    assert target.weight.dtype == torch.float32
    assert torch.equal(target.weight, source.weight.half().float())
    assert not torch.equal(target.weight, source.weight)  # that it did go through half precision
    assert read_config(tmp_path / "w.safetensors") == {"inputs": 3}


def test_full_precision_is_exact(tmp_path):
    source = linear()
    save_weights(source, tmp_path / "w.safetensors", fp16=False)
    assert torch.equal(read_state(tmp_path / "w.safetensors")["weight"], source.weight)


def test_every_misfit_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(5, 3), "extra": torch.zeros(1)}, path)
    with pytest.raises(PosError, match="1 missing: bias") as error:
        load_weights(linear(), path)
    assert "1 unexpected: extra" in str(error.value)
    assert "weight (5, 3) instead of (2, 3)" in str(error.value)


def test_the_first_ten_names_are_told(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({f"k{i:02d}": torch.zeros(1) for i in range(12)}, path)
    with pytest.raises(PosError, match=r"12 unexpected: k00,.* k09, \.\.\.") as error:
        load_weights(linear(), path)
    assert "k10" not in str(error.value)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_is_sent_to_convert(tmp_path, writer):
    path = tmp_path / "w.safetensors"
    if writer == "torch":
        torch.save(linear().state_dict(), path)
    else:
        path.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(PosError, match="convert"):
        load_weights(linear(), path)


def test_absent_and_damaged_files_are_told_apart(tmp_path):
    with pytest.raises(PosError, match="no weights at"):
        read_config(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(PosError, match="not a readable safetensors file"):
        read_state(tmp_path / "cut.safetensors")


def test_weights_that_overflow_half_precision_are_not_written(tmp_path):
    module = linear()
    nn.init.constant_(module.weight, 1e6)
    with pytest.raises(PosError, match="'weight' is not finite in half precision"):
        save_weights(module, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())
