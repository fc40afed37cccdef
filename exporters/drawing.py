"""Plots drawn without a script: SVG for print, for readers without JavaScript, for comparisons."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from greenai.exporters.charts import decimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenai.exporters.charts import Chart
    from greenai.units import Floats

WIDTH, HEIGHT = 900, 280
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 12, 46
POINTS = 700
"""Points of a printed curve: about one a pixel of the drawing."""
COLOURS = 6
"""Colours of the page's style; curves beyond them are dashed."""
LOOSE = 0.08
"""Room above and below curves that do not begin at zero, as a share of their range."""


class Frame(NamedTuple):
    """Ranges of both axes and the moving of values to the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, values: Floats) -> Floats:
        """Horizontal places in the drawing."""
        return LEFT + (values - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, values: Floats) -> Floats:
        """Vertical places in the drawing; they count downwards."""
        share = (values - self.y_low) / (self.y_high - self.y_low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def line_chart(chart: Chart, colours: Sequence[int] | None = None, *, dots: bool = False) -> str:
    """Draw a chart as one SVG element, coloured by the page's style.

    Args:
        chart: At least one curve with a known value.
        colours: Number of each curve's colour; None gives each its own.
        dots: Whether points are drawn as circles and not joined.

    Returns:
        Markup with a title and a description for those who do not see it.
    """
    frame = _frame(chart, dots=dots)
    parts = [_grid(frame, chart)]
    if chart.band is not None:
        parts.append(_band(frame, chart.curves[0].x, *chart.band))
    for number, curve in enumerate(chart.curves):
        kept = decimate(curve.y, POINTS)
        style = style_of(number if colours is None else colours[number])
        x, y = frame.x(curve.x[kept]), frame.y(curve.y[kept])
        if dots:
            parts.extend(_dots(style, x, y))
        else:
            parts.append(f'<path class="{style}" d="{_path(x, y)}"/>')
    return (
        f'<svg class="still" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{escape(f"{chart.title}. {chart.summary}")}">{"".join(parts)}</svg>'
    )


def style_of(number: int) -> str:
    """Classes of curve ``number``: its colour and, from the seventh on, a dash."""
    dash = "" if number < COLOURS else " dashed"
    return f"curve c{number % COLOURS}{dash}"


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values between two ends, some ``about`` of them, at steps of 1, 2 or 5.

    Example:
        >>> ticks(0.0, 430.0)
        [0.0, 100.0, 200.0, 300.0, 400.0]
    """
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Write ticks with just the decimals that their step needs.

    Example:
        >>> tick_texts([0.0, 0.5, 1.0]), tick_texts([0.0, 20_000.0])
        (['0.0', '0.5', '1.0'], ['0', '20,000'])
    """
    step = values[1] - values[0] if len(values) > 1 else max(abs(values[0]), 1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:,.{decimals}f}" for value in values]


def _frame(chart: Chart, *, dots: bool) -> Frame:
    xs = [_known(curve.x) for curve in chart.curves]
    ys = [_known(curve.y) for curve in chart.curves] + [_known(b) for b in chart.band or ()]
    x_low, x_high = _range(xs)
    if dots:  # a dot on the edge would lie over the axis
        side = LOOSE / 2 * (x_high - x_low)
        x_low, x_high = x_low - side, x_high + side
    y_low, y_high = _range(ys)
    room = LOOSE * (y_high - y_low)
    if chart.from_zero:
        return Frame(x_low, x_high, min(0.0, y_low), y_high + room)
    return Frame(x_low, x_high, y_low - room, y_high + room)


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _range(parts: Iterable[Floats]) -> tuple[float, float]:
    """Lowest and highest value; a range of nothing is widened, so that it can be divided by."""
    values = np.concatenate([part for part in parts if len(part)] or [np.zeros(1)])
    low, high = float(values.min()), float(values.max())
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    wide = abs(low) / 2 or 0.5
    return low - wide, high + wide


def _grid(frame: Frame, chart: Chart) -> str:
    parts = []
    y_ticks = ticks(frame.y_low, frame.y_high)
    for at, text in zip(frame.y(np.array(y_ticks)), tick_texts(y_ticks), strict=True):
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="end" x="{LEFT - 8}" y="{at + 4:.1f}">{text}</text>')
    x_ticks = ticks(frame.x_low, frame.x_high, about=8)
    for at, text in zip(frame.x(np.array(x_ticks)), tick_texts(x_ticks), strict=True):
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="mid" x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}">{text}</text>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="mid axis" x="{middle_x}" y="{HEIGHT - 8}">{escape(chart.x_title)}</text>'
        f'<text class="mid axis" transform="translate(14 {middle_y}) rotate(-90)">'
        f"{escape(chart.y_title)}</text>"
    )
    return "".join(parts)


def _path(x: Floats, y: Floats) -> str:
    """Line through the known points; an unknown one breaks it, a lone one is a dot."""
    parts, drawing = [], False
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if not math.isfinite(down):
            drawing = False
            continue
        # The dot of no length is drawn by the round line cap.
        parts.append(f"L{across:.1f} {down:.1f}" if drawing else f"M{across:.1f} {down:.1f}h0")
        drawing = True
    return "".join(parts)


def _dots(style: str, x: Floats, y: Floats) -> Iterator[str]:
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(across) and math.isfinite(down):
            yield f'<circle class="dot {style}" cx="{across:.1f}" cy="{down:.1f}" r="5"/>'


def _band(frame: Frame, x: Floats, low: Floats, high: Floats) -> str:
    """Area between two bounds, one polygon for each stretch where both are known."""
    kept = decimate(high - low, POINTS)
    x, low, high = frame.x(x[kept]), frame.y(low[kept]), frame.y(high[kept])
    known = np.isfinite(low) & np.isfinite(high)
    stretches = np.split(np.arange(len(x)), np.flatnonzero(np.diff(known.astype(int))) + 1)
    parts = []
    for one in stretches:
        if known[one].all() and len(one) > 1:
            corners = np.concatenate((one, one[::-1]))
            down = np.concatenate((high[one], low[one[::-1]]))
            points = zip(x[corners].tolist(), down.tolist(), strict=True)
            parts.append("M" + "L".join(f"{across:.1f} {at:.1f}" for across, at in points) + "Z")
    return f'<path class="band" d="{"".join(parts)}"/>' if parts else ""
