"""VideoCrafter v0.9, 1 and 2 (LVDM) against our networks and our sampler."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pos.backbones.base import Conditioning
from pos.conversion.keys.unet3d import from_videocrafter, to_videocrafter, videocrafter_config
from pos.conversion.keys.videocrafter09 import from_videocrafter09, to_videocrafter09
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.levels import Level
from pos.networks.inflated.videocrafter import VideoCrafter09UNet, videocrafter09_config
from pos.networks.unet3d.unet import UNet3D
from tests.golden.recordings import FORWARD, SAMPLING, Case, Recording, assert_close, drawn, filled
from tests.golden.videocrafter import levels


class Version(NamedTuple):
    """A generation of VideoCrafter: our network, its arguments from the original's, and the key map."""

    network: type[nn.Module]
    config: Callable[[dict[str, Any]], dict[str, Any]]
    to_theirs: Callable[..., dict[str, Tensor]]
    from_theirs: Callable[..., dict[str, Tensor]]


V09 = Version(VideoCrafter09UNet, videocrafter09_config, to_videocrafter09, from_videocrafter09)
V12 = Version(UNet3D, videocrafter_config, to_videocrafter, from_videocrafter)


def version(config: dict[str, Any]) -> Version:
    """Only v0.9's network is told the size of the image."""
    return V09 if "image_size" in config else V12


@cache
def network(config: str) -> nn.Module:
    """Filled by the rule, under the names and in the shapes of the original."""
    arguments = json.loads(config)
    made = version(arguments)
    unet = made.network(**made.config(arguments)).eval().requires_grad_(False)
    theirs = made.to_theirs(unet.state_dict(), unet)
    state = {name: filled(name, tensor.shape) for name, tensor in theirs.items()}
    unet.load_state_dict(made.from_theirs(state, unet))
    return unet


def of(recording: Recording) -> nn.Module:
    return network(json.dumps(recording.info["config"]))


def frame_rates(fps: list[int] | int | None, rows: int) -> dict[str, Tensor]:
    """The frame rate of each video, where the network is told one."""
    if fps is None:
        return {}
    return {"fps": torch.tensor(fps) if isinstance(fps, list) else torch.full((rows,), fps)}


def unet_cases(recording: Recording) -> Iterator[Case]:
    for name in recording.info["cases"]:
        yield Case(f"unet-{name}", partial(check_unet, recording, name))


def check_unet(recording: Recording, name: str) -> None:
    tensors, case = recording.tensors, recording.info["cases"][name]
    x, context = tensors[f"{name}.x"], tensors[f"{name}.context"]
    assert_close(drawn(case["x_seed"], x), x, 0)
    fps = frame_rates(case.get("fps"), len(x))
    out = of(recording)(x, torch.tensor(case["t"]), context, **fps)
    assert_close(out, tensors[f"{name}.out"], FORWARD)


def sampling_cases(recording: Recording) -> Iterator[Case]:
    for name in recording.info["scenarios"]:
        yield Case(f"sampling-{name}", partial(check_sampling, recording, name))


def check_sampling(recording: Recording, name: str) -> None:
    info, tensors, scenario = recording.info, recording.tensors, recording.info["scenarios"][name]
    unet, start = of(recording), tensors["x_T"]

    def condition(context: Tensor) -> Conditioning:
        rows = {"context": context.expand(len(start), -1, -1)}
        return Conditioning({**rows, **frame_rates(info["fps"], len(start))})

    def predict(latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        return unet(latents, torch.full((len(latents),), int(level.timestep)), **conditioning.tensors)

    prompt, empty = condition(tensors["context"]), condition(tensors["uncond_context"])
    guided, table = Guided(predict, lambda _: prompt, empty, scenario["cfg"]), levels(info, scenario["S"])
    path, clean = [], []

    def watched(latents: Tensor, level: Level, index: int) -> Tensor:
        raw = guided(latents, level, index)
        path.append(latents)
        clean.append(table.split(raw, latents, level)[0])
        return raw

    eta = scenario["eta"]
    final = sample(watched, start, table, ddim_eta=eta, generators=noise(scenario, start))
    assert_close(final, tensors[f"{name}.final"], SAMPLING)
    if f"{name}.x_inter" in tensors:
        assert_close(torch.stack([*path[1:], final]), tensors[f"{name}.x_inter"], SAMPLING)
    if f"{name}.pred_x0" in tensors:
        assert_close(torch.stack(clean), tensors[f"{name}.pred_x0"], SAMPLING)


def noise(scenario: dict[str, Any], start: Tensor) -> list[torch.Generator] | None:
    """One generator for the whole batch, as the original draws it: rows follow each other within a step."""
    if scenario["eta"] == 0:
        return None
    shared = torch.Generator().manual_seed(scenario["noise_seed"])
    return [shared] * len(start)


def key_cases(recording: Recording) -> Iterator[Case]:
    yield Case("names and shapes", partial(check_keys, recording))


def check_keys(recording: Recording) -> None:
    """The full-size network has the original's names and shapes, and the map goes there and back."""
    config = recording.info["config"]
    made = version(config)
    with torch.device("meta"):
        unet = made.network(**made.config(config))
    ours = unet.state_dict()
    theirs = made.to_theirs(ours, unet)
    assert {name: list(entry.shape) for name, entry in theirs.items()} == recording.info["state_dict"]
    back = made.from_theirs(theirs, unet)
    assert {name: entry.shape for name, entry in back.items()} == {
        name: entry.shape for name, entry in ours.items()
    }
