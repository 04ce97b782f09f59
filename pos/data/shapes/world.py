"""What there is in the Shapes world, drawn from seeds and rendered from signed distances.

A clip shows one object in one motion over a coloured, patterned background. Six attributes describe it;
everything else (place, phase, exact radius and tone, phase and scale of the pattern) is continuous jitter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "star", "ring", "cross"),
    "colour": ("red", "green", "blue", "yellow", "cyan", "purple", "pink", "white"),
    "size": ("small", "medium", "large"),
    "motion": (
        "left", "right", "up", "down", "clockwise", "counterclockwise",
        "bouncing", "swaying", "growing", "shrinking",
    ),
    "background": ("black", "grey", "brown", "navy", "sand"),
    "texture": ("plain", "striped", "dotted", "checkered"),
}  # fmt: skip
FRAMES, SIZE = 16, 64

_COLOURS = (
    (222, 30, 38), (38, 190, 62), (50, 95, 250), (248, 222, 40), (25, 212, 225),
    (160, 55, 215), (255, 110, 185), (248, 248, 248),
)  # fmt: skip
_BACKGROUNDS = ((14, 14, 17), (108, 108, 112), (90, 52, 26), (14, 22, 92), (206, 186, 142))
_PATTERNS = (
    (66, 66, 71),
    (152, 152, 157),
    (138, 94, 58),
    (46, 58, 134),
    (162, 142, 100),
)  # the background's second tone
_RADII = (7.8, 11.4, 16.2)  # of the class, in pixels of a 64-pixel frame
_GROWTH = {"growing": (0.97, 1.5), "shrinking": (1.5, 0.97)}  # first and last radius, in class radii
_REACH = 1.15  # no shape extends further than this many radii along an axis


class _Jitter(NamedTuple):
    """What the attributes leave open, each (n,) in [0, 1)."""

    x: Tensor
    y: Tensor
    radius: Tensor
    tilt: Tensor
    phase: Tensor
    extent: Tensor
    red: Tensor
    green: Tensor
    blue: Tensor
    shade: Tensor
    u: Tensor
    v: Tensor
    period: Tensor
    angle: Tensor


@dataclass(frozen=True, eq=False)
class Scenes:
    """A batch of n clips before they are rendered.

    Attributes:
        attributes: int64 (n, 6), indices into the values of ``ATTRIBUTES`` in the order of its keys.
        jitter: float32 (n, 14) in [0, 1), what the attributes leave open.
    """

    attributes: Tensor
    jitter: Tensor

    def __len__(self) -> int:
        return len(self.attributes)

    def __getitem__(self, rows: int | slice | Sequence[int] | Tensor) -> Scenes:
        """Some of the scenes; a single index gives a batch of one."""
        rows = [rows] if isinstance(rows, int) else rows
        return Scenes(self.attributes[rows], self.jitter[rows])

    def to(self, device: torch.device | str) -> Scenes:
        return Scenes(self.attributes.to(device), self.jitter.to(device))

    @staticmethod
    def cat(parts: Sequence[Scenes]) -> Scenes:
        return Scenes(torch.cat([p.attributes for p in parts]), torch.cat([p.jitter for p in parts]))


def draw_scenes(seeds: Sequence[int] | np.ndarray) -> Scenes:
    """One scene per seed, each a function of its own seed alone: attributes and jitter uniform.

    Args:
        seeds: integers in [0, 2^64).
    """
    keys = mix64(np.asarray(seeds, dtype=np.uint64))
    columns = len(ATTRIBUTES) + len(_Jitter._fields)
    with np.errstate(over="ignore"):
        counters = keys[:, None] + np.arange(1, columns + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    uniform = (mix64(counters) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)  # exact: 24 bits
    sizes = np.array([len(values) for values in ATTRIBUTES.values()], dtype=np.float32)
    attributes = np.floor(uniform[:, : len(sizes)] * sizes).astype(np.int64)
    return Scenes(torch.from_numpy(attributes), torch.from_numpy(uniform[:, len(sizes) :].copy()))


def mix64(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: uint64 to well-mixed uint64, elementwise and one to one."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def render(scenes: Scenes, frames: int = FRAMES, size: int = SIZE, chunk: int = 32) -> Tensor:
    """The clips of scenes, uint8 (n, frames, 3, size, size), on the scenes' device.

    Args:
        scenes: what to render.
        frames: frames of the clip; the motion always takes the whole clip.
        size: side of the square frame in pixels.
        chunk: scenes rendered at a time, which bounds the memory.
    """
    device = scenes.jitter.device
    clips = torch.empty(len(scenes), frames, 3, size, size, dtype=torch.uint8, device=device)
    shapes = scenes.attributes[:, 0]
    for index, distance in enumerate(_SHAPES):
        for rows in torch.nonzero(shapes == index)[:, 0].split(chunk):
            clips[rows] = _render_shape(scenes[rows], distance, frames, size)
    return clips


def _render_shape(scenes: Scenes, distance: _Distance, frames: int, size: int) -> Tensor:
    jitter = _Jitter(*scenes.jitter.unbind(1))
    pixel = SIZE / size  # the world is SIZE units wide whatever the resolution
    axis = (torch.arange(size, device=scenes.jitter.device, dtype=torch.float32) + 0.5) * pixel - SIZE / 2
    centre, radius = _trajectory(scenes.attributes, jitter, frames)
    x = axis[None, None, None, :] - centre[..., 0, None, None]
    y = axis[None, None, :, None] - centre[..., 1, None, None]
    tilt = (jitter.tilt - 0.5) * 0.24
    cos, sin = torch.cos(tilt)[:, None, None, None], torch.sin(tilt)[:, None, None, None]
    signed = distance(cos * x + sin * y, cos * y - sin * x, radius[..., None, None])
    alpha = (0.5 - signed / pixel).clamp(0, 1)[:, :, None]
    tone = torch.stack([jitter.red, jitter.green, jitter.blue], dim=1) - 0.5
    colour = _palette(_COLOURS, scenes.attributes[:, 1]) + 20 * tone
    background = _background(scenes.attributes, jitter, axis, pixel)[:, None]
    frame = background + alpha * (colour[:, None, :, None, None] - background)
    return frame.clamp(0, 255).round().to(torch.uint8)


def _palette(colours: Sequence[tuple[int, int, int]], index: Tensor) -> Tensor:
    return torch.tensor(colours, dtype=torch.float32, device=index.device)[index]


def _trajectory(attributes: Tensor, jitter: _Jitter, frames: int) -> tuple[Tensor, Tensor]:
    """Where the object's centre is, (n, f, 2) from the middle with y down, and its radius, (n, f)."""
    motion = attributes[:, 3]
    time = torch.linspace(0, 1, frames, device=motion.device)
    base = torch.tensor(_RADII, device=motion.device)[attributes[:, 2]] * (0.95 + 0.1 * jitter.radius)
    ends = torch.tensor(
        [_GROWTH.get(name, (1.0, 1.0)) for name in ATTRIBUTES["motion"]], device=motion.device
    )
    start, end = ends[motion].unbind(1)
    scale = start[:, None] + (end - start)[:, None] * time
    room = SIZE / 2 - 1 - _REACH * base * torch.maximum(start, end)  # how far the centre may leave the middle
    offsets = torch.stack(_paths(jitter, room, time), dim=1)  # (n, 10, f, 2)
    centre = offsets[torch.arange(len(motion), device=motion.device), motion]
    return centre, base[:, None] * scale


def _paths(jitter: _Jitter, room: Tensor, time: Tensor) -> list[Tensor]:
    """The path of every motion, each (n, f, 2), in the order of ``ATTRIBUTES["motion"]``."""
    room, time = room[:, None], time[None]
    x, y = (2 * jitter.x - 1)[:, None], (2 * jitter.y - 1)[:, None]
    phase, extent = jitter.phase[:, None], (0.8 + 0.2 * jitter.extent)[:, None]
    rest_x, rest_y = (0.7 * room * axis.expand(-1, time.shape[1]) for axis in (x, y))
    sweep = extent * room * (2 * time - 1)
    turn = 2 * math.pi * (phase + 1.25 * time)
    orbit = (extent * room).clamp(max=15)
    swing = (extent * room).clamp(max=16)
    height = (2 * extent * room).clamp(max=30)
    floor = (
        room + (height - 2 * room) * (1 + y) / 2
    )  # anywhere that keeps both ends of the bounce in the frame

    def at(horizontal: Tensor, vertical: Tensor) -> Tensor:
        return torch.stack([horizontal, vertical], dim=-1)

    def around(angle: Tensor) -> Tensor:
        return at(
            (room - orbit) * x + orbit * torch.cos(angle), (room - orbit) * y + orbit * torch.sin(angle)
        )

    return [
        at(-sweep, rest_y),
        at(sweep, rest_y),
        at(rest_x, -sweep),
        at(rest_x, sweep),
        around(turn),
        around(-turn),
        at(rest_x, floor - height * torch.sin(math.pi * (phase + 2.5 * time)).abs()),
        at((room - swing) * x + swing * torch.sin(2 * math.pi * (phase + 1.5 * time)), rest_y),
        at(rest_x, rest_y),
        at(rest_x, rest_y),
    ]


def _background(attributes: Tensor, jitter: _Jitter, axis: Tensor, pixel: float) -> Tensor:
    """The static background, float (n, 3, size, size)."""
    shade = (12 * (jitter.shade - 0.5))[:, None, None, None]
    base = _palette(_BACKGROUNDS, attributes[:, 4])[:, :, None, None]
    pattern = _palette(_PATTERNS, attributes[:, 4])[:, :, None, None]
    return base + shade + _coverage(attributes[:, 5], jitter, axis, pixel)[:, None] * (pattern - base)


def _coverage(texture: Tensor, jitter: _Jitter, axis: Tensor, pixel: float) -> Tensor:
    """How much of each pixel the pattern's second tone covers, (n, size, size)."""
    u, v, stretch, angle = (
        column[:, None, None] for column in (jitter.u, jitter.v, jitter.period, jitter.angle)
    )
    x, y = axis[None, None, :], axis[None, :, None]

    def band(along: Tensor, period: Tensor, phase: Tensor) -> Tensor:
        """Every other half period, with antialiased edges."""
        return (0.5 + ((torch.frac(along / period + phase + 32) - 0.5).abs() - 0.25) * period / pixel).clamp(
            0, 1
        )

    direction = math.radians(30) + math.radians(30) * angle
    stripes = band(x * torch.cos(direction) + y * torch.sin(direction), 9 + 3 * stretch, u)
    lattice = 11 + 3 * stretch
    dots_x = (torch.frac(x / lattice + u + 32) - 0.5) * lattice
    dots_y = (torch.frac(y / lattice + v + 32) - 0.5) * lattice
    dots = (0.5 - (torch.sqrt(dots_x**2 + dots_y**2) - 0.28 * lattice) / pixel).clamp(0, 1)
    column, row = band(x, 15 + 5 * stretch, u), band(y, 15 + 5 * stretch, v)
    checks = column * (1 - row) + row * (1 - column)
    patterns = torch.stack([torch.zeros_like(stripes), stripes, dots, checks], dim=1)
    return patterns[torch.arange(len(texture), device=texture.device), texture]


# Signed distances, negative inside, of points (x, y) in the object's own frame with y down and radius r.
def _circle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.sqrt(x * x + y * y) - 0.98 * r


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.86 * r


def _triangle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    y = y - 0.2 * r  # the centroid sits low, so that the triangle's box is centred
    return torch.maximum(y, math.sqrt(3) / 2 * x.abs() - 0.5 * y) - 0.6 * r


def _star(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    tenth = math.pi / 5
    length, angle = torch.sqrt(x * x + y * y), torch.atan2(x, -y)
    angle = torch.remainder(angle + tenth, 2 * tenth) - tenth  # five-fold symmetry, one point along the axis
    outer, inner = 1.15, 0.54
    edge_x, edge_y = inner * math.cos(tenth) - outer, inner * math.sin(tenth)
    norm = math.hypot(edge_x, edge_y)
    return (
        (length * torch.cos(angle) - outer * r) * edge_y - length * torch.sin(angle).abs() * edge_x
    ) / norm


def _ring(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (torch.sqrt(x * x + y * y) - 0.77 * r).abs() - 0.25 * r


def _cross(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    x, y = x.abs(), y.abs()
    return torch.maximum(torch.minimum(x, y) - 0.35 * r, torch.maximum(x, y) - 1.05 * r)


_Distance = type(_circle)
_SHAPES = (_circle, _square, _triangle, _star, _ring, _cross)
