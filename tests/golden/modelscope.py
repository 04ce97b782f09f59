"""ModelScope recordings (diffusers' pipeline and inverse scheduler) against our network and our loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pos.backbones.base import Conditioning
from pos.diffusion.ddim import Guided, invert, sample
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.networks.unet3d.unet import UNet3D, unet3d_config
from tests.golden.recordings import FORWARD, SAMPLING, Case, Recording, assert_close, drawn, fill

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

NAMES = {"beta_start": "beta_start", "beta_end": "beta_end", "num_train_timesteps": "train_timesteps"}


def levels(scheduler: dict[str, Any], steps: int) -> LevelTable:
    """The level table that a diffusers scheduler's configuration describes; an unknown entry is an error."""
    config = dict(scheduler)
    assert config.pop("clip_sample", False) is False, "clipping the predicted x_0 is no part of a level table"
    assert config.pop("timestep_spacing", "leading") == "leading"
    prediction = {"epsilon": "epsilon", "v_prediction": "v"}[config.pop("prediction_type", "epsilon")]
    final_alpha = "one" if config.pop("set_alpha_to_one", True) else "first"
    schedule, offset = config.pop("beta_schedule"), config.pop("steps_offset", 0)
    rest = {NAMES[name]: value for name, value in config.items()}
    return ddim_levels(
        steps, schedule=schedule, offset=offset, final_alpha=final_alpha, prediction=prediction, **rest
    )


class Networks:
    """The networks of a recording, built from its configurations and filled by the rule.

    ``asked`` keeps what the UNet was asked: latents and timestep.
    """

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        self.asked: list[tuple[Tensor, float]] = []

    @property
    def unet(self) -> UNet3D:
        return _filled_unet(json.dumps(self.info["unet_config"]))

    def vae(self) -> AutoencoderKL:
        from diffusers import AutoencoderKL

        return fill(AutoencoderKL(**self.info["vae_config"]))

    def embed(self, input_ids: list[list[int]]) -> Tensor:
        from transformers import CLIPTextConfig, CLIPTextModel

        text = fill(CLIPTextModel(CLIPTextConfig(**self.info["text_config"])))
        return text(torch.tensor(input_ids)).last_hidden_state

    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        self.asked.append((latents, level.timestep))
        timestep = torch.full((len(latents),), int(level.timestep))
        return self.unet(latents, timestep, **conditioning.tensors)


@cache
def _filled_unet(config: str) -> UNet3D:
    return fill(UNet3D(**unet3d_config(json.loads(config))))


def condition(embedding: Tensor, rows: int) -> Conditioning:
    return Conditioning({"context": embedding.expand(rows, -1, -1)})


def rows_of(ids: list) -> list[list[int]]:
    """Token ids as rows; one prompt may stand without its batch dimension."""
    return ids if isinstance(ids[0], list) else [ids]


def pipeline_cases(recording: Recording) -> Iterator[Case]:
    """Text embeddings, one UNet forward, and every guided sampling."""
    yield Case("inputs", partial(check_inputs, recording))
    yield Case("text", partial(check_text, recording))
    yield Case("unet", partial(check_unet, recording))
    for name in recording.info["pipeline"]:
        yield Case(f"sampling-{name}", partial(check_sampling, recording, name))


def check_inputs(recording: Recording) -> None:
    info, tensors = recording.info, recording.tensors
    assert_close(drawn(info["latents_seed"], tensors["latents"]), tensors["latents"], 0)
    assert_close(drawn(info["unet_x_seed"], tensors["unet.x"]), tensors["unet.x"], 0)


def check_text(recording: Recording) -> None:
    networks, tensors = Networks(recording.info), recording.tensors
    assert_close(networks.embed(rows_of(recording.info["input_ids"])), tensors["prompt_embeds"], FORWARD)
    uncond = networks.embed(rows_of(recording.info["uncond_input_ids"]))
    assert_close(uncond, tensors["negative_prompt_embeds"], FORWARD)


def check_unet(recording: Recording) -> None:
    networks, tensors = Networks(recording.info), recording.tensors
    x = tensors["unet.x"]
    out = networks.predict(
        x, Level(recording.info["unet_t"], 1, 1), condition(tensors["prompt_embeds"], len(x))
    )
    assert_close(out, tensors["unet.out"], FORWARD)


def check_sampling(recording: Recording, name: str) -> None:
    info, tensors, scenario = recording.info, recording.tensors, recording.info["pipeline"][name]
    networks = Networks(info)
    table = levels(info["scheduler"], scenario["S"])
    start = tensors["latents"]
    prompt, empty = (
        condition(tensors[key], len(start)) for key in ("prompt_embeds", "negative_prompt_embeds")
    )
    guided = Guided(networks.predict, lambda _: prompt, empty, scenario["guidance_scale"])
    final = sample(guided, start, table)
    assert [timestep for _, timestep in networks.asked] == scenario["timesteps"]
    assert_close(final, tensors[f"{name}.final"], SAMPLING)
    if f"{name}.all" in tensors:
        path = [latents[: len(start)] for latents, _ in networks.asked[1:]] + [final]
        assert_close(torch.stack(path), tensors[f"{name}.all"], SAMPLING)
    if f"{name}.video" in tensors:
        frames = networks.vae().decode(flat(final) / info["vae_config"]["scaling_factor"]).sample
        video = (frames / 2 + 0.5).clamp(0, 1).unflatten(0, (len(start), -1))
        assert_close(video, tensors[f"{name}.video"], SAMPLING)


def flat(latents: Tensor) -> Tensor:
    """(b, c, f, h, w) to frames (b f, c, h, w)."""
    return latents.transpose(1, 2).flatten(0, 1)


def inversion_cases(recording: Recording) -> Iterator[Case]:
    """The autoencoder per frame, and every inversion, there and back."""
    yield Case("vae", partial(check_vae, recording))
    for name in recording.info["inversion"]:
        yield Case(f"next-{name}", partial(check_inversion, recording, name, "next", "diffusers"))
        yield Case(f"printed-{name}", partial(check_inversion, recording, name, "printed", "eq2"))


def check_vae(recording: Recording) -> None:
    info, tensors = recording.info, recording.tensors
    vae, scale = Networks(info).vae(), info["vae_config"]["scaling_factor"]
    latents = scale * vae.encode(tensors["frames"]).latent_dist.mean
    expected = tensors["latent_mean_scaled"]
    assert_close(latents, flat(expected), FORWARD)
    assert_close(vae.decode(flat(expected) / scale).sample, tensors["decoded"], FORWARD)


def check_inversion(recording: Recording, name: str, method: str, suffix: str) -> None:
    info, tensors = recording.info, recording.tensors
    networks, clean = Networks(info), tensors["z0"]
    timesteps = info["inversion"][name][f"network_timesteps_{suffix}"]
    table = levels(info["scheduler"], len(timesteps))
    context = condition(empty_embedding(recording), len(clean))
    unguided = Guided(networks.predict, lambda _: context)
    inversion = invert(unguided, clean, table, method=method)
    path = [latents for latents, _ in networks.asked] + [inversion.noise]
    assert [timestep for _, timestep in networks.asked] == timesteps
    assert unguided.evaluations == inversion.evaluations == table.steps
    assert_close(inversion.noise, tensors[f"{name}.inv_{suffix}"], FORWARD)
    if f"{name}.inv_{suffix}_all" in tensors:
        assert_close(torch.stack(path), tensors[f"{name}.inv_{suffix}_all"], FORWARD)
    back = sample(unguided, tensors[f"{name}.inv_{suffix}"], table)
    assert_close(back, tensors[f"{name}.recon_{suffix}"], SAMPLING)


def empty_embedding(recording: Recording) -> Tensor:
    """The unconditional embedding is in the pipeline recording beside: of the same name or UNet."""
    twin = recording.name.replace("inversion", "pipeline")
    beside = [Recording(path) for path in sorted(recording.path.parent.glob("*.json"))]
    made = {key: recording.info[key] for key in ("classes", "unet_config")}
    same = [
        found
        for found in beside
        if "pipeline" in found.info and all(found.info.get(key) == value for key, value in made.items())
    ]
    return max(same, key=lambda found: found.name == twin).tensors["negative_prompt_embeds"][:1]
