"""Our backbone behind the same three calls as diffusers' pipelines, and its random weights and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pos.backbones.base import Conditioning, Defaults
from pos.backbones.latent import LatentDiffusion
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.levels import Level, ddim_levels
from pos.networks.acceleration import Acceleration
from pos.profiling.subjects import Subject
from pos.storage import content_hash


def randomize(network: nn.Module, generator: torch.Generator) -> None:
    """Weights under which signals keep their size: what starts at zero would hide errors."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.normal_(0.0 if name.endswith("bias") else 1.0, 0.1, generator=generator)


class RandomText:
    """Texts to random embeddings, a function of the text alone."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        self.shapes, self.place = shapes, (torch.device("cpu"), torch.float32)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.place = (device, dtype)

    def __call__(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        return {
            name: torch.stack([_embedding(name, prompt, shape) for prompt in prompts]).to(*self.place)
            for name, shape in self.shapes.items()
        }


def _embedding(name: str, prompt: str, shape: Sequence[int]) -> Tensor:
    seed = int(content_hash(name, prompt), 16) % 2**63
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Ours:
    """A backbone of this package.

    Args:
        network, autoencoder: moved and cast; give copies where they are needed again.
    """

    def __init__(
        self,
        subject: Subject,
        network: nn.Module,
        autoencoder: nn.Module,
        device: torch.device,
        precision: str,
        acceleration: Acceleration,
    ) -> None:
        size = {"frames": subject.frames, "height": subject.height, "width": subject.width}
        self.backbone = LatentDiffusion(
            network,
            autoencoder,
            RandomText(subject.text_shapes()),
            name=subject.name,
            defaults=Defaults(**size, steps=50, guidance=subject.guidance, fps=8),
            fingerprint="random",
            levels=partial(ddim_levels),
            unit=1,
            device=device,
            precision=precision,
            acceleration=acceleration,
        )

    def forward(self, latents: Tensor, timestep: float, text: dict[str, Tensor]) -> Tensor:
        return self.backbone.predict(latents, Level(timestep, 1.0, 1.0), Conditioning(text))

    def sample(
        self, latents: Tensor, text: dict[str, Tensor], empty: dict[str, Tensor], steps: int, guidance: float
    ) -> Tensor:
        prompt = Conditioning(text)
        guided = Guided(self.backbone.predict, lambda _: prompt, Conditioning(empty), guidance)
        return sample(guided, latents, self.backbone.levels(steps))

    def decode(self, latents: Tensor) -> Tensor:
        return self.backbone.decode(latents)
