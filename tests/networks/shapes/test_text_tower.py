"""The text tower has transformers' numbers, names and start, bit for bit."""

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from pos.errors import PosError
from pos.networks.shapes.text_tower import TextConfig, TextTower

SIZES = {
    "vocab_size": 40,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@pytest.fixture(scope="module")
def both():
    torch.manual_seed(0)
    theirs = CLIPTextModelWithProjection(CLIPTextConfig(**SIZES, projection_dim=8))
    theirs = theirs.eval().requires_grad_(False)
    ours = TextTower(TextConfig(**SIZES), 8).eval().requires_grad_(False)
    deviations = [{n: t.std().item() for n, t in tower.state_dict().items()} for tower in (ours, theirs)]
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours, deviations


@pytest.mark.parametrize("lengths", [[12, 12], [12, 5, 1], [1]])
@pytest.mark.parametrize("masked", [True, False])
def test_states_are_transformers(both, lengths, masked):
    theirs, ours, _ = both
    ids = torch.randint(3, 40, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    arguments = {"input_ids": ids, "attention_mask": mask.long() if masked else None}
    expected = theirs.text_model(**arguments).last_hidden_state
    assert torch.equal(ours.text_model(**arguments).last_hidden_state, expected)
    assert torch.equal(ours.text_projection(expected), theirs.text_projection(expected))


def test_names_and_their_order_are_transformers(both):
    theirs, ours, _ = both
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_a_training_starts_from_weights_as_large(both):
    found, expected = both[2]
    assert found == pytest.approx(expected, rel=0.15, abs=1e-9)


def test_inner_states_are_refused(both):
    with pytest.raises(PosError, match="hidden_state=last"):
        both[1].text_model(torch.zeros(1, 3, dtype=torch.long), output_hidden_states=True)
