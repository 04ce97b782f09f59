"""The GPU kernels of GroupNorm over channels-last maps, in Triton (which comes with torch's CUDA wheels).

Three launches: sums of every channel over chunks of rows; scale and offset of every channel from the sums of
its group; the scaled maps. Sums are float32 and added in a fixed order: equal inputs give equal outputs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 128  # of the tile of maps that a program works on
TILES = 2  # that a program of the sums works on
SUMS = 2048  # that a program of the groups reads at once: more at once hides the latency of many chunks


@triton.jit
def _sums(
    maps,
    sums,
    rows,
    channels,
    chunks,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
    tiles: tl.constexpr,
):
    """Sum and sum of squares of each channel over one chunk of a map: (n, chunks, 2, channels)."""
    chunk, sample = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * tile_channels + tl.arange(0, tile_channels)
    total, squares = tl.zeros([tile_channels], tl.float32), tl.zeros([tile_channels], tl.float32)
    for tile in tl.static_range(tiles):
        row = (chunk * tiles + tile) * tile_rows + tl.arange(0, tile_rows)
        inside = (row < rows)[:, None] & (channel < channels)[None, :]
        place = sample * rows * channels + row[:, None] * channels + channel[None, :]
        value = tl.load(maps + place, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(value, axis=0)
        squares += tl.sum(value * value, axis=0)
    out = sums + (sample * chunks + chunk) * 2 * channels + channel
    tl.store(out, total, mask=channel < channels)
    tl.store(out + channels, squares, mask=channel < channels)


@triton.jit
def _affine(
    sums, weight, bias, shift, affine, rows, channels, chunks, shared, eps,
    width: tl.constexpr, tile_chunks: tl.constexpr, lanes: tl.constexpr, shifted: tl.constexpr,
):  # fmt: skip
    """What normalises each channel, ``value * scale + offset``: (n, 2, channels); a program is one group."""
    group, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, lanes)
    inside = lane < width
    channel = group * width + lane
    total, squares = tl.zeros([lanes], tl.float32), tl.zeros([lanes], tl.float32)
    for start in range(0, chunks, tile_chunks):
        chunk = start + tl.arange(0, tile_chunks)
        place = (sample * chunks + chunk)[:, None] * 2 * channels + channel[None, :]
        mask = (chunk < chunks)[:, None] & inside[None, :]
        total += tl.sum(tl.load(sums + place, mask=mask, other=0.0), axis=0)
        squares += tl.sum(tl.load(sums + place + channels, mask=mask, other=0.0), axis=0)
    moved = tl.zeros([lanes], tl.float32)
    if shifted:
        moved += tl.load(shift + (sample // shared) * channels + channel, mask=inside, other=0.0)
        squares += moved * (2 * total + rows * moved)
        total += rows * moved
    count = rows * width
    mean = tl.sum(total, axis=0) / count
    variance = tl.maximum(tl.sum(squares, axis=0) / count - mean * mean, 0.0)
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    offset = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) + (moved - mean) * scale
    tl.store(affine + sample * 2 * channels + channel, scale, mask=inside)
    tl.store(affine + (sample * 2 + 1) * channels + channel, offset, mask=inside)


@triton.jit
def _apply(
    maps,
    affine,
    out,
    rows,
    channels,
    silu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    sample = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    channel = tl.program_id(1) * tile_channels + tl.arange(0, tile_channels)
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    place = sample * rows * channels + row[:, None] * channels + channel[None, :]
    scale = tl.load(affine + sample * 2 * channels + channel, mask=channel < channels, other=0.0)
    offset = tl.load(affine + (sample * 2 + 1) * channels + channel, mask=channel < channels, other=0.0)
    value = tl.load(maps + place, mask=inside, other=0.0).to(tl.float32) * scale[None, :] + offset[None, :]
    if silu:
        value = value * tl.sigmoid(value)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


def group_norm(
    maps: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float, silu: bool, shift: Tensor | None
) -> Tensor:
    """``silu(group_norm(maps + shift))`` as :class:`pos.networks.layers.group_norm.GroupNorm` describes it.

    Args:
        maps: (n, c, h, w), half precision; copied where they are not channels-last.
        shift: (m, c), each row for n / m maps in a row.

    Returns:
        (n, c, h, w), channels last, of the maps' dtype.
    """
    maps = maps.contiguous(memory_format=torch.channels_last)
    samples, channels, height, width = maps.shape
    rows, group_width = height * width, channels // groups
    chunks, blocks = triton.cdiv(rows, ROWS * TILES), triton.cdiv(channels, CHANNELS)
    sums = torch.empty(samples, chunks, 2, channels, dtype=torch.float32, device=maps.device)
    affine = torch.empty(samples, 2, channels, dtype=torch.float32, device=maps.device)
    out = torch.empty_like(maps)
    moved = maps if shift is None else shift.contiguous()
    shared = 1 if shift is None else samples // len(shift)
    _sums[(chunks, blocks, samples)](
        maps, sums, rows, channels, chunks, tile_rows=ROWS, tile_channels=CHANNELS, tiles=TILES
    )
    lanes = triton.next_power_of_2(group_width)
    _affine[(groups, samples)](
        sums, weight, bias, moved, affine, rows, channels, chunks, shared, eps,
        width=group_width, tile_chunks=max(SUMS // lanes, 1), lanes=lanes, shifted=shift is not None,
    )  # fmt: skip
    _apply[(triton.cdiv(rows, ROWS), blocks, samples)](
        maps, affine, out, rows, channels, silu=silu, tile_rows=ROWS, tile_channels=CHANNELS
    )
    return out
