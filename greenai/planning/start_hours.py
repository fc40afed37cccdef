"""The same training started at another hour of a file of intensities, such as a forecast."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from greenai.analysis.spans import text_of
from greenai.analysis.start_hours import starts_of
from greenai.planning.factors import ewif_of
from greenai.planning.plan import Plan, estimate_plan

if TYPE_CHECKING:
    from greenai.analysis.estimate import Estimate
    from greenai.analysis.intensity import IntensitySeries
    from greenai.analysis.start_hours import Start

S_PER_DAY = 86_400.0


def other_starts(
    plan: Plan, series: IntensitySeries
) -> tuple[list[tuple[str, str, Estimate]], list[str]]:
    """The training at the first, the least and the most carbon-intensive start of a series.

    Power is taken as constant and the time as the estimate's middle one; energy is that of the
    plan, whenever it starts.

    Args:
        plan: What is planned.
        series: The intensity; starts are those of its rows.

    Returns:
        Rows as from ``what_if``, and sentences on what was compared and what was not.

    Raises:
        OrderError: The wall time of the plan is unknown.
    """
    length_s = estimate_plan(plan).mid.days * S_PER_DAY
    found = starts_of(series, length_s)
    rows = [
        ("start", f"{text_of(one.at_utc_ns)}, {said}", _at(plan, one))
        for said, one in (("first", found.first), ("least", found.least), ("most", found.most))
        if one is not None
    ]
    days = f"{length_s / S_PER_DAY:.3g} days"
    notes = [
        (
            f"Start hours: {found.compared} starts of {series.source} ({series.basis}, "
            f"{series.signal}), at constant power over {days}; energy is the same at each."
        )
    ]
    if found.past_end:
        end = text_of(int(series.edges_utc_ns[-1]))
        notes.append(
            f"Not compared, because the training would go on past the end of the file at {end}: "
            f"{found.past_end} of its starts."
        )
    if found.in_holes:
        notes.append(
            f"Not compared, because a part of the time has no figure: {found.in_holes} starts."
        )
    return rows, notes


def _at(plan: Plan, start: Start) -> Estimate:
    water = ewif_of(plan)
    return estimate_plan(
        dataclasses.replace(
            plan,
            country=None,
            region=None,
            intensity_g_per_kwh=start.g_per_kwh,
            ewif_l_per_kwh=water.mid
            if plan.ewif_l_per_kwh is None and water.known
            else plan.ewif_l_per_kwh,
        )
    )
