"""Tune-A-Video's network: ``unet/diffusion_pytorch_model.bin`` of the folder that tuning wrote."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pos.conversion.reading import check_file, read_checkpoint
from pos.conversion.writing import Part
from pos.errors import PosError
from pos.networks.inflated.tuneavideo import TuneAVideoUNet, tuneavideo_config
from pos.networks.weights import misfit


def read_tuneavideo(source: Path) -> dict[str, Part]:
    """Read the network; its configuration stands beside it in ``config.json``.

    Returns:
        The network by the name under which diffusers looks for it, so that ``out`` may be its own folder.

    Raises:
        PosError: a file cannot be read, the configuration is of another network, or the weights do not fit it
            (the first ten names of each kind).
    """
    config = check_file(source.parent / "config.json")
    try:
        published = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PosError(f"{config} is not JSON: {error}.") from error
    with torch.device("meta"):
        network = TuneAVideoUNet(**tuneavideo_config(published))
    state = read_checkpoint(source)
    problems = misfit(state, network.state_dict())
    if problems:
        raise PosError(f"{source} is no network of Tune-A-Video: {problems}.")
    return {"diffusion_pytorch_model": Part(state, network.config, "Tune-A-Video")}
