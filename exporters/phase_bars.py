"""The energy of each phase drawn as a bar, stacked by component: where the energy of a run went."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from greenai.exporters import page, quantities
from greenai.exporters.breakdown import COMPONENTS, PHASES, UNATTRIBUTED
from greenai.exporters.drawing import tick_texts, ticks
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    import pandas as pd

WIDTH, LEFT, RIGHT = 900, 130, 150
BAR, BETWEEN, TOP, BOTTOM = 18, 10, 8, 46
NO_COMPONENT = "component unknown"
"""What is left of a phase where its components do not make up all of its energy."""
PARTS = (*COMPONENTS.values(), NO_COMPONENT)
"""Names of the parts of a bar; their places are those of the colours in the style sheet."""
LEAST_SHARE = 1e-9
"""A rest that is less than so much of a phase is rounding."""


class PhaseBar(NamedTuple):
    """A phase that took place.

    Attributes:
        name: As it is shown.
        energy_j: Its energy; NaN is unknown.
        parts_j: Joules of each of ``PARTS``; NaN where it is unknown, or not metered.
    """

    name: str
    energy_j: float
    parts_j: tuple[float, ...]


def phase_bars(phases: pd.DataFrame) -> list[PhaseBar]:
    """The phases with energy, or of unknown energy, that took place, in the order of the table."""
    found = []
    for row in phases.to_dict("records"):
        name, energy_j = str(row["phase"]), float(row["energy_j"])
        took_place = row["count"] > 0 or row["duration_s"] > 0 or energy_j > 0
        if not took_place or (name == UNATTRIBUTED and not energy_j > 0):
            continue
        parts_j = [float(row[f"{kind}_j"]) for kind in COMPONENTS]
        rest_j = energy_j - math.fsum(part for part in parts_j if math.isfinite(part))
        parts_j.append(rest_j if rest_j > LEAST_SHARE * energy_j else math.nan)
        found.append(PhaseBar(PHASES.get(name, printable(name, limit=20)), energy_j, (*parts_j,)))
    return found


def phase_figure(phases: pd.DataFrame) -> str:
    """Draw the phases of a run.

    Args:
        phases: One row a phase, columns PHASE_COLUMNS.

    Returns:
        Markup of a figure with a title, a key and words for those who do not see it; empty where
        no phase has a known energy.
    """
    bars = phase_bars(phases)
    known = [bar.energy_j for bar in bars if math.isfinite(bar.energy_j)]
    if not any(known):
        return ""
    factor, unit = quantities.scale(max(known), "J")
    highest = max(known) / factor
    height = TOP + len(bars) * (BAR + BETWEEN) + BOTTOM
    marks = [_axis(highest, height, unit)]
    for place, bar in enumerate(bars):
        marks.append(_bar(bar, TOP + place * (BAR + BETWEEN), highest * factor, sum(known)))
    words = "; ".join(f"{bar.name}: {_amount(bar.energy_j, sum(known))}" for bar in bars)
    title = "Energy by phase and component"
    return (
        f'<figure>{page.heading(3, title)}<div class="scroll" tabindex="0" role="group" '
        f'aria-label="{title}"><svg role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-label="{escape(f"{title}. {words}.")}">{"".join(marks)}</svg></div>{_key(bars)}'
        f"<figcaption>{escape(_caption(bars))}</figcaption></figure>"
    )


def _axis(highest: float, height: int, unit: str) -> str:
    places = ticks(0.0, highest)
    lines = [
        f'<path class="grid" d="M{(at := _x(place, highest)):.1f} {TOP}V{height - BOTTOM}"/>'
        f'<text class="mid" x="{at:.1f}" y="{height - BOTTOM + 17}">{text}</text>'
        for place, text in zip(places, tick_texts(places), strict=True)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    title = f'<text class="mid axis" x="{middle}" y="{height - 6}">Energy ({unit})</text>'
    return "".join([*lines, title])


def _bar(bar: PhaseBar, top: float, highest_j: float, whole_j: float) -> str:
    middle = top + BAR / 2 + 4
    marks = [f'<text class="end name" x="{LEFT - 10}" y="{middle:.1f}">{escape(bar.name)}</text>']
    before_j, at = 0.0, float(LEFT)
    for number, part_j in enumerate(bar.parts_j):
        if math.isfinite(part_j) and part_j > 0:
            before_j += part_j
            end = _x(before_j, highest_j)
            said = escape(f"{bar.name}, {PARTS[number]}: {quantities.energy(part_j)}")
            marks.append(
                f'<g><title>{said}</title><rect class="part p{number}" x="{at:.1f}" y="{top}" '
                f'width="{end - at:.1f}" height="{BAR}"/></g>'
            )
            at = end
    marks.append(f'<text x="{at + 8:.1f}" y="{middle:.1f}">{_amount(bar.energy_j, whole_j)}</text>')
    return "".join(marks)


def _amount(energy_j: float, whole_j: float) -> str:
    """Energy and its share of what is known; an unknown one has no share."""
    if not math.isfinite(energy_j):
        return quantities.UNKNOWN
    return f"{quantities.energy(energy_j)} ({quantities.share(energy_j / whole_j)})"


def _key(bars: list[PhaseBar]) -> str:
    entries = "".join(
        f'<span><svg viewBox="0 0 26 10" aria-hidden="true"><rect class="part p{number}" '
        f'width="26" height="10"/></svg>{name}</span>'
        for number, name in enumerate(PARTS)
        if any(bar.parts_j[number] > 0 for bar in bars)
    )
    return f'<div class="key">{entries}</div>'


def _caption(bars: list[PhaseBar]) -> str:
    rest = any(bar.parts_j[-1] > 0 for bar in bars)
    text = "Phases do not overlap: each instant counts once."
    return f"{text} Of a part of it the component is unknown." if rest else text


def _x(value: float, highest: float) -> float:
    return LEFT + value / highest * (WIDTH - LEFT - RIGHT)
