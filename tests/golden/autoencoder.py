"""VideoCrafter's autoencoder at full size: diffusers' under the original's names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from pos.conversion.keys.ldm import from_ldm, to_ldm
from pos.conversion.videocrafter import VAE
from pos.networks.autoencoder import build_autoencoder
from tests.golden.recordings import Case, Recording


def key_cases(recording: Recording) -> Iterator[Case]:
    yield Case("names and shapes", partial(check_keys, recording))


def check_keys(recording: Recording) -> None:
    """The published sizes give the original's names and shapes, and the map goes there and back."""
    published = recording.info["config"]["ddconfig"]
    assert VAE["block_out_channels"] == [published["ch"] * multiple for multiple in published["ch_mult"]]
    with torch.device("meta"):
        vae = build_autoencoder(VAE)
    ours = vae.state_dict()
    theirs = to_ldm(ours, vae)
    assert {name: list(entry.shape) for name, entry in theirs.items()} == recording.info["state_dict"]
    back = from_ldm(theirs, vae)
    assert {name: entry.shape for name, entry in back.items()} == {
        name: entry.shape for name, entry in ours.items()
    }
