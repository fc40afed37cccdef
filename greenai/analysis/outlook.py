"""The end of a run as it is foreseen while it goes on, from the totals that have settled."""

from __future__ import annotations

import dataclasses
import math

from greenai.analysis.forecast import Settled, forecast
from greenai.units import J_PER_KWH, emissions_g

POINTS_MAX = 64
"""Totals that are kept; more are thinned to every second one, so that spans grow with the run."""


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """What a run will have used and cost when it ends: low, mid and high, 95 %; NaN is unknown.

    Attributes:
        energy_j: IT energy.
        emissions_g: Operational emissions.
        cost: Money.
    """

    energy_j: tuple[float, float, float]
    emissions_g: tuple[float, float, float]
    cost: tuple[float, float, float]


class Outlook:
    """Remembers a bounded number of totals and foresees the end from them.

    Example:
        >>> outlook = Outlook()
        >>> for steps in range(5):
        ...     outlook.add(10.0 * steps, 100.0 * steps)
        >>> outlook.end(60.0, emitted_g=1.0, g_per_kwh=36.0).energy_j
        (1000.0, 1000.0, 1000.0)
    """

    def __init__(self) -> None:
        self._points: list[Settled] = []
        self._every = 1
        self._seen = 0
        self._latest = Settled(math.nan, math.nan)

    def add(self, steps: float, energy_j: float) -> None:
        """Take the totals of now; totals that fell (a device was found unused) begin anew.

        Args:
            steps: Optimizer steps settled.
            energy_j: IT energy until now.
        """
        if steps < self._latest.steps or energy_j < self._latest.energy_j:
            self._points, self._every, self._seen = [], 1, 0
        self._latest = Settled(steps, energy_j)
        if self._seen % self._every == 0:
            self._points.append(self._latest)
        self._seen += 1
        if len(self._points) > POINTS_MAX:
            self._points = self._points[::2]
            self._every *= 2

    def end(
        self,
        steps_left: float,
        *,
        emitted_g: float = math.nan,
        g_per_kwh: float = math.nan,
        pue: float | None = None,
        price_per_kwh: float = math.nan,
    ) -> End | None:
        """Foresee the end, as ``forecast`` does; what is emitted stays, the rest is as now.

        Args:
            steps_left: Steps still to come.
            emitted_g: Operational emissions until now.
            g_per_kwh: Carbon intensity from now on.
            pue: Site energy over IT energy; None leaves emissions and money to IT energy.
            price_per_kwh: Price of a kWh, of all energy.

        Returns:
            The end; None where too little is settled, or the number of steps is unknown.
        """
        if not 0 <= steps_left < math.inf or math.isnan(self._latest.steps):
            return None
        points = self._points
        if points and points[-1] != self._latest:
            points = [*points, self._latest]
        ahead = forecast(points, self._latest.steps + steps_left)
        if math.isnan(ahead.energy_j):
            return None
        site, used_j = 1.0 if pue is None else pue, self._latest.energy_j
        low, mid, high = ahead.energy_low_j, ahead.energy_j, ahead.energy_high_j

        def emitted(energy_j: float) -> float:
            return emitted_g + emissions_g(energy_j - used_j, g_per_kwh, site)

        def paid(energy_j: float) -> float:
            return energy_j / J_PER_KWH * site * price_per_kwh

        return End(
            (low, mid, high),
            (emitted(low), emitted(mid), emitted(high)),
            (paid(low), paid(mid), paid(high)),
        )
