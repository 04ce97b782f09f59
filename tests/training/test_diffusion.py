"""The noise-prediction task: its loss by hand, what it trains, and the shipped experiments in tiny size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from pos.backbones.scvideo import SHAPES_SCHEDULE, load_shapes
from pos.data.shapes.world import ATTRIBUTES
from pos.diffusion.levels import alphas_cumprod
from pos.errors import PosError
from pos.networks.inflated.scvideo import load_unet
from pos.networks.inflated.trunk import InflatedTrunk
from pos.networks.inflated.tuneavideo import TuneAVideoUNet
from pos.networks.shapes.classifiers import build_classifier, save_classifier
from pos.networks.weights import rebuild
from pos.training.diffusion import DiffusionTask
from pos.training.runner import train
from pos.training.task import Optimization

CONF = Path(__file__).parents[2] / "conf"
Write = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, write_tiny_shapes: Write) -> dict[str, str]:
    return write_tiny_shapes(tmp_path_factory.mktemp("weights"))


def make_task(
    files: dict[str, str], network: InflatedTrunk | None = None, **settings: object
) -> DiffusionTask:
    network = network or load_unet(files["unet"])
    task = DiffusionTask(network, files["clip"], Optimization(1e-3), 0, **settings)
    task.generator = lambda seed: torch.Generator().manual_seed(seed)  # without a trainer there is no step
    task.log = lambda *_, **__: None
    return task


def batch(rows: int = 4) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(300, 2000, (rows, 64), generator=rng)
    return {"targets": torch.randn(rows, 4, 3, 8, 8, generator=rng).half(), "input_ids": ids}


class Spy(torch.nn.Module):
    """Keeps what the network is asked and answers zero, so that the error is the noise itself."""

    def forward(self, noised: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        self.noised, self.timesteps, self.context = noised, timesteps, context
        return torch.zeros_like(noised)


def test_the_network_is_asked_about_noised_targets_at_spread_timesteps(files: dict[str, str]) -> None:
    task, data = make_task(files, text_dropout=0.0), batch()
    task.network = Spy()
    loss = task.training_step(data, 0)
    spy = task.network
    assert [int(t) // 250 for t in spy.timesteps] == [0, 1, 2, 3]
    abar = alphas_cumprod()[spy.timesteps].float().view(-1, 1, 1, 1, 1)
    noise = (spy.noised - abar.sqrt() * data["targets"].float()) / (1 - abar).sqrt()
    assert loss.item() == pytest.approx(noise.square().mean().item(), rel=1e-3)
    assert noise[2:].std().item() == pytest.approx(1.0, abs=0.1)  # where the division does not amplify
    wanted = task.text_encoder(input_ids=data["input_ids"]).last_hidden_state
    torch.testing.assert_close(spy.context, wanted)


@pytest.mark.parametrize(("dropout", "low", "high"), [(0.0, 0, 0), (0.3, 40, 80), (1.0, 200, 200)])
def test_captions_are_dropped_for_the_empty_one(
    files: dict[str, str], dropout: float, low: int, high: int
) -> None:
    task = make_task(files, text_dropout=dropout)
    task.network = Spy()
    task.training_step(batch(200), 0)
    empty = load_shapes(**files, device="cpu").encode_text([""]).tensors["context"]
    same = (task.network.context - empty).abs().amax(dim=(1, 2)) < 1e-5
    assert low <= int(same.sum()) <= high


def test_v_is_predicted_of_the_same_noised_targets(files: dict[str, str]) -> None:
    task, data = make_task(files, text_dropout=0.0, schedule=SHAPES_SCHEDULE), batch()
    task.network = Spy()
    loss = task.training_step(data, 0)
    spy, clean = task.network, data["targets"].float()
    abar = SHAPES_SCHEDULE.alphas()[spy.timesteps].float().view(-1, 1, 1, 1, 1)
    noise = (spy.noised - abar.sqrt() * clean) / (1 - abar).sqrt()
    wanted = abar.sqrt() * noise - (1 - abar).sqrt() * clean
    assert loss.item() == pytest.approx(wanted.square().mean().item(), rel=1e-3)
    assert [int(t) for t in (spy.timesteps / 1000).sqrt() * 4] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["scvideo", "npnet"])
def test_the_shipped_experiments_train_what_the_backbone_samples(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"+experiment=shapes/{name}"])
    assert instantiate(config.task.schedule) == SHAPES_SCHEDULE


def test_only_the_chosen_subset_is_trained(files: dict[str, str]) -> None:
    task = make_task(files, subset="scvideo")
    before = {name: value.clone() for name, value in task.state_dict().items()}
    optimizer = torch.optim.AdamW(task.trained_parameters(), lr=1e-2)
    task.training_step(batch(), 0).backward()
    optimizer.step()
    moved = {name for name, value in task.state_dict().items() if not torch.equal(value, before[name])}
    assert "network.mid_block.temp_convs.0.weight" in moved
    assert any("attn1" in name for name in moved)
    assert all(any(part in name for part in ("temp", "attn1", "attn2")) for name in moved)


@pytest.mark.parametrize("subset", ["tuneavideo", "retrained"])
def test_tune_a_video_trains_as_published_or_as_in_the_paper(
    files: dict[str, str], tmp_path: Path, subset: str
) -> None:
    torch.manual_seed(0)
    network = TuneAVideoUNet(**load_unet(files["unet"]).config, temporal_convs=subset == "retrained")
    task = make_task(files, network, subset=subset)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(task.trained_parameters(), lr=3e-3)
    losses = []
    for _ in range(10):  # the same noises again and again
        optimizer.zero_grad()
        losses.append(task.training_step(batch(), 0))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    trained = {id(parameter) for parameter in network.trainable_parameters(subset)}
    assert moved == {name for name, parameter in network.named_parameters() if id(parameter) in trained}
    task.export(tmp_path / "trained.safetensors")
    stored = rebuild(TuneAVideoUNet, tmp_path / "trained.safetensors")
    assert stored.config["temporal_convs"] == (subset == "retrained")


def test_it_learns(files: dict[str, str]) -> None:
    task, data = make_task(files), batch()
    optimizer = torch.optim.AdamW(task.trained_parameters(), lr=3e-3)
    losses = []
    for _ in range(25):  # the same noises again and again
        optimizer.zero_grad()
        losses.append(task.training_step(data, 0))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("settings", [{"text_dropout": 1.5}, {"text_dropout": -0.1}])
def test_bad_settings(files: dict[str, str], settings: dict[str, float]) -> None:
    with pytest.raises(PosError, match=next(iter(settings))):
        make_task(files, **settings)


def run(folder: Path, files: dict[str, str], experiment: str, *overrides: str) -> dict[str, float]:
    common = [
        f"+experiment=shapes/{experiment}", "trainer=cpu", "max_minutes=null", "max_steps=3", "workers=0",
        "ema.every=1",
        "data.clips=4", "data.validation=2", "data.batch_size=2", "trainer.val_check_interval=2",
        "task.compiled=false", "task.optimization.warmup=1", f"data.cache={folder}/cache",
        f"task.clip={files['clip']}", f"out={folder}/runs", f"export={folder}/{experiment}.safetensors",
        "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return train(compose("train", [*common, *overrides]))


def test_the_experiments_of_scvideo_and_npnet_run_end_to_end(files: dict[str, str], tmp_path: Path) -> None:
    judge = tmp_path / "judge.safetensors"
    heads = {name: len(values) for name, values in ATTRIBUTES.items()}
    widths = {"widths": [8, 8, 8], "dim": 32, "grid": 4, "feature_dim": 8}
    save_classifier(build_classifier({"kind": "video", "heads": heads, **widths, "layers": 1}), judge)
    small = [
        "task.network.in_channels=4", "task.network.block_out_channels=[8,16]", "task.network.heads=[2,2]",
        "task.network.groups=4", "task.network.cross_attention_dim=12",
    ]  # fmt: skip
    metrics = run(
        tmp_path, files, "scvideo", *small, f"data.targets.autoencoder={files['autoencoder']}",
        f"task.accuracy.autoencoder={files['autoencoder']}", f"task.accuracy.judge={judge}",
        "task.accuracy.prompts=2", "task.accuracy.steps=2",
    )  # fmt: skip
    assert 0.1 < metrics["prediction MSE"] < 1.5
    assert 0 <= metrics["accuracy with detailed prompts"] <= 1
    trained = tmp_path / "scvideo.safetensors"
    assert "accuracy, motion" in trained.with_suffix(".md").read_text()

    backbone = "data.targets.backbone"
    run(
        tmp_path, files, "npnet", f"task.network.path={trained}", "data.targets.steps=2",
        f"{backbone}.precision=fp32", f"{backbone}.acceleration=none", f"+{backbone}.clip={files['clip']}",
        f"+{backbone}.autoencoder={files['autoencoder']}",
    )  # fmt: skip
    start, end = load_unet(trained), load_unet(tmp_path / "npnet.safetensors")
    assert end.config == start.config
    moved = [not torch.equal(a, b) for a, b in zip(start.parameters(), end.parameters(), strict=True)]
    assert all(moved)
    distance = sum((a - b).square().sum() for a, b in zip(start.parameters(), end.parameters(), strict=True))
    assert distance < 0.05 * sum(a.square().sum() for a in start.parameters())  # it started from there
