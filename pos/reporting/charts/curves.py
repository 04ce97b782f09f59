"""Curves as SVG, for a page of either colour scheme or a file of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pos.reporting.cells import Column

WIDTH, HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 34, 48

# Colours come from the page where it has them (a report), else from the fallbacks (a file of its own).
_STYLE = """
svg.curve { color: var(--ink, #222); font: 12px system-ui, sans-serif }
svg.curve text { fill: currentColor }
svg.curve .title { font-weight: 600; font-size: 13px }
svg.curve .soft { opacity: .7 }
svg.curve .grid { stroke: currentColor; opacity: .14 }
svg.curve .base { stroke: currentColor; opacity: .45; stroke-dasharray: 4 4 }
svg.curve .line { stroke: var(--accent, #0b6e99); fill: none; stroke-width: 2; stroke-linejoin: round }
svg.curve .bar { stroke: var(--accent, #0b6e99); opacity: .4; stroke-width: 2 }
svg.curve .dot { fill: var(--accent, #0b6e99) }
svg.curve .best { fill: var(--page, #fff); stroke: var(--accent, #0b6e99); stroke-width: 2.5 }
"""


@dataclass(frozen=True)
class Point:
    """A measured point.

    Attributes:
        label: of the tick below it.
        position: along the axis, 0 to 1.
        value, low, high: with its 95% interval, or None.
    """

    label: str
    position: float
    value: float
    low: float | None = None
    high: float | None = None


def eta_position(eta: float) -> float:
    """The guided noise's weight in Eq. 4, eta / sqrt(1 + eta^2): eta's place on an axis, infinity at 1."""
    return 1.0 if math.isinf(eta) else eta / math.hypot(1, eta)


def eta_label(eta: float) -> str:
    return "∞" if math.isinf(eta) else f"{eta:g}"


def sweep_points(results: dict[str, Any], parameter: str, metric: str) -> list[Point]:
    """The points of a sweep's results over ``method.eta`` or ``method.gamma``, from left to right."""
    points = []
    for row in results["rows"].values():
        number, entry = float(row["method"][parameter]), row["metrics"].get(metric)
        if entry and entry["value"] is not None:
            place = eta_position(number) if parameter == "eta" else number
            points.append(Point(eta_label(number), place, entry["value"], entry["low"], entry["high"]))
    return sorted(points, key=lambda point: point.position)


def curve(points: Sequence[Point], column: Column, axis: str) -> str:
    """A curve as one SVG element: points with intervals, the first one's level dashed, the best one ringed.

    Args:
        points: at least two, from left to right; the first is the baseline.
        column: of the values; it has the direction.
        axis: title of the horizontal axis.
    """
    bounds = [
        bound for point in points for bound in (point.value, point.low, point.high) if bound is not None
    ]
    ticks = round_ticks(min(bounds), max(bounds))
    left, right, middle = _LEFT, WIDTH - _RIGHT, (_LEFT + WIDTH - _RIGHT) / 2

    def x(point: Point) -> float:
        return left + 10 + point.position * (right - left - 20)

    def y(number: float) -> float:
        return HEIGHT - _BOTTOM - (number - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT - _TOP - _BOTTOM)

    parts = [_text(left, 18, column.heading, "title", "start"), _text(middle, HEIGHT - 8, axis, "")]
    for tick in ticks:
        parts.append(_line("grid", left, right, y(tick), y(tick)))
        parts.append(_text(left - 8, y(tick) + 4, f"{tick:g}", "soft", "end"))
    parts.append(_line("base", left, right, y(points[0].value), y(points[0].value)))
    for point in points:
        parts.append(_text(x(point), HEIGHT - 28, point.label, "soft"))
        if point.low is not None and point.high is not None:
            parts.append(_line("bar", x(point), x(point), y(point.low), y(point.high)))
    path = " ".join(f"{x(point):.1f},{y(point.value):.1f}" for point in points)
    parts.append(f'<polyline class="line" points="{path}"/>')
    best = (min if column.better == "lower" else max)(points, key=lambda point: point.value)
    for point in points:
        text = f"{point.label}: {point.value:.{column.digits}f}"
        parts.append(_dot(x(point), y(point.value), text, ringed=point is best))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{column.label} over {axis}")}"><style>{_STYLE}</style>{"".join(parts)}</svg>'
    )


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, text: str, ringed: bool) -> str:
    kind, radius = ("best", 5) if ringed else ("dot", 3.5)
    place = f'class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"'
    return f"<circle {place}><title>{escape(text)}</title></circle>"


def round_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that span the values."""
    span = (high - low) or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]
