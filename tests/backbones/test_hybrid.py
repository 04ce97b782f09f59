"""Hybrid semantics (Eq. 8) on every backbone: what its network is told at each step, pooled or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from pos.backbones.latent import LatentDiffusion
from pos.backbones.modelscope import load_modelscope
from pos.backbones.scvideo import load_stable_diffusion
from pos.backbones.stable_diffusion import load_sd15, load_sdxl
from pos.backbones.tuneavideo import load_retrained
from pos.config.overrides import prepare
from pos.conversion.run import convert
from pos.conversion.videocrafter import VideoCrafter
from pos.generation import make_requests
from pos.method import Method
from pos.networks.inflated.scvideo import save_unet, unet2d_config
from pos.networks.inflated.tuneavideo import TuneAVideoUNet
from tests.backbones.published import (
    drawn,
    write_modelscope,
    write_stable_diffusion,
    write_stable_diffusion_xl,
)
from tests.conversion.published import sizes, write_checkpoint
from tests.known import known_pipeline

CONF = Path(__file__).parents[2] / "conf"
STEPS = 4
Told = list[tuple[float, dict[str, torch.Tensor]]]


def write_tuneavideo(root: Path) -> None:
    unet = write_stable_diffusion(root).unet
    network = TuneAVideoUNet(**unet2d_config(unet.config), temporal_convs=True)
    save_unet(drawn(network, seed=1), root / "trained.safetensors")


def load_tuneavideo(folder: str, device: str, precision: str) -> LatentDiffusion:
    return load_retrained(f"{folder}/trained.safetensors", folder, device=device, precision=precision)


def write_videocrafter(version: str, root: Path) -> None:
    root.mkdir()
    write_checkpoint(root / "model.ckpt", version)
    convert(VideoCrafter(version, **sizes(version)), root / "model.ckpt", root)


def load_videocrafter(version: str, folder: str, device: str, precision: str) -> LatentDiffusion:
    words = [f"backbone=videocrafter_{version}", f"backbone.folder={folder}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("generate", prepare([*words, f"device={device}", f"precision={precision}"]))
    return instantiate(config.backbone)


# Each backbone with what writes its files and the tensors that condition it.
BACKBONES: dict[str, tuple[Callable[..., object], Callable[..., LatentDiffusion], set[str]]] = {
    "sd15": (write_stable_diffusion, load_sd15, {"context"}),
    "sdxl": (write_stable_diffusion_xl, load_sdxl, {"context", "pooled"}),
    "scvideo": (write_stable_diffusion, load_stable_diffusion, {"context"}),
    "tuneavideo": (write_tuneavideo, load_tuneavideo, {"context"}),
    "modelscope": (write_modelscope, load_modelscope, {"context"}),
    "videocrafter": (
        partial(write_videocrafter, "vc2_512"),
        partial(load_videocrafter, "vc2_512"),
        {"context", "fps"},
    ),
}


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    write, load, names = BACKBONES[request.param]
    folder = tmp_path_factory.mktemp("published") / "model"
    write(folder)
    made = load(str(folder), device="cpu", precision="fp32")
    assert made.encode_text(["a ring"]).tensors.keys() == names
    return made


def told(backbone: LatentDiffusion, method: Method, folder: Path, words: dict[str, str]) -> Told:
    """(timestep, conditioning) of every call of the network while one video is made."""
    calls: Told = []

    def listen(_: torch.nn.Module, inputs: tuple, conditioning: dict[str, torch.Tensor]) -> None:
        calls.append((float(inputs[1][0]), conditioning))

    hook = backbone.unet.register_forward_pre_hook(listen, with_kwargs=True)
    pipeline = known_pipeline(
        folder, method, words=words, backbone=backbone, npnet=None, guidance=3.0, steps=STEPS, frames=1,
        height=32, width=32,
    )  # fmt: skip
    list(pipeline.generate(make_requests(["a red ring"])))
    hook.remove()
    return calls


def test_the_network_is_told_the_rewritten_prompt_first(backbone: LatentDiffusion, tmp_path: Path) -> None:
    calls = told(backbone, Method(rewrite=True, gamma=0.5), tmp_path, {"red": "blue"})
    assert [timestep for timestep, _ in calls] == [751, 501, 251, 1]
    for step, (_, conditioning) in enumerate(calls):
        prompt = "a blue ring" if step < 2 else "a red ring"
        wanted = backbone.encode_text(["", prompt]).tensors
        assert conditioning.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(conditioning[name], tensor, rtol=1e-5, atol=1e-6)


def test_the_inversion_is_told_nothing(backbone: LatentDiffusion, tmp_path: Path) -> None:
    calls = told(backbone, Method(noise="inversion", eta=0.5), tmp_path, {})
    assert [timestep for timestep, _ in calls[:STEPS]] == [1, 251, 501, 751]
    empty = backbone.encode_text([""]).tensors
    for _, conditioning in calls[:STEPS]:
        assert all(torch.allclose(conditioning[name], empty[name], atol=1e-6) for name in empty)
        assert all(len(tensor) == 1 for tensor in conditioning.values()), "no guidance"


def test_prompts_are_told_apart(backbone: LatentDiffusion) -> None:
    red, blue = (backbone.encode_text([prompt]).tensors for prompt in ("a red ring", "a blue ring"))
    assert all((red[name] - blue[name]).abs().max() > 1e-3 for name in red if name != "fps")
