"""Emissions while a run goes on: each stretch of energy with the intensity of its time."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from greenai.analysis.intensity import Yearly, mean_over
from greenai.intensity_file import read_intensity
from greenai.units import NS_PER_S, emissions_g

if TYPE_CHECKING:
    from greenai.analysis.intensity import IntensitySeries
    from greenai.grid import Intensity

LATER_NS = 2**63 - 1
"""A file that is used while a run goes on may foretell: its rows may lie in the future."""
SPAN_NS = NS_PER_S
"""Shorter spans are looked at as long as this: a hole in less would pass for rounding."""


class Present(NamedTuple):
    """The intensity of one moment.

    Attributes:
        g_per_kwh: gCO2e/kWh; NaN is unknown.
        place: Where it holds.
        source: Who says so, and whether it fills a hole.
    """

    g_per_kwh: float
    place: str
    source: str


class Emissions:
    """Adds up operational emissions; a counter that no later intensity changes.

    Args:
        yearly: Factor of the place; it fills holes of the series where it counts the same.
        pue: Site energy over IT energy; None leaves emissions to IT energy.
        series: Intensity over time; None takes the yearly factor alone.

    Example:
        >>> from greenai import grid
        >>> emissions = Emissions(grid.intensity("FRA"), pue=None)
        >>> emissions.add(3.6e6, 0, 10**9)
        >>> emissions.grams == grid.intensity("FRA").g_per_kwh
        True
    """

    def __init__(
        self, yearly: Intensity, pue: float | None, series: IntensitySeries | None = None
    ) -> None:
        self.filled_j = 0.0
        """Energy that the yearly factor stood in for."""
        self.open_j = 0.0
        """Energy without any factor."""
        self._yearly = yearly
        self._pue = 1.0 if pue is None else pue
        self._series = series
        self._fill: Yearly | None = None
        if series is not None and not yearly.is_world_average:
            self._fill = Yearly(yearly.g_per_kwh, yearly.basis, yearly.signal, yearly.place)
        self._added_g = 0.0

    @property
    def grams(self) -> float:
        """Grams of CO2 equivalent so far; NaN where a part of the energy has no factor."""
        return math.nan if self.open_j > 0 else self._added_g

    def add(self, energy_j: float, start_utc_ns: int, end_utc_ns: int) -> None:
        """Add IT energy that was used between two moments of UTC."""
        own, filled = self._intensities(start_utc_ns, max(end_utc_ns, start_utc_ns + SPAN_NS))
        if math.isnan(own):
            self.filled_j += energy_j
        if math.isnan(filled):
            self.open_j += energy_j
        else:
            self._added_g += emissions_g(energy_j, filled, self._pue)

    def present(self, utc_ns: int) -> Present:
        """The intensity now."""
        yearly, series = self._yearly, self._series
        if series is None:
            return Present(yearly.g_per_kwh, yearly.place, yearly.source)
        at = int(np.searchsorted(series.edges_utc_ns, utc_ns, "right")) - 1
        if 0 <= at < len(series.g_per_kwh) and math.isfinite(series.g_per_kwh[at]):
            place = series.place or yearly.place
            return Present(float(series.g_per_kwh[at]), place, series.source)
        fills = self._fill is not None and self._fill.fills(series)
        filled = yearly.g_per_kwh if fills else math.nan
        return Present(filled, yearly.place, f"{yearly.source}, for a hole in {series.source}")

    def _intensities(self, start_utc_ns: int, end_utc_ns: int) -> tuple[float, float]:
        """Mean intensity of the series alone, NaN in a hole; and with what may fill it."""
        series = self._series
        if series is None:
            return self._yearly.g_per_kwh, self._yearly.g_per_kwh
        edges_ns = series.edges_utc_ns
        last = len(series.g_per_kwh) - 1
        first = int(np.clip(np.searchsorted(edges_ns, start_utc_ns, "right") - 1, 0, last))
        after = int(np.clip(np.searchsorted(edges_ns, end_utc_ns, "left"), first + 1, last + 1))
        near = dataclasses.replace(  # a file may hold years: only the spans concerned
            series,
            edges_utc_ns=edges_ns[first : after + 1],
            g_per_kwh=series.g_per_kwh[first:after],
            estimated=series.estimated[first:after],
        )
        starts, ends = (np.array([at], dtype=np.int64) for at in (start_utc_ns, end_utc_ns))
        own = float(mean_over(starts, ends, near)[0])
        return own, own if math.isfinite(own) else float(
            mean_over(starts, ends, near, self._fill)[0]
        )


def read_foretelling(path: str) -> IntensitySeries:
    """Read a table of intensities whose rows may lie in the future.

    Args:
        path: The file; ``~`` is filled in.

    Returns:
        The series.

    Raises:
        GridError: The file cannot be read, or a row is none.
    """
    return read_intensity(Path(path).expanduser(), now_utc_ns=LATER_NS)


def emissions_of(yearly: Intensity, pue: float | None, intensity_file: str | None) -> Emissions:
    """Emissions of a run by its settings.

    Args:
        yearly: Factor of the place.
        pue: Power usage effectiveness.
        intensity_file: CSV of the user's; its rows may lie in the future.

    Returns:
        What adds them up.

    Raises:
        GridError: The file cannot be read, or a row is none.
    """
    series = None if intensity_file is None else read_foretelling(intensity_file)
    return Emissions(yearly, pue, series)
