"""What a run will have cost at its end, from what is settled and how many steps are left."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import TYPE_CHECKING

from greenai.analysis.student import critical_value
from greenai.errors import OrderError
from greenai.units import J_PER_KWH, emissions_g

if TYPE_CHECKING:
    from collections.abc import Sequence

POINTS_MIN = 3
"""Two spans of steps between three points: fewer say nothing of how steps differ."""
ALPHA = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """One reading of a run's totals.

    Attributes:
        steps: Optimizer steps that are settled.
        energy_j: IT energy until then, with validation and checkpoints.
    """

    steps: float
    energy_j: float


@dataclasses.dataclass(frozen=True, slots=True)
class Forecast:
    """Energy, emissions and money at the end of a run, with 95 % bounds; NaN is unknown.

    Attributes:
        steps_left: Steps that are still to come.
        energy_low_j: Lower bound of the IT energy, never below what is used already.
        energy_j: IT energy at the end.
        energy_high_j: Upper bound; infinite is never given, NaN while too little is settled.
        operational_co2e_low_g: Emissions of the lower bound.
        operational_co2e_g: Emissions at the end.
        operational_co2e_high_g: Emissions of the upper bound.
        cost_low: Money of the lower bound.
        cost: Money at the end.
        cost_high: Money of the upper bound.
    """

    steps_left: float
    energy_low_j: float
    energy_j: float
    energy_high_j: float
    operational_co2e_low_g: float
    operational_co2e_g: float
    operational_co2e_high_g: float
    cost_low: float
    cost: float
    cost_high: float


def forecast(
    points: Sequence[Settled],
    total_steps: float,
    *,
    intensity_g_per_kwh: float = math.nan,
    pue: float | None = None,
    price_per_kwh: float = math.nan,
) -> Forecast:
    """Energy, emissions and money at the end of a run that goes on as since the first point.

    Steps are taken as alike and independent: with r joules a step over N settled steps and m left,
    the rest takes r m, with the variance s^2 (m + m^2 / N), where s^2 is found from the spans
    between the points. What came before the first point (setup, warm-up) counts as used and says
    nothing of the rest. A phase that has not occurred yet, such as the last checkpoint, is not
    foreseen.

    Args:
        points: Totals in the order of time; those with an unknown value are passed over.
        total_steps: Steps of the whole run.
        intensity_g_per_kwh: Carbon intensity, as constant until the end; NaN is unknown.
        pue: Site energy over IT energy; None leaves emissions and money to IT energy.
        price_per_kwh: Price of a kWh; NaN is unknown.

    Returns:
        The forecast; NaN where fewer than three points are settled.

    Raises:
        OrderError: Steps or energy fall, fewer steps are planned than are done, or a factor is
            out of range.

    Example:
        >>> points = [Settled(0, 50.0), Settled(10, 150.0), Settled(20, 250.0)]
        >>> forecast(points, 100).energy_j
        1050.0
    """
    _check(intensity_g_per_kwh, pue, price_per_kwh)
    known = [one for one in points if not (math.isnan(one.steps) or math.isnan(one.energy_j))]
    spans = _spans(known)
    done = known[-1].steps if known else 0.0
    if not done <= total_steps < math.inf:
        raise OrderError(
            f"{total_steps:g} steps are planned and {done:g} are done.",
            "The end cannot be foreseen.",
            "give the number of steps of the whole run",
        )
    left = total_steps - done
    low_j, mid_j, high_j = _energies(known, spans, left)
    site = 1.0 if pue is None else pue

    def emitted_g(energy_j: float) -> float:
        return emissions_g(energy_j, intensity_g_per_kwh, site)

    def paid(energy_j: float) -> float:
        return energy_j / J_PER_KWH * site * price_per_kwh

    return Forecast(
        left,
        low_j,
        mid_j,
        high_j,
        *map(emitted_g, (low_j, mid_j, high_j)),
        *map(paid, (low_j, mid_j, high_j)),
    )


def _spans(points: Sequence[Settled]) -> list[Settled]:
    """Steps and energy between neighbouring points; points without a new step are one span."""
    spans, before = [], points[0] if points else None
    for earlier, later in pairwise(points):
        if later.steps < earlier.steps or later.energy_j < earlier.energy_j:
            raise OrderError(
                f"Totals fell from {earlier} to {later}.",
                "Totals of a run only grow; its end cannot be foreseen from these.",
                "give the points of one run in the order of time",
            )
    for later in points[1:]:
        if before is not None and later.steps > before.steps:
            spans.append(Settled(later.steps - before.steps, later.energy_j - before.energy_j))
            before = later
    return spans


def _energies(
    points: Sequence[Settled], spans: Sequence[Settled], left: float
) -> tuple[float, float, float]:
    if len(spans) < POINTS_MIN - 1:
        return math.nan, math.nan, math.nan
    used_j = points[-1].energy_j
    steps = math.fsum(one.steps for one in spans)
    j_per_step = math.fsum(one.energy_j for one in spans) / steps
    squares = (one.steps * (one.energy_j / one.steps - j_per_step) ** 2 for one in spans)
    variance = math.fsum(squares) / (len(spans) - 1)
    error_j = math.sqrt(variance * (left + left * left / steps))
    half_j = critical_value(ALPHA, len(spans) - 1) * error_j
    mid_j = used_j + left * j_per_step
    return max(used_j, mid_j - half_j), mid_j, mid_j + half_j


def _check(intensity_g_per_kwh: float, pue: float | None, price_per_kwh: float) -> None:
    if pue is not None and not 1 <= pue < math.inf:
        raise OrderError(
            f"PUE is {pue:g}.",
            "A site cannot draw less than its computers do.",
            "give facility energy divided by IT energy, at least 1",
        )
    for name, value in (("intensity", intensity_g_per_kwh), ("price", price_per_kwh)):
        if value < 0 or math.isinf(value):
            raise OrderError(
                f"The {name} is {value:g}.",
                "The forecast would be wrong.",
                f"give the {name} per kWh, at least 0",
            )
