"""VideoCrafter from tiny checkpoints in the authors' layout, through the conversion, by configuration."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import open_clip
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import save_file
from torch import Tensor

from pos.backbones.base import Conditioning
from pos.backbones.latent import LatentDiffusion
from pos.backbones.videocrafter import VERSIONS, load_videocrafter
from pos.config.overrides import prepare
from pos.conversion.run import convert
from pos.conversion.videocrafter import VideoCrafter
from pos.data.video.reading import read_video
from pos.diffusion.ddim import Guided, sample
from pos.errors import PosError
from pos.generation import run
from tests.conversion.published import clip_tower, open_clip_tower, recording, sizes, write_checkpoint
from tests.golden.recordings import FORWARD, SAMPLING, Recording, assert_close

CONF = Path(__file__).parents[2] / "conf"
PROMPTS = ["a red ring moving left", "", "A  Dog &amp; it's cat", "word " * 90]
BEGIN, END = 49406, 49407


def choice(version: str) -> str:
    return f"backbone=videocrafter_{version.replace('.', '')}"


def composed(*words: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("generate", prepare([*words, "device=cpu"]))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """version -> the folder of its converted checkpoint."""
    root = tmp_path_factory.mktemp("videocrafter")

    def folder(version: str) -> Path:
        if not (root / version).is_dir():
            write_checkpoint(root / f"{version}.ckpt", version)
            convert(VideoCrafter(version, **sizes(version)), root / f"{version}.ckpt", root / version)
        return root / version

    return folder


@pytest.fixture(scope="module")
def load(converted: Callable[[str], Path]) -> Callable[..., LatentDiffusion]:
    """(version, *words of the command line) -> the backbone."""

    @cache
    def loaded(version: str, *words: str) -> LatentDiffusion:
        return instantiate(
            composed(choice(version), f"backbone.folder={converted(version)}", *words).backbone
        )

    return loaded


def rates(fps: list[int] | int | None, rows: int) -> dict[str, Tensor]:
    if fps is None:
        return {}
    return {"fps": torch.tensor(fps if isinstance(fps, list) else [fps] * rows)}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_network_is_the_recorded_one(version: str, load):
    found = recording(version)
    for name, case in found.info["cases"].items():
        x, context = found.tensors[f"{name}.x"], found.tensors[f"{name}.context"]
        told = rates(case.get("fps"), len(x))
        out = load(version).unet(x, torch.tensor(case["t"]), context, **told)
        assert_close(out, found.tensors[f"{name}.out"], FORWARD)


@pytest.mark.parametrize("version", VERSIONS)
def test_sampling_by_configuration_is_the_recorded_one(version: str, load):
    """The authors' sampler at eta 0, with the levels and the frame rate that the configuration gives."""
    unet = recording(version).path
    found = Recording(unet.with_name(unet.name.replace("_unet", "_ddim")))
    backbone, start = load(version), found.tensors["x_T"]
    told = {"fps": backbone.encode_text([""]).tensors["fps"].expand(len(start))} if found.info["fps"] else {}

    def condition(name: str) -> Conditioning:
        return Conditioning({"context": found.tensors[name].expand(len(start), -1, -1), **told})

    prompt, empty = condition("context"), condition("uncond_context")
    (name,) = [name for name in found.info["scenarios"] if name in ("cfg15_eta0", "cfg12_eta0")]
    scenario = found.info["scenarios"][name]
    guided = Guided(backbone.predict, lambda _: prompt, empty, scenario["cfg"])
    final = sample(guided, start, backbone.levels(scenario["S"]))
    assert_close(final, found.tensors[f"{name}.final"], SAMPLING)


def test_v09_reads_clips_last_hidden_state_padded_with_the_end(load):
    context = load("v0.9").encode_text(PROMPTS).tensors["context"]
    (ids,) = (open_clip.tokenize(PROMPTS[:1]),)
    filled = ids.masked_fill(ids == 0, END)
    assert_close(context[:1], clip_tower()(input_ids=filled).last_hidden_state, FORWARD)
    empty = torch.tensor([[BEGIN] + [END] * 76])
    assert_close(context[1:2], clip_tower()(input_ids=empty).last_hidden_state, FORWARD)


@pytest.mark.parametrize("version", ["vc1_512", "vc1_1024", "vc2_512"])
def test_the_others_read_open_clips_penultimate_layer_and_its_norm_padded_with_zeros(version: str, load):
    """As VideoCrafter's FrozenOpenCLIPEmbedder has it, with open_clip's own tokens."""
    tower = open_clip_tower()
    states = tower.token_embedding(open_clip.tokenize(PROMPTS)) + tower.positional_embedding
    for block in tower.transformer.resblocks[:-1]:
        states = block(states, attn_mask=tower.attn_mask)
    assert_close(load(version).encode_text(PROMPTS).tensors["context"], tower.ln_final(states), FORWARD)


@pytest.mark.parametrize(
    ("version", "end"), [("v0.9", 1), ("vc1_512", 1), ("vc1_1024", 0.3), ("vc2_512", 0.7)]
)
def test_the_signal_is_scaled_as_the_version_was_trained(version: str, end: float, load):
    table = load(version).levels(50)
    scales = {
        level.timestep: level.signal / (1 - level.noise**2) ** 0.5
        for level in (table[0], table[11], table[21], table[50])
    }
    expected = {0: 1, 201: 1 + (end - 1) * 201 / 399, 401: end, 981: end}
    assert scales == pytest.approx(expected)


def test_steps_that_do_not_divide_the_schedule_are_one_more_as_in_the_authors_sampler(load):
    assert [load("vc2_512").levels(steps).steps for steps in (50, 30, 6)] == [50, 31, 7]


def test_native_defaults(load):
    sized = {"v0.9": (256, 256), "vc1_512": (320, 512), "vc1_1024": (576, 1024), "vc2_512": (320, 512)}
    for version, (height, width) in sized.items():
        native = load(version).defaults
        assert (native.frames, native.height, native.width) == (16, height, width)
        assert (native.steps, native.ddim_eta) == (50, 1)
        assert native.guidance == (15 if version == "v0.9" else 12)
        assert load(version).codec.scale == 0.18215
    assert composed("backbone=videocrafter").backbone == composed("backbone=videocrafter_v09").backbone


def test_the_network_is_told_the_frame_rate_of_every_row(load):
    text = load("vc2_512").encode_text(PROMPTS[:2])
    assert text.tensors["fps"].tolist() == [28, 28]
    assert "fps" not in load("vc1_512").encode_text(PROMPTS[:1]).tensors
    slow = load("vc2_512", "backbone.fps_condition=8")
    assert slow.encode_text(PROMPTS[:1]).tensors["fps"].tolist() == [8]


def test_the_fingerprint_knows_all_that_changes_a_video(load):
    changes = ["backbone.fps_condition=8", "backbone.pad_id=49407", "backbone.signal_scale=[1.0,0.3,400]"]
    marks = {load("vc2_512", *words).fingerprint for words in ([], *([change] for change in changes))}
    assert len(marks | {load("vc1_1024").fingerprint}) == 5
    assert load("vc2_512", "backbone.steps=7").fingerprint == load("vc2_512").fingerprint


@pytest.mark.parametrize("method", ["baseline", "ona", "spr", "pos"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_method_runs_by_configuration(version: str, method: str, converted, tmp_path: Path):
    words = [
        choice(version), f"backbone.folder={converted(version)}", f"method={method}", "prompt=a red ring",
        "pool.size=6", "frames=3", "height=32", "width=32", "steps=2", f"out={tmp_path / 'out'}",
        f"cache={tmp_path / 'cache'}",
    ]  # fmt: skip
    run(composed(*words))
    (video,) = (tmp_path / "out").glob("*.safetensors")
    assert read_video(video, frames=3).shape == (3, 3, 32, 32)


def test_sizes_and_frames_that_are_not_possible(load):
    backbone = load("vc2_512")
    assert backbone.latent_shape(3, 32, 64) == (4, 3, 4, 8)
    with pytest.raises(PosError, match="height=40, width=64 is not possible: multiples of 32"):
        backbone.latent_shape(3, 40, 64)
    with pytest.raises(PosError, match="frames=0 is not possible"):
        backbone.latent_shape(0, 32, 64)


def test_absent_weights_say_what_to_get_where_and_which_key_takes_them(tmp_path: Path):
    published = {
        "v0.9": "hf download VideoCrafter/t2v-version-1-1 models/base_t2v/model_rm_wtm.ckpt",
        "vc1_512": "hf download VideoCrafter/Text2Video-512 model.ckpt",
        "vc1_1024": "hf download VideoCrafter/Text2Video-1024 model.ckpt",
        "vc2_512": "hf download VideoCrafter/VideoCrafter2 model.ckpt",
    }
    for version, command in published.items():
        with pytest.raises(PosError, match=rf"{tmp_path}/unet\.safetensors is absent") as error:
            load_with(tmp_path, version)
        said = str(error.value)
        file = command.split()[-1]
        assert f"{command} --local-dir DOWNLOAD" in said
        assert (
            f"experiments/convert.py weights=videocrafter weights.version={version} source=DOWNLOAD/{file}"
            in said
        )
        assert "give its place with backbone.folder=" in said
        assert command in (CONF / "backbone" / f"{choice(version).split('=')[1]}.yaml").read_text()


def load_with(folder: Path, version: str) -> LatentDiffusion:
    settings = composed(choice("v0.9"), f"backbone.folder={folder}").backbone
    arguments = {name: value for name, value in settings.items() if name != "_target_"}
    return load_videocrafter(**{**arguments, "holds": version})


def test_an_unknown_version_and_a_folder_of_another_one(converted):
    with pytest.raises(PosError, match=r"version 'vc3' is unknown: choose v0\.9, vc1_512,"):
        load_with(converted("v0.9"), "vc3")
    with pytest.raises(PosError, match=r"holds VideoCrafter v0\.9 and not VideoCrafter vc2_512"):
        load_with(converted("v0.9"), "vc2_512")


def test_files_that_are_cut_short_or_do_not_fit(converted, tmp_path: Path):
    folder = shutil.copytree(converted("v0.9"), tmp_path / "v09")
    whole = (folder / "text.safetensors").read_bytes()
    (folder / "text.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PosError, match=r"text\.safetensors is not a readable safetensors file"):
        load_with(folder, "v0.9")
    metadata = {"model": "VideoCrafter v0.9", "config": '{"hidden_size": 24, "num_attention_heads": 2}'}
    save_file({"odd": torch.ones(1)}, folder / "text.safetensors", metadata)
    with pytest.raises(PosError, match=r"do not fit CLIPTextModel: \d+ missing: .*; 1 unexpected: odd"):
        load_with(folder, "v0.9")
