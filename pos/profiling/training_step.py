"""What a training step of SCVideo costs: memory and time of the real network on random weights and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from pos.devices import device_name, resolve_device, resolve_precision
from pos.diffusion.levels import add_noise, alphas_cumprod
from pos.errors import PosError
from pos.networks.inflated.trunk import InflatedTrunk
from pos.profiling.measures import GIB, clock, peak_memory

FACTOR = 8  # pixels of a latent's side


@dataclass(frozen=True)
class StepCost:
    """The cost of a training step and the settings that it was measured with.

    Attributes:
        latents: shape (b, c, f, h, w).
        parameters, trained_parameters: of the network, and of its trained subset.
        first_seconds, seconds: of the first step, and of the fastest of the others where there are any.
        peak_memory_gib: held by torch on the GPU, or resident on the CPU.
        loss: eps-MSE of the last step.
    """

    device: str
    precision: str
    subset: str
    latents: tuple[int, ...]
    parameters: int
    trained_parameters: int
    first_seconds: float
    seconds: float
    peak_memory_gib: float
    loss: float


def measure_step(
    network: Callable[[], InflatedTrunk],
    *,
    frames: int,
    height: int,
    width: int,
    tokens: int,
    batch_size: int,
    subset: str,
    steps: int,
    device: str,
    precision: str,
    seed: int,
) -> dict[str, object]:
    """Train a new network for some steps with the paper's AdamW and measure them.

    Args:
        network: makes the network; it is made on the device.
        frames, height, width: of a video, in frames and pixels.
        tokens: of a text.
        batch_size: videos a step.
        subset: ``all`` (NPNet), ``scvideo`` (what the paper trains of SCVideo) or another of the network's.
        steps: how many; the first includes the start of the kernels.
        precision: of autocast, ``bf16`` or ``fp16``; ``fp32`` for none.
        seed: of weights and data.

    Returns:
        ``StepCost`` as a dictionary.

    Raises:
        PosError: no step to measure, or no such device, precision or subset.
    """
    if steps < 1:
        raise PosError(f"steps={steps} is not possible: measure at least 1.")
    place, dtype = resolve_device(device), resolve_precision(precision)
    torch.manual_seed(seed)
    with place:
        unet = network().train()
    trained = unet.requires_grad_(False).trainable_parameters(subset)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=3e-5, weight_decay=1e-2)
    shape = (batch_size, unet.config["in_channels"], frames, height // FACTOR, width // FACTOR)
    context = torch.randn(batch_size, tokens, unet.config["cross_attention_dim"], device=place)
    seconds = []
    for _ in range(steps):
        started = clock(place)
        with torch.autocast(place.type, dtype, enabled=dtype != torch.float32):
            loss = _loss(unet, torch.randn(shape, device=place), context)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(clock(place) - started)
    cost = StepCost(
        device_name(place, 1), precision, subset, shape,
        parameters=sum(parameter.numel() for parameter in unet.parameters()),
        trained_parameters=sum(parameter.numel() for parameter in trained),
        first_seconds=round(seconds[0], 4),
        seconds=round(min(seconds[1:], default=seconds[0]), 4),
        peak_memory_gib=round(peak_memory(place) / GIB, 3),
        loss=loss.item(),
    )  # fmt: skip
    return asdict(cost)


def _loss(unet: nn.Module, latents: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    timesteps = torch.randint(1000, (len(latents),), device=latents.device)
    noise = torch.randn_like(latents)
    predicted = unet(add_noise(latents, noise, timesteps, alphas_cumprod()), timesteps, context)
    return (predicted.float() - noise).square().mean()
