"""A metric over two settings, and two metrics against each other, as SVG in the style of the curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from pos.reporting.cells import Cell, Column, value

CELL_WIDTH, CELL_HEIGHT = 84, 44
_LEFT, _TOP, _BOTTOM = 110, 40, 56
_WIDTH, _HEIGHT, _MARGIN = 460, 320, 60

_STYLE = """
svg.sweep { color: var(--ink, #222); background: var(--page, #fff); font: 12px system-ui, sans-serif }
svg.sweep text { fill: currentColor; text-anchor: middle }
svg.sweep .title { font-weight: 600; font-size: 13px }
svg.sweep .soft { opacity: .7 }
svg.sweep .cell { fill: var(--accent, #0b6e99) }
svg.sweep .on { fill: #fff }
svg.sweep .absent { fill: none; stroke: currentColor; opacity: .3; stroke-dasharray: 4 4 }
svg.sweep .best { fill: none; stroke: currentColor; stroke-width: 2.5 }
svg.sweep .axis { stroke: currentColor; opacity: .4 }
svg.sweep .dot { fill: currentColor; opacity: .35 }
svg.sweep .front { fill: var(--accent, #0b6e99) }
svg.sweep .line { stroke: var(--accent, #0b6e99); fill: none; stroke-width: 1.5; stroke-dasharray: 3 3 }
"""


def heatmap(cells: Mapping[tuple[float, float], float | None], column: Column, down: str, across: str) -> str:
    """One cell for each pair of settings with its value, darker where better; the best one is framed.

    Args:
        cells: values by (setting down, setting across); None where there is none.
        column: of the values; it has the direction.
        down, across: names of the two settings.
    """
    rows, columns = (sorted({place[axis] for place in cells}) for axis in (0, 1))
    known = [number for number in cells.values() if number is not None]
    best = (min if column.better == "lower" else max)(known, default=None)
    width, height = _LEFT + CELL_WIDTH * len(columns) + 20, _TOP + CELL_HEIGHT * len(rows) + _BOTTOM
    parts = [_text(width / 2, 20, column.heading, "title")]
    for i, setting in enumerate(rows):
        y = _TOP + i * CELL_HEIGHT
        parts.append(_text(_LEFT - 24, y + CELL_HEIGHT / 2 + 4, f"{setting:g}", "soft"))
        for j, other in enumerate(columns):
            parts += _cell(_LEFT + j * CELL_WIDTH, y, cells.get((setting, other)), known, best, column)
    for j, other in enumerate(columns):
        parts.append(_text(_LEFT + (j + 0.5) * CELL_WIDTH, height - _BOTTOM + 18, f"{other:g}", "soft"))
    middle = _TOP + CELL_HEIGHT * len(rows) / 2
    parts.append(_text(_LEFT + CELL_WIDTH * len(columns) / 2, height - 16, across, ""))
    parts.append(f'<g transform="rotate(-90 18 {middle:g})">{_text(18, middle, down, "")}</g>')
    return _svg(width, height, f"{column.label} over {down} and {across}", parts)


def scatter(points: Sequence[tuple[str, float, float, bool]], across: Column, up: Column) -> str:
    """Jobs by two metrics; the Pareto front in colour and joined.

    Args:
        points: name, both values, whether it is on the front; at least one.
        across, up: the metrics.
    """
    scales = [_scale([point[index] for point in points]) for index in (1, 2)]

    def place(point: tuple[str, float, float, bool]) -> tuple[float, float]:
        x, y = (scale(number) for scale, number in zip(scales, point[1:3], strict=True))
        return _MARGIN + x * (_WIDTH - 2 * _MARGIN), _HEIGHT - _MARGIN - y * (_HEIGHT - 2 * _MARGIN)

    parts = [_text(_WIDTH / 2, 20, f"{up.label} against {across.label}", "title")]
    parts.append(_text(_WIDTH / 2, _HEIGHT - 12, across.heading, ""))
    parts.append(f'<g transform="rotate(-90 16 {_HEIGHT / 2})">{_text(16, _HEIGHT / 2, up.heading, "")}</g>')
    edge, low = _MARGIN - 14, _HEIGHT - _MARGIN + 14
    parts.append(f'<path class="axis" fill="none" d="M{edge},{_MARGIN - 14} V{low} H{_WIDTH - edge}"/>')
    numbers = [[point[index] for point in points] for index in (1, 2)]
    for number, x in ((min(numbers[0]), _MARGIN), (max(numbers[0]), _WIDTH - _MARGIN)):
        parts.append(_text(x, low + 16, value(Cell(number), across), "soft"))
    for number, y in ((min(numbers[1]), _HEIGHT - _MARGIN), (max(numbers[1]), _MARGIN)):
        parts.append(_text(edge - 22, y + 4, value(Cell(number), up), "soft"))
    front = sorted(place(point) for point in points if point[3])
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in front)
    parts.append(f'<polyline class="line" points="{joined}"/>')
    for point in sorted(points, key=lambda point: point[3]):
        x, y = place(point)
        text = f"{point[0]}: {value(Cell(point[1]), across)}, {value(Cell(point[2]), up)}"
        kind = "front" if point[3] else "dot"
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(text)}</title></circle>'
        )
    return _svg(_WIDTH, _HEIGHT, f"{up.label} against {across.label}", parts)


def _cell(
    x: float, y: float, number: float | None, known: Sequence[float], best: float | None, column: Column
) -> list[str]:
    box = f'x="{x + 1:g}" y="{y + 1:g}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}"'
    if number is None:
        return [
            f'<rect class="absent" {box}/>',
            _text(x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2 + 4, value(Cell(None), column), "soft"),
        ]
    share = _scale(known)(number)
    depth = 0.1 + 0.8 * (1 - share if column.better == "lower" else share)
    shown = value(Cell(number), column)
    parts = [f'<rect class="cell" {box} fill-opacity="{depth:.2f}"/>']
    parts.append(_text(x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2 + 4, shown, "on" if depth > 0.55 else ""))
    return [*parts, f'<rect class="best" {box}/>'] if number == best else parts


def _scale(numbers: Sequence[float]) -> Callable[[float], float]:
    """To 0..1 between the least and the largest; where all are equal, to the middle."""
    low, high = min(numbers), max(numbers)
    return lambda number: (number - low) / (high - low) if high > low else 0.5


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(width: float, height: float, text: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sweep" viewBox="0 0 {width:g} {height:g}" '
        f'role="img" aria-label="{escape(text)}"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )
