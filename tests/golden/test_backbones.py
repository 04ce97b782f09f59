"""Every recording of the public text-to-video models: what a file holds says what is built and compared.

Recordings of other configurations, seeds and step counts in the same format need no new code: put them in
    ``backbones/`` of a
folder and name that folder in ``$POS_GOLDEN``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from tests.golden import tuneavideo
from tests.golden.autoencoder import key_cases as autoencoder_key_cases
from tests.golden.modelscope import inversion_cases, pipeline_cases
from tests.golden.recordings import Case, Recording, recordings
from tests.golden.unet3d import key_cases as unet3d_key_cases
from tests.golden.unet3d import sampling_cases, unet_cases
from tests.golden.videocrafter import sampler_table_cases, table_cases


def key_cases(recording: Recording) -> Iterator[Case]:
    """Names and shapes of a full-size network of diffusers, built without memory."""

    def check() -> None:
        import torch

        with torch.device("meta"):
            network = FULL_SIZE[recording.name]()
        shapes = {name: list(entry.shape) for name, entry in network.state_dict().items()}
        assert shapes == recording.info["state_dict"]

    yield Case("names and shapes", check)


def _unet3d():
    from pos.networks.unet3d.unet import UNet3D

    return UNet3D()


def _unet2d():
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(cross_attention_dim=768)


FULL_SIZE = {"keys_diffusers_unet3d_modelscope": _unet3d, "keys_diffusers_unet2d_sd14": _unet2d}

VC09 = "lvdm.models.modules.openaimodel3d.UNetModel (v0.9)"
VC12 = "lvdm.modules.networks.openaimodel3d.UNetModel (VideoCrafter1/2)"
TAV = "tuneavideo.models.unet.UNet3DConditionModel"
TAV_UNITS = "tuneavideo.models.attention.SparseCausalAttention and BasicTransformerBlock"
MODELSCOPE = "diffusers.TextToVideoSDPipeline"

# what a recording is: the class that made it and the entry that holds its results
KINDS: dict[tuple[str, str], Callable[[Recording], Iterator[Case]]] = {
    (MODELSCOPE, "pipeline"): pipeline_cases,
    (MODELSCOPE, "inversion"): inversion_cases,
    (VC09, "tables"): table_cases,
    (VC12, "tables"): table_cases,
    (VC09, "scenarios"): lambda recording: chain(sampler_table_cases(recording), sampling_cases(recording)),
    (VC12, "scenarios"): lambda recording: chain(sampler_table_cases(recording), sampling_cases(recording)),
    (VC09, "cases"): unet_cases,
    (VC12, "cases"): unet_cases,
    (TAV, "cases"): tuneavideo.unet_cases,
    (TAV, "inversion"): tuneavideo.loop_cases,
    (TAV_UNITS, "tensors"): tuneavideo.unit_cases,
}
# networks under another's names: what their key map gives
MAPPED: dict[str, Callable[[Recording], Iterator[Case]]] = {
    "keys_videocrafter1_1024_unet": unet3d_key_cases,
    "keys_videocrafter1_512_unet": unet3d_key_cases,
    "keys_videocrafter2_512_unet": unet3d_key_cases,
    "keys_videocrafter_vae": autoencoder_key_cases,
    "keys_videocrafter_v09_256_unet": unet3d_key_cases,
    "keys_tuneavideo_sd14_unet": tuneavideo.key_cases,
}


def cases_of(recording: Recording) -> list[Case]:
    """The comparisons a recording allows; none when its class is unknown."""
    if "state_dict" in recording.info and recording.name in MAPPED:
        return list(MAPPED[recording.name](recording))
    if "state_dict" in recording.info and recording.name in FULL_SIZE:
        return list(key_cases(recording))
    kinds = [(name, entry) for name in recording.classes for entry in recording.info]
    return [case for kind in kinds if kind in KINDS for case in KINDS[kind](recording)]


# measurements of other people's code on random networks: numbers to read, nothing to reproduce
NOT_GOLDEN = {"roundtrip_measurements"}
FOUND = [recording for recording in recordings("backbones") if recording.name not in NOT_GOLDEN]
PAIRS = [pytest.param(case, id=f"{found.name}-{case.name}") for found in FOUND for case in cases_of(found)]


def test_the_folder_holds_recordings() -> None:
    assert FOUND, f"no recordings: POS_GOLDEN={os.environ.get('POS_GOLDEN')!r}/backbones has no *.json"
    assert any(cases_of(recording) for recording in FOUND), "no file of the folder is a known recording"


@pytest.mark.parametrize("recording", FOUND, ids=lambda recording: recording.name)
def test_the_class_is_known(recording: Recording) -> None:
    assert cases_of(recording), f"{recording.path} was made by {recording.classes}: no such class is known"


@pytest.mark.parametrize("case", PAIRS)
def test_recording(case: Case) -> None:
    case.check()
