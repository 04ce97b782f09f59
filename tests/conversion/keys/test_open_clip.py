"""A text tower's names against open_clip's model."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from pos.conversion.keys.open_clip import from_open_clip, to_open_clip
from pos.errors import PosError
from tests.conversion.published import TEXT, open_clip_tower
from tests.golden.recordings import fill


def test_there_and_back():
    state = fill(CLIPTextModel(CLIPTextConfig(**TEXT))).state_dict()
    back = from_open_clip(to_open_clip(state))
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name


def test_the_names_and_shapes_are_those_of_open_clip():
    layers = TEXT["num_hidden_layers"] + 1  # the tower of open_clip has one more
    ours = to_open_clip(CLIPTextModel(CLIPTextConfig(**{**TEXT, "num_hidden_layers": layers})).state_dict())
    theirs = open_clip_tower().state_dict()
    del theirs["text_projection"], theirs["logit_scale"]
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


@pytest.mark.parametrize("name", ["logit_scale", "visual.proj", "transformer.resblocks.0.ls_1.gamma"])
def test_another_name_is_refused(name):
    with pytest.raises(PosError, match=f"'{name}' is unknown"):
        from_open_clip({name: torch.zeros(1)})
