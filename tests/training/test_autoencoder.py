"""What is measured of an autoencoder, against known answers, and that training lowers the loss."""

from types import SimpleNamespace

import pytest
import torch

from pos.networks.autoencoder import to_unit_range
from pos.networks.shapes.classifiers import VideoClassifier
from pos.training.autoencoder import AutoencoderTask, Reconstruction
from pos.training.task import Optimization

TINY = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 8],
    "latent_channels": 4,
    "norm_num_groups": 4,
}


class Shift:
    """An autoencoder whose latents are its frames and whose output is some grey levels brighter."""

    def __init__(self, levels: float) -> None:
        self.levels = levels

    def encode(self, frames: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=frames))

    def decode(self, latents: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=latents + self.levels / 127.5)


@pytest.fixture
def videos() -> torch.Tensor:
    return torch.randint(
        0, 200, (4, 4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_psnr_and_scale_have_their_closed_forms(videos):
    tally = Reconstruction(judge=None)
    attributes = torch.zeros(4, 6, dtype=torch.int64)
    for half in (slice(0, 1), slice(1, 4)):  # unequal batches count by their size
        tally.update(Shift(10), videos[half], attributes[half])
    frames = videos.double() / 127.5 - 1
    assert tally.metrics()["latent std"] == pytest.approx(frames.std(correction=0).item(), rel=1e-6)
    assert tally.metrics()["PSNR (dB)"] == pytest.approx(
        20 * torch.log10(torch.tensor(25.5)).item(), rel=1e-5
    )


def test_the_scaling_factor_gives_the_latents_their_deviation(videos):
    settings = Optimization(learning_rate=1.0)
    task = AutoencoderTask(TINY, settings, seed=0, judge="shapes/none.safetensors")
    task.log_dict = lambda *_: None
    batch = {"videos": videos[:2, :2, :, :16, :16], "attributes": torch.zeros(2, 6, dtype=torch.int64)}
    with torch.no_grad():
        task.on_validation_epoch_start()
        task.validation_step(batch, 0)
        task.on_validation_epoch_end()
        latents = task.network.encode(to_unit_range(batch["videos"].flatten(0, 1))).latent_dist.mean
    scaled = task.network.config.scaling_factor * latents
    assert scaled.std(correction=0).item() == pytest.approx(1.0, rel=1e-4)


def test_attributes_are_compared_with_and_without(videos):
    torch.manual_seed(0)
    judge = (
        VideoClassifier({"shape": 6, "motion": 10}, [8, 8, 8], 32, 4, layers=1).eval().requires_grad_(False)
    )
    attributes = torch.zeros(4, 6, dtype=torch.int64)
    said = judge(videos)
    attributes[:, 0], attributes[:, 3] = said["shape"].argmax(-1), (said["motion"].argmax(-1) + 1) % 10
    tally = Reconstruction(judge)
    tally.update(Shift(0), videos, attributes)
    result = tally.metrics()
    assert result["shape accuracy, real clips"] == result["shape accuracy, through the autoencoder"] == 1
    assert result["shape ratio"] == 1
    assert result["motion accuracy, real clips"] == 0


def test_training_lowers_the_loss_and_the_scale_goes_into_the_file(videos, tmp_path):
    torch.manual_seed(0)
    task = AutoencoderTask(
        TINY, Optimization(learning_rate=1e-2), seed=0, frames=2, judge="shapes/none.safetensors"
    )
    task.log_dict = lambda *_, **__: None
    task.generator = lambda seed: torch.Generator().manual_seed(seed)
    batch = {"videos": videos[:2, :2, :, :16, :16], "attributes": torch.zeros(2, 6, dtype=torch.int64)}
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = task.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    with torch.no_grad():
        task.on_validation_epoch_start()
        task.validation_step(batch, 0)
        task.on_validation_epoch_end()
    task.export(tmp_path / "a.safetensors")
    fresh = AutoencoderTask(TINY, Optimization(learning_rate=1.0), seed=1)
    assert fresh.network.config.scaling_factor != task.network.config.scaling_factor
    fresh.load(tmp_path / "a.safetensors")
    assert fresh.network.config.scaling_factor == task.network.config.scaling_factor
