"""The load of experts drawn as bars: one strip a router, with a line at an even load."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from greenai.exporters import quantities
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.analysis.lens import Lens
    from greenai.analysis.routing import RouterLoad
    from greenai.units import Floats

WIDTH, LEFT, RIGHT = 900, 110, 16
STRIP, BETWEEN, BOTTOM = 54, 12, 34
STRIPS_MAX = 8
"""Routers that are drawn: those with the fullest experts."""
EXPERTS_MAX = 256
"""Bars of a strip; more would be thinner than a pixel or two."""
EVEN_AT = 0.4
"""Height of an even load in a strip of height 1: up to 2.5 times of it is seen."""
LABELS = 16
"""About so many experts are numbered."""


def router_figures(lens: Lens) -> str:
    """Markup of one figure a variant with routers; empty where there are none."""
    parts = []
    for name, runs in lens.variants().items():
        loads = [run.router for run in runs if run.router is not None and run.router.share.size]
        if loads:
            parts.append(_figure(printable(name, limit=40), mean_share(loads)))
    return "".join(parts)


def mean_share(loads: Sequence[RouterLoad]) -> Floats:
    """Mean share of each expert over the runs that have as many routers and experts as the first.

    Shape (routers, experts).
    """
    shape = loads[0].share.shape
    alike = [one.share for one in loads if one.share.shape == shape]
    return np.asarray(np.mean(alike, axis=0))


def _figure(name: str, share: Floats) -> str:
    even = 1 / share.shape[1]
    fullest = np.nan_to_num(share.max(axis=1), nan=-math.inf)
    drawn = np.sort(np.argsort(-fullest, kind="stable")[:STRIPS_MAX])
    experts = min(share.shape[1], EXPERTS_MAX)
    height = len(drawn) * (STRIP + BETWEEN) + BOTTOM
    strips = "".join(
        _strip(number, share[number, :experts] / even, place * (STRIP + BETWEEN) + BETWEEN)
        for place, number in enumerate(drawn.tolist())
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    axis = f'<text class="mid axis" x="{middle}" y="{height - 6}">Expert</text>'
    place = np.unravel_index(int(np.nanargmax(share)), share.shape)
    said = (
        f"{name}: the fullest expert is number {place[1]} of router {place[0]} with "
        f"{quantities.ratio(float(np.nanmax(share)) / even, 2)} times an even load."
    )
    if len(drawn) < len(share):
        said += f" The {len(drawn)} least even of {len(share)} routers are shown."
    if experts < share.shape[1]:
        said += f" The first {experts} of {share.shape[1]} experts are shown."
    return (
        f'<figure><svg role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-label="{escape(said)}">{strips}{_numbers(experts, height)}{axis}</svg>'
        f"<figcaption>{escape(said)} Dashed line: an even load.</figcaption></figure>"
    )


def _strip(number: int, times_even: Floats, top: int) -> str:
    """Bars of one router; what is above an even load stands out, a cut bar ends at the top."""
    wide = (WIDTH - LEFT - RIGHT) / len(times_even)
    gap = min(2.0, wide / 5)
    line = top + STRIP * (1 - EVEN_AT)
    parts = [
        f'<text class="end name" x="{LEFT - 10}" y="{line + 4:.1f}">router {number}</text>',
        f'<path class="grid" d="M{LEFT} {top + STRIP}H{WIDTH - RIGHT}"/>',
    ]
    for place, times in enumerate(times_even.tolist()):
        if math.isfinite(times):
            tall = STRIP * min(1.0, EVEN_AT * times)
            style = "over" if times > 1 else "load"
            parts.append(
                f'<rect class="{style}" x="{LEFT + place * wide + gap / 2:.1f}" '
                f'y="{top + STRIP - tall:.1f}" width="{wide - gap:.1f}" height="{tall:.1f}"/>'
            )
    parts.append(f'<path class="one" d="M{LEFT} {line:.1f}H{WIDTH - RIGHT}"/>')
    return "".join(parts)


def _numbers(experts: int, height: int) -> str:
    wide = (WIDTH - LEFT - RIGHT) / experts
    every = max(1, round(experts / LABELS))
    return "".join(
        f'<text class="mid" x="{LEFT + (place + 0.5) * wide:.1f}" y="{height - 21}">{place}</text>'
        for place in range(0, experts, every)
    )
