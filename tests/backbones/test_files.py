"""Published folders: where they are found, what is said of what is absent, and old names of weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from pos.backbones.files import DiffusersFolder, published, scheduler_levels
from pos.errors import PosError
from tests.backbones.published import SCHEDULER, write_stable_diffusion

HUB = "stable-diffusion-v1-5/stable-diffusion-v1-5"
UNET, VAE = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write_stable_diffusion(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(original, tmp_path / "model"))


def opened(folder: Path | str) -> DiffusersFolder:
    return DiffusersFolder(str(folder), "Stable Diffusion 1.5", HUB)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a model, as they are loaded."""
    model = opened(folder)
    parts = {"unet": model.load("unet", UNet2DConditionModel.from_config), "vae": model.vae()}
    parts["text"] = model.text().model
    return {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def assert_same(ours: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], tolerance: float = 0) -> None:
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(ours[name], value, rtol=tolerance, atol=tolerance)


def test_weights_are_those_of_the_files(original: Path) -> None:
    loaded = weights(original)
    stored = load_file(original / f"{UNET}.safetensors")
    assert_same({name: loaded[f"unet.{name}"] for name in stored}, stored)


def test_names_of_older_versions(original: Path, folder: Path) -> None:
    """Stable Diffusion's own files have these names."""
    wanted = weights(original)
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    state = load_file(folder / f"{VAE}.safetensors")
    assert sum(any(part in name for part in old) for name in state) == 16
    for new, former in old.items():
        state = {name.replace(new, former): value for name, value in state.items()}
    save_file(state, folder / f"{VAE}.safetensors")
    text = load_file(folder / "text_encoder/model.safetensors")
    text = {f"text_model.{name}": value for name, value in text.items()}
    text["text_model.embeddings.position_ids"] = torch.arange(24)[None]
    save_file(text, folder / "text_encoder/model.safetensors")
    assert_same(weights(folder), wanted)


def test_half_precision_files_and_shards(original: Path, folder: Path) -> None:
    wanted = weights(original)
    for stem in (UNET, "text_encoder/model"):
        whole = folder / f"{stem}.safetensors"
        save_file(
            {name: v.half() for name, v in load_file(whole).items()}, folder / f"{stem}.fp16.safetensors"
        )
        whole.unlink()
    state = load_file(folder / f"{VAE}.safetensors")
    names = {
        name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(state)
    }
    for file in set(names.values()):
        save_file({name: state[name] for name in state if names[name] == file}, folder / "vae" / file)
    (folder / f"{VAE}.safetensors").unlink()
    (folder / f"{VAE}.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert_same(weights(folder), wanted, 1e-3)
    loaded = weights(folder)
    exact = [name for name in wanted if name.startswith("vae.")]
    assert_same({name: loaded[name] for name in exact}, {name: wanted[name] for name in exact})
    assert opened(folder).fingerprint("vae") != opened(original).fingerprint("vae")
    (folder / "vae" / names["decoder.conv_in.weight"]).unlink()
    with pytest.raises(PosError, match=r"-of-00002\.safetensors is absent"):
        weights(folder)


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / f"{UNET}.safetensors").rename(folder / f"{UNET}.bin")
    with pytest.raises(PosError, match=r"unet/diffusion_pytorch_model\.safetensors is absent"):
        weights(folder)


@pytest.mark.parametrize(
    "name",
    [
        "unet/config.json",
        f"{UNET}.safetensors",
        f"{VAE}.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    ],
)
def test_an_absent_file_is_named_with_its_source_and_the_key(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(PosError) as raised:
        opened(folder).levels() if name.startswith("scheduler") else weights(folder)
    said = str(raised.value)
    assert said.startswith(f"{folder / name} is absent: ")
    assert f"hf download {HUB} --local-dir DIR" in said
    assert "backbone.folder=PATH" in said
    assert len(said.splitlines()) == 1


def test_a_model_that_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    absent = r"is no folder and not in the local Hugging Face cache: get .*hf download .*backbone\.folder=DIR"
    for place in (HUB, "not/a/hub/id", str(tmp_path / "nothing")):
        with pytest.raises(PosError, match=f"^{place} {absent}"):
            opened(place)


def test_a_model_of_the_local_cache_is_found_by_its_hub_id(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / f"models--{HUB.replace('/', '--')}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40)
    shutil.copytree(original, cache / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert opened(HUB).fingerprint("unet") == opened(original).fingerprint("unet")


def test_a_download_cut_short_is_named(folder: Path) -> None:
    path = folder / f"{UNET}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PosError, match=r"unet/diffusion_pytorch_model\.safetensors is not a readable"):
        weights(folder)
    (folder / "unet/config.json").write_text('{"sample_size": 8')
    with pytest.raises(PosError, match=r"unet/config\.json is not JSON"):
        weights(folder)


def test_weights_of_another_model_are_refused_with_the_first_ten_names(folder: Path) -> None:
    state = load_file(folder / f"{UNET}.safetensors")
    gone = sorted(state)[:12]
    for name in gone:
        del state[name]
    state |= {f"strange.{index:02d}": torch.zeros(1) for index in range(11)}
    save_file(state, folder / f"{UNET}.safetensors")
    with pytest.raises(PosError) as raised:
        weights(folder)
    said = str(raised.value)
    assert "12 missing: " in said
    assert "11 unexpected: strange.00" in said
    assert sum(name in said for name in gone) == 10
    assert "strange.09, ..." in said
    assert "strange.10" not in said


def test_a_file_outside_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PosError, match=r"x\.pt is absent: get X with 'fetch X' .* backbone\.unet=PATH"):
        published(tmp_path / "x.pt", "X", "fetch X", "backbone.unet")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steps_offset": 0, "set_alpha_to_one": True},
        {"beta_schedule": "linear", "beta_end": 0.02},
        {"num_train_timesteps": 500},
    ],
)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_levels_are_those_of_diffusers_ddim(changes: dict, steps: int) -> None:
    config = {**SCHEDULER, **changes}
    theirs = DDIMScheduler.from_config(config)
    theirs.set_timesteps(steps)
    table = scheduler_levels(config)(steps)
    assert [table[index].timestep for index in range(steps, 0, -1)] == theirs.timesteps.tolist()
    clean = theirs.final_alpha_cumprod
    assert table[0].signal ** 2 == pytest.approx(float(clean), rel=1e-6)
    for index, timestep in zip(range(steps, 0, -1), theirs.timesteps, strict=True):
        assert table[index].signal ** 2 == pytest.approx(float(theirs.alphas_cumprod[timestep]), rel=1e-5)


def test_v_prediction_is_read_and_what_is_not_known_is_refused() -> None:
    assert scheduler_levels({**SCHEDULER, "prediction_type": "v_prediction"})(5).prediction == "v"
    for entry in (
        {"timestep_spacing": "trailing"},
        {"rescale_betas_zero_snr": True},
        {"prediction_type": "sample"},
    ):
        ((name, value),) = entry.items()
        with pytest.raises(PosError, match=f"{name}={value} is not supported"):
            scheduler_levels({**SCHEDULER, **entry})
