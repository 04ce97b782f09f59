"""The KL autoencoder of latent diffusion (Rombach et al. 2022), as our own weight files hold it.

The numbers, the names of the weights and what ``encode`` and ``decode`` return are those of diffusers'
``AutoencoderKL``, which trains it and reads published folders. Ours is loaded for Shapes and VideoCrafter,
because importing diffusers' takes several times as long as importing torch, in every command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6  # of every group norm


@dataclass(frozen=True)
class Posterior:
    """The Gaussian that an image is encoded to; ``mean`` and ``logvar`` are (b, c, h, w)."""

    mean: Tensor
    logvar: Tensor


@dataclass(frozen=True)
class Encoded:
    """What ``encode`` returns."""

    latent_dist: Posterior


@dataclass(frozen=True)
class Decoded:
    """What ``decode`` returns: images (b, 3, height, width)."""

    sample: Tensor


class KLAutoencoder(nn.Module):
    """Images (b, 3, height, width) in -1..1 to latents (b, c, h, w), and back.

    Args:
        block_out_channels: widths of the levels, the image's first; each but the last halves the sides.
        latent_channels: c.
        norm_num_groups: groups of every norm.
        layers_per_block: residual blocks of a level of the encoder; the decoder's have one more.
        scaling_factor: what latents are multiplied with outside, kept in ``config``.
    """

    def __init__(
        self,
        block_out_channels: Sequence[int],
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        layers_per_block: int = 1,
        scaling_factor: float = 0.18215,
    ) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            block_out_channels=list(block_out_channels),
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            layers_per_block=layers_per_block,
            scaling_factor=scaling_factor,
        )
        sizes = list(block_out_channels), norm_num_groups, layers_per_block
        self.encoder = _Encoder(2 * latent_channels, *sizes)
        self.decoder = _Decoder(latent_channels, *sizes)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    def encode(self, images: Tensor) -> Encoded:
        mean, logvar = self.quant_conv(self.encoder(images)).chunk(2, dim=1)
        return Encoded(Posterior(mean, logvar))

    def decode(self, latents: Tensor) -> Decoded:
        return Decoded(self.decoder(self.post_quant_conv(latents)))


class _Encoder(nn.Module):
    def __init__(self, channels: int, widths: list[int], groups: int, layers: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        levels = [*pairwise([widths[0], *widths])]
        self.down_blocks = nn.ModuleList(
            _Level(before, width, layers, groups, down=i < len(widths) - 1)
            for i, (before, width) in enumerate(levels)
        )
        self.mid_block = _Middle(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv_in(images)
        for level in self.down_blocks:
            maps = level(maps)
        return self.conv_out(functional.silu(self.conv_norm_out(self.mid_block(maps))))


class _Decoder(nn.Module):
    def __init__(self, channels: int, widths: list[int], groups: int, layers: int) -> None:
        super().__init__()
        widths = widths[::-1]
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.up_blocks = nn.ModuleList(
            _Level(before, width, layers + 1, groups, up=i < len(widths) - 1)
            for i, (before, width) in enumerate(pairwise([widths[0], *widths]))
        )
        self.mid_block = _Middle(widths[0], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        maps = self.mid_block(self.conv_in(latents))
        for level in self.up_blocks:
            maps = level(maps)
        return self.conv_out(functional.silu(self.conv_norm_out(maps)))


class _Level(nn.Module):
    """Residual blocks, then one halving or doubling of the sides, or none."""

    def __init__(
        self, before: int, width: int, layers: int, groups: int, *, down: bool = False, up: bool = False
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            _Residual(before if i == 0 else width, width, groups) for i in range(layers)
        )
        if down:
            self.downsamplers = nn.ModuleList([_Down(width)])
        if up:
            self.upsamplers = nn.ModuleList([_Up(width)])

    def forward(self, maps: Tensor) -> Tensor:
        for name in ("resnets", "downsamplers", "upsamplers"):
            for layer in getattr(self, name, ()):
                maps = layer(maps)
        return maps


class _Residual(nn.Module):
    def __init__(self, before: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, before, eps=EPS)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=EPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        if before != width:
            self.conv_shortcut = nn.Conv2d(before, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(maps)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return (self.conv_shortcut(maps) if hasattr(self, "conv_shortcut") else maps) + inner


class _Middle(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Attention(width, groups)])
        self.resnets = nn.ModuleList(_Residual(width, width, groups) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](maps)))


class _Attention(nn.Module):
    """All places attend to all, with one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, maps: Tensor) -> Tensor:
        tokens = self.group_norm(maps.flatten(2)).transpose(1, 2)
        query, key, value = (layer(tokens)[:, None] for layer in (self.to_q, self.to_k, self.to_v))
        attended = functional.scaled_dot_product_attention(query, key, value)[:, 0]
        return self.to_out[0](attended).transpose(1, 2).reshape(maps.shape) + maps


class _Down(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(functional.pad(maps, (0, 1, 0, 1)))  # right and below alone


class _Up(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(functional.interpolate(maps, scale_factor=2.0, mode="nearest"))
