"""Dots of several kinds over two axes, as SVG in the style of the curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from pos.reporting.charts.curves import round_ticks

WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 54, 46
_KINDS = 4
"""Colours of the kinds of dots, in order."""

_STYLE = """
svg.dots { color: var(--ink, #222); background: var(--page, #fff); font: 12px system-ui, sans-serif }
svg.dots text:not([class^=k]) { fill: currentColor }
svg.dots .title { font-weight: 600; font-size: 13px }
svg.dots .soft { opacity: .7 }
svg.dots .grid { stroke: currentColor; opacity: .14 }
svg.dots .level { stroke: currentColor; opacity: .55; stroke-dasharray: 4 4 }
svg.dots circle { fill-opacity: .55 }
svg.dots .k0 { fill: var(--accent, #0b6e99) } svg.dots .k1 { fill: #c4662b }
svg.dots .k2 { fill: #7a8b2d } svg.dots .k3 { fill: #8d5aa8 }
"""

Pair = tuple[float, float]


def dots(
    title: str,
    kinds: Mapping[str, Sequence[Pair]],
    across: str,
    up: str,
    level: tuple[str, float] | None = None,
) -> str:
    """One SVG element.

    Args:
        title: above it.
        kinds: (across, up) of every dot by its kind, at least one dot in all; a kind has a colour.
        across, up: titles of the axes.
        level: a dashed line at a value of ``up``, with its label.
    """
    pairs = [pair for some in kinds.values() for pair in some]
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs] + ([level[1]] if level else [])
    across_ticks, up_ticks = round_ticks(min(xs), max(xs)), round_ticks(min(ys), max(ys))
    place_x = _scale(across_ticks, _LEFT + 8, WIDTH - _RIGHT - 8)
    place_y = _scale(up_ticks, HEIGHT - _BOTTOM - 6, _TOP + 6)
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts = [_text(_LEFT, 18, title, "title", "start"), _text(middle, HEIGHT - 8, across, "")]
    parts.append(_text(_LEFT, _TOP - 8, f"↑ {up}", "soft", "start"))
    for tick in up_ticks:
        parts.append(_line("grid", place_y(tick)))
        parts.append(_text(_LEFT - 8, place_y(tick) + 4, f"{tick:g}", "soft", "end"))
    parts += [_text(place_x(tick), HEIGHT - _BOTTOM + 16, f"{tick:g}", "soft") for tick in across_ticks]
    if level:
        parts.append(_line("level", place_y(level[1])))
        parts.append(_text(WIDTH - _RIGHT, place_y(level[1]) - 5, level[0], "soft", "end"))
    for number, (kind, some) in enumerate(kinds.items()):
        colour = f"k{number % _KINDS}"
        parts.append(_text(WIDTH - _RIGHT, 18 + 14 * number, f"● {kind}", colour, "end"))
        parts += [
            f'<circle class="{colour}" cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3"/>' for x, y in some
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dots" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><style>{_STYLE}</style>{"".join(parts)}</svg>'
    )


def _scale(ticks: Sequence[float], first: float, last: float) -> Callable[[float], float]:
    return lambda value: first + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (last - first)


def _line(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
