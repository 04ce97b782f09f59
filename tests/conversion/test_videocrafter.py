"""Whole checkpoints in the authors' layouts, and each way in which one may not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pos.backbones.videocrafter import VERSIONS
from pos.conversion.keys.ldm import to_ldm
from pos.conversion.run import convert
from pos.conversion.videocrafter import UNETS, VideoCrafter
from pos.errors import PosError
from pos.networks.autoencoder import load_autoencoder
from pos.networks.weights import read_config, read_metadata
from tests.conversion.published import TEXT, VAE, sizes, write_checkpoint

ROOT = Path(__file__).parents[2]
UNET, FIRST, COND = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."


def kind(version: str) -> VideoCrafter:
    return VideoCrafter(version, **sizes(version))


def changed(tmp_path: Path, version: str, drop: list[str] = (), add: dict[str, Tensor] | None = None) -> Path:
    """A checkpoint without some tensors and with others."""
    state = write_checkpoint(tmp_path / "model.ckpt", version)
    state = {name: tensor for name, tensor in state.items() if name not in drop} | (add or {})
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_weight_has_its_place(version: str, tmp_path: Path):
    state = write_checkpoint(tmp_path / "model.ckpt", version)
    files = convert(kind(version), tmp_path / "model.ckpt", tmp_path / "out")
    assert [path.name for path in files] == ["unet.safetensors", "vae.safetensors", "text.safetensors"]
    assert {read_metadata(path)["model"] for path in files} == {f"VideoCrafter {version}"}
    unet, vae, text = (load_file(path) for path in files)

    def numbers(tensors: dict[str, Tensor]) -> int:
        return sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())

    theirs = {start: {n: t for n, t in state.items() if n.startswith(start)} for start in (UNET, FIRST, COND)}
    assert numbers(unet) == numbers(theirs[UNET])
    assert {FIRST + n: t for n, t in to_ldm(vae, load_autoencoder(files[1])).items()}.keys() == theirs[
        FIRST
    ].keys()
    last = f"transformer.resblocks.{TEXT['num_hidden_layers']}."
    unused = ("text_projection", "logit_scale", "position_ids")
    read = {n: t for n, t in theirs[COND].items() if last not in n and not n.endswith(unused)}
    assert len(read) < len(theirs[COND])
    assert numbers(text) == numbers(read)
    assert len(state) - sum(map(len, theirs.values())) == (13 if version in ("vc1_1024", "vc2_512") else 12)


def test_the_scale_of_the_latents_and_the_precision_are_kept(tmp_path: Path):
    state = write_checkpoint(tmp_path / "model.ckpt", "v0.9")
    half = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    torch.save(half, tmp_path / "half.ckpt")  # without 'state_dict' too
    files = convert(kind("v0.9"), tmp_path / "half.ckpt", tmp_path / "out")
    assert {tensor.dtype for path in files for tensor in load_file(path).values()} == {torch.float16}
    assert read_config(files[1])["scaling_factor"] == 0.18215


def test_missing_and_unexpected_weights_are_named_as_the_checkpoint_has_them(tmp_path: Path):
    drop = [f"{UNET}time_embed.0.weight", f"{FIRST}decoder.mid.attn_1.q.bias", f"{COND}model.ln_final.bias"]
    drop += [f"{COND}model.transformer.resblocks.0.attn.in_proj_weight"]
    add = {"model_ema.decay": torch.ones(()), f"{COND}model.visual.proj": torch.ones(2)}
    with pytest.raises(PosError, match=r"is no checkpoint of VideoCrafter vc2_512: 4 missing: ") as error:
        kind("vc2_512")(changed(tmp_path, "vc2_512", drop, add))
    said = str(error.value)
    assert all(name in said for name in [*drop, *add])
    assert f"2 unexpected: model_ema.decay, {COND}model.visual.proj" in said


def test_the_first_ten_are_named(tmp_path: Path):
    add = {f"extra.{index:02d}": torch.ones(1) for index in range(12)}
    with pytest.raises(PosError, match=r"12 unexpected: extra\.00,.* extra\.09, \.\.\.") as error:
        kind("v0.9")(changed(tmp_path, "v0.9", add=add))
    assert "extra.10" not in str(error.value)


@pytest.mark.parametrize(
    "name", [f"{UNET}out.2.bias", f"{FIRST}quant_conv.bias", f"{COND}model.ln_final.weight"]
)
def test_another_shape_is_named(name: str, tmp_path: Path):
    source = changed(tmp_path, "vc1_512", add={name: torch.ones(3)})
    with pytest.raises(PosError, match=rf"1 of another shape: {name} \(3,\) instead of"):
        kind("vc1_512")(source)


@pytest.mark.parametrize("found", VERSIONS)
@pytest.mark.parametrize("asked", VERSIONS)
def test_no_version_passes_for_another(found: str, asked: str, tmp_path: Path):
    write_checkpoint(tmp_path / "model.ckpt", found)
    if found == asked:
        assert kind(asked)(tmp_path / "model.ckpt")
        return
    with pytest.raises(PosError, match=f"is no checkpoint of VideoCrafter {asked}: "):
        kind(asked)(tmp_path / "model.ckpt")


def test_a_half_downloaded_checkpoint_is_told(tmp_path: Path):
    write_checkpoint(tmp_path / "model.ckpt", "v0.9")
    whole = (tmp_path / "model.ckpt").read_bytes()
    (tmp_path / "model.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PosError, match=r"cut short, damaged .* download it again"):
        kind("v0.9")(tmp_path / "model.ckpt")


def test_an_unknown_version():
    with pytest.raises(
        PosError, match=r"version 'vc3' is unknown: choose v0\.9, vc1_512, vc1_1024, vc2_512\."
    ):
        VideoCrafter("vc3")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_published_sizes_are_the_authors(version: str):
    recorded = {"v0.9": "v09_256", "vc1_512": "1_512", "vc1_1024": "1_1024", "vc2_512": "2_512"}[version]
    path = (
        ROOT
        / "tests"
        / "golden"
        / "backbones"
        / f"keys_videocrafter{'_' * (version == 'v0.9')}{recorded}_unet.json"
    )
    recording = json.loads(path.read_text())
    assert UNETS[version].items() <= recording["config"].items()
    layout = VideoCrafter(version).layouts["unet"]
    published = {name.removeprefix(UNET): list(entry.shape) for name, entry in layout.published().items()}
    assert published == recording["state_dict"]


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    result = subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "convert.py"), *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


def hydra(value: object) -> str:
    """A value as Hydra's command line has it."""
    return json.dumps(value).replace('"', "").replace(" ", "")


def test_the_command_writes_and_says_where(tmp_path: Path):
    folder = tmp_path / "it's, [mine]"  # any path is a path
    folder.mkdir()
    write_checkpoint(folder / "model.ckpt", "vc2_512")
    arguments = [
        "weights=videocrafter", "weights.version=vc2_512",
        f"source={folder / 'model.ckpt'}", f"out={folder / 'out'}",
        f"weights.unet={hydra(sizes('vc2_512')['unet'])}",
        f"weights.vae={hydra(VAE)}", f"weights.text={hydra(TEXT)}",
    ]  # fmt: skip
    status, stdout, stderr = command(tmp_path, *arguments)
    assert status == 0, stderr
    written = stdout.splitlines()
    assert written == [str(folder / "out" / f"{part}.safetensors") for part in ("unet", "vae", "text")]
    assert all(Path(path).is_file() for path in written)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["source=none.ckpt", "out=o"], "There is no file at none.ckpt: source takes the path"),
        (["weights.version=vc9", "source=x", "out=o"], "version 'vc9' is unknown: choose v0.9, vc1_512,"),
    ],
)
def test_the_command_tells_a_mistake_in_one_sentence(arguments: list[str], said: str, tmp_path: Path):
    status, stdout, stderr = command(tmp_path, *arguments)
    assert (status, stdout) == (2, "")
    assert said in stderr
    assert len(stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
