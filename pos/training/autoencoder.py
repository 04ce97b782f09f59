"""Training of the KL autoencoder, and the accuracy of attributes after a round trip through it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from pos.networks.autoencoder import build_autoencoder, save_autoencoder, to_pixels, to_unit_range
from pos.networks.shapes.classifiers import FrameClassifier, load_classifier
from pos.networks.weights import load_weights, read_config
from pos.storage import asset
from pos.training.classifier import target
from pos.training.data import sample_frames
from pos.training.task import Optimization, Task

log = logging.getLogger(__name__)

_MOVING = 0.15  # difference from the mean of a clip's drawn frames, of the range -1..1, that counts as motion


class AutoencoderTask(Task):
    """L1 + squared error + L1 of image gradients + a little KL, on single frames.

    Without a discriminator or a perceptual network edges are what blurs first; the gradient term holds them.
    What moves is small beside the background and is all that tells the shape, so pixels that differ from the
    mean of the clip's drawn frames weigh more.

    Args:
        autoencoder: arguments of ``build_autoencoder``; ``scaling_factor`` is measured in every validation.
        optimization: optimiser and schedule.
        seed: of frames and posterior samples.
        frames: frames drawn from each clip.
        edges: weight of the gradient term.
        moving: additional weight of pixels that move.
        kl: weight of the KL divergence to the unit Gaussian, per latent element.
        judge: shipped weights (below ``pos/assets``) of the classifier that measures attributes through the
            autoencoder; skipped with a warning while they are missing.
    """

    network: AutoencoderKL

    def __init__(
        self,
        autoencoder: Mapping[str, Any],
        optimization: Optimization,
        seed: int,
        frames: int = 4,
        edges: float = 1.0,
        moving: float = 2.0,
        kl: float = 1e-4,
        judge: str = "shapes/judge.safetensors",
    ) -> None:
        super().__init__(build_autoencoder(autoencoder), optimization)
        self.seed, self.frames = seed, frames
        self.edges, self.moving, self.kl, self.judge = edges, moving, kl, asset(judge)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        generator = self.generator(self.seed)
        clips = to_unit_range(sample_frames(batch["videos"], self.frames, generator))
        posterior = self.network.encode(clips.flatten(0, 1)).latent_dist
        latents = posterior.mean + posterior.std * _normal_like(posterior.mean, generator)
        error = self.network.decode(latents).sample.float().view_as(clips) - clips
        motion = (clips - clips.mean(1, keepdim=True)).abs().amax(2, keepdim=True) > _MOVING
        weight = 1 + self.moving * motion
        pixels = (weight * (error.abs() + error.square())).mean()
        vertical = (weight[..., 1:, :] * error.diff(dim=-2).abs()).mean()
        edges = vertical + (weight[..., 1:] * error.diff(dim=-1).abs()).mean()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        loss = pixels + self.edges * edges + self.kl * divergence
        self.log_dict({"loss": loss, "pixels": pixels, "edges": edges, "kl": divergence}, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        judge = load_classifier(self.judge).to(self.device) if self.judge.is_file() else None
        if judge is None:
            log.warning("No judge at %s: attributes through the autoencoder are not measured.", self.judge)
        self._reconstruction = Reconstruction(judge)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:  # noqa: ARG002
        self._reconstruction.update(self.network, batch["videos"], batch["attributes"])

    def on_validation_epoch_end(self) -> None:
        metrics = self._reconstruction.metrics()
        self.network.register_to_config(scaling_factor=1 / metrics["latent std"])
        self.log_dict(metrics)

    def export(self, path: Path) -> None:
        save_autoencoder(self.network, path)

    def load(self, path: Path) -> None:
        load_weights(self.network, path)
        self.network.register_to_config(scaling_factor=read_config(path)["scaling_factor"])


class Reconstruction:
    """A tally of what an autoencoder does to clips: PSNR, latent scale and, with a judge, attribute accuracy.

    Args:
        judge: a video classifier with attribute heads, on the clips' device; None measures no attributes.
    """

    def __init__(self, judge: FrameClassifier | None) -> None:
        self.judge = judge
        self._psnr: list[Tensor] = []
        self._moments: list[Tensor] = []  # number, sum and sum of squares of the latents
        self._hits: list[Tensor] = []  # (b, heads, 2): right without and through the autoencoder

    def update(self, autoencoder: AutoencoderKL, videos: Tensor, attributes: Tensor) -> None:
        """Count a batch of clips uint8 (b, f, 3, h, w) with their attributes (b, 6)."""
        latents = autoencoder.encode(to_unit_range(videos.flatten(0, 1))).latent_dist.mean
        through = to_pixels(autoencoder.decode(latents).sample).view_as(videos)
        wide = latents.double()
        moments = [torch.ones_like(wide).sum(), wide.sum(), wide.square().sum()]
        self._moments.append(torch.stack(moments).cpu())
        mse = (through.float() - videos.float()).square().mean((1, 2, 3, 4)).clamp_min(1e-3)
        self._psnr.append(10 * torch.log10(255**2 / mse).cpu())
        if self.judge is not None:
            self._hits.append(
                torch.stack([self._right(clips, attributes) for clips in (videos, through)], -1)
            )

    def _right(self, videos: Tensor, attributes: Tensor) -> Tensor:
        hits = [logits.argmax(-1) == target(head, attributes) for head, logits in self.judge(videos).items()]
        return torch.stack(hits, 1).cpu()

    @property
    def std(self) -> float:
        """Standard deviation of the posterior means, unscaled."""
        count, total, squares = torch.stack(self._moments).sum(0).tolist()
        return (squares / count - (total / count) ** 2) ** 0.5

    def metrics(self) -> dict[str, float]:
        """PSNR (dB), latent deviation and, per attribute, accuracy without and through, and their ratio."""
        psnr = torch.cat(self._psnr).mean().item()
        result = {"PSNR (dB)": psnr, "latent std": self.std}
        if self.judge is not None:
            rates = torch.cat(self._hits).double().mean(0).tolist()
            for head, (without, through) in zip(self.judge.heads, rates, strict=True):
                result[f"{head} accuracy, real clips"] = without
                result[f"{head} accuracy, through the autoencoder"] = through
                result[f"{head} ratio"] = through / max(without, 1e-9)
        return result


def _normal_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=torch.float32)
