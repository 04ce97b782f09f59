"""The templates of HTML pages, and the small drawings in them."""

from __future__ import annotations

import functools

import jinja2

from pos.reporting import cells
from pos.reporting.cells import Cell

BAR_WIDTH, BAR_HEIGHT = 84, 12
_INSET = 4  # pixels: room for half a dot


@functools.cache
def environment() -> jinja2.Environment:
    """The templates of this package; they escape texts and fail on undefined variables."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pos.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "value": cells.value,
        "change": cells.change,
        "bounds": cells.bounds,
        "published": cells.published,
        "published_change": cells.published_change,
        "bar": interval_bar,
    }
    return found


def interval_bar(cell: Cell, span: tuple[float, float]) -> str:
    """A difference and its interval as a small SVG: a line from low to high, a dot at the value, a tick at 0.

    Args:
        cell: with a difference; without an interval there is nothing to draw.
        span: of the values that the bar's ends stand for, 0 among them; one for the whole column.
    """
    if cell.delta is None or cell.delta_low is None or cell.delta_high is None:
        return ""
    low, high = span

    def x(number: float) -> str:
        share = (number - low) / (high - low) if high > low else 0.5
        return f"{_INSET + share * (BAR_WIDTH - 2 * _INSET):.1f}"

    middle = BAR_HEIGHT / 2
    return (
        f'<svg class="bar" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" '
        f'aria-hidden="true"><path class="zero" d="M{x(0)} 0V{BAR_HEIGHT}"/>'
        f'<path d="M{x(cell.delta_low)} {middle}H{x(cell.delta_high)}"/>'
        f'<circle cx="{x(cell.delta)}" cy="{middle}" r="2.5"/></svg>'
    )
