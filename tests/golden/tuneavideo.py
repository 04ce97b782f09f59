"""Tune-A-Video: its network, attention and block, its DDIM inversion and its pipeline's loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor

from pos.backbones.base import Conditioning
from pos.diffusion.ddim import Guided, invert, sample
from pos.diffusion.levels import Level, LevelTable
from pos.networks.inflated.blocks import SparseCausalAttention
from pos.networks.inflated.tuneavideo import TuneAVideoBlock, TuneAVideoUNet, tuneavideo_config
from pos.networks.layers.attention import Attention
from tests.golden.modelscope import condition, levels
from tests.golden.recordings import FORWARD, SAMPLING, Case, Recording, assert_close, drawn, fill


@cache
def network(config: str) -> TuneAVideoUNet:
    return fill(TuneAVideoUNet(**tuneavideo_config(json.loads(config))))


def of(recording: Recording) -> TuneAVideoUNet:
    return network(json.dumps(recording.info["config"]))


def unet_cases(recording: Recording) -> Iterator[Case]:
    for name in recording.info["cases"]:
        yield Case(f"unet-{name}", partial(check_unet, recording, name))


def check_unet(recording: Recording, name: str) -> None:
    case = recording.info["cases"][name]
    x, context, expected = (
        recording.tensors[f"{name}.{part}"] for part in ("x", "encoder_hidden_states", "out")
    )
    assert_close(drawn(case["x_seed"], x), x, 0)
    assert_close(drawn(case["encoder_hidden_states_seed"], context), context, 0)
    out = of(recording)(x, torch.tensor(case["t"]).expand(len(x)), context)
    assert_close(out, expected, FORWARD)


def unit_cases(recording: Recording) -> Iterator[Case]:
    """The attention and the block alone."""
    yield Case("sc-attn", partial(check_sparse_causal_attention, recording))
    yield Case("block", partial(check_block, recording))


def check_sparse_causal_attention(recording: Recording) -> None:
    info = recording.info
    attention = fill(SparseCausalAttention(info["dim"], info["heads"]))
    assert sorted(attention.state_dict()) == info["sc_attn_keys"]
    tokens = recording.tensors["x"].unflatten(0, (-1, info["frames"]))
    assert_close(attention(tokens).flatten(0, 1), recording.tensors["sc_attn.out"], FORWARD)


def check_block(recording: Recording) -> None:
    """Recorded with another text for every frame: ours has one, so its cross-attention's base stands in."""
    info = recording.info
    block = TuneAVideoBlock(info["dim"], info["heads"], info["cross_attention_dim"])
    assert sorted(block.state_dict()) == info["block_keys"]
    block.attn2 = Attention(info["dim"], info["heads"], info["cross_attention_dim"])
    tokens, text = (
        recording.tensors[name].unflatten(0, (-1, info["frames"])) for name in ("x", "encoder_hidden_states")
    )
    assert_close(fill(block)(tokens, text).flatten(0, 1), recording.tensors["block.out"], FORWARD)


class Asked:
    """The recorded network as a prediction, which keeps what it was asked."""

    def __init__(self, recording: Recording) -> None:
        self.unet = of(recording)
        self.latents: list[Tensor] = []
        self.timesteps: list[float] = []

    def __call__(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        self.latents.append(latents)
        self.timesteps.append(level.timestep)
        timesteps = torch.full((len(latents),), int(level.timestep))
        return self.unet(latents, timesteps, **conditioning.tensors)

    def path(self, rows: int, final: Tensor) -> Tensor:
        """The latents of every step, first to final; of a guided batch the first half."""
        return torch.stack([latents[:rows] for latents in self.latents] + [final])


def loop_cases(recording: Recording) -> Iterator[Case]:
    """Every inversion, and every run of the pipeline."""
    for name in recording.info["inversion"]:
        yield Case(f"inversion-{name}", partial(check_inversion, recording, name))
    for name in recording.info["pipeline"]:
        yield Case(f"sampling-{name}", partial(check_sampling, recording, name))


def check_inversion(recording: Recording, name: str) -> None:
    tensors, asked = recording.tensors, Asked(recording)
    clean, origin = tensors["z0"], recording.info["z0"]
    assert_close(origin["scale"] * drawn(origin["seed"], clean), clean, 0)
    timesteps = recording.info["inversion"][name]["timesteps_used"]
    empty = condition(tensors["uncond"], len(clean))
    inversion = invert(Guided(asked, lambda _: empty), clean, table(recording, len(timesteps)))
    assert asked.timesteps == timesteps
    stored = name.replace("S", "inv")
    assert_close(inversion.noise, tensors[f"{stored}.final"], FORWARD)
    if f"{stored}.all" in tensors:
        assert_close(asked.path(len(clean), inversion.noise), tensors[f"{stored}.all"], FORWARD)


def check_sampling(recording: Recording, name: str) -> None:
    tensors, scenario, asked = recording.tensors, recording.info["pipeline"][name], Asked(recording)
    like = tensors["z0"]
    inverted = scenario["init"] == "inv"
    start = tensors[f"inv{scenario['S']}.final"] if inverted else drawn(scenario["init_seed"], like)
    prompt, empty = (condition(tensors[key], len(like)) for key in (scenario["prompt"], "uncond"))
    guided = Guided(asked, lambda _: prompt, empty, scenario["guidance"])
    final = sample(guided, start, table(recording, scenario["S"]))
    assert_close(final, tensors[f"{name}.final"], SAMPLING)
    if f"{name}.all" in tensors:
        assert_close(asked.path(len(like), final)[1:], tensors[f"{name}.all"], SAMPLING)


def table(recording: Recording, steps: int) -> LevelTable:
    return levels(recording.info["scheduler"], steps)


def key_cases(recording: Recording) -> Iterator[Case]:
    yield Case("names and shapes", partial(check_keys, recording))


def check_keys(recording: Recording) -> None:
    """The recording's configuration leaves the blocks out: they are those of Stable Diffusion 1.4."""
    blocks = ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"]
    with torch.device("meta"):
        unet = TuneAVideoUNet(**tuneavideo_config({"down_block_types": blocks, **recording.info["config"]}))
    shapes = {name: list(entry.shape) for name, entry in unet.state_dict().items()}
    assert shapes == recording.info["state_dict"]
