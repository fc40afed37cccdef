"""Carbon intensity as a series in time, and its mean over the energy of a run."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from greenai.analysis.spans import date_of, spans_of
from greenai.units import J_PER_KWH, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from greenai.analysis.spans import Row
    from greenai.units import Floats, Ns

Basis = Literal["direct", "lifecycle", "unknown"]
Signal = Literal["average", "marginal"]

CLOSES = 1e-9
"""Energy outside of a series that is below this share of the whole is rounding."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class IntensitySeries:
    """Carbon intensity of n consecutive spans of UTC.

    Attributes:
        edges_utc_ns: Edges of the spans, in nanoseconds since 1970, increasing. Shape (n + 1,).
        g_per_kwh: gCO2e/kWh; NaN is a hole. Shape (n,).
        estimated: Whether the source calls the figure a forecast or an estimate. Shape (n,).
        basis: ``direct`` counts the stack only, ``lifecycle`` also fuel and plant.
        signal: ``average`` of all generation, or ``marginal``.
        source: Where the figures come from, and how they were converted.
        place: Zone or country; empty is unknown.
        fetched_utc: When they were fetched, ISO 8601; None for a file.
        problems: Why parts are missing, in sentences.
    """

    edges_utc_ns: Ns
    g_per_kwh: Floats
    estimated: npt.NDArray[np.bool_]
    basis: Basis
    signal: Signal
    source: str
    place: str = ""
    fetched_utc: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def years(self) -> str:
        """Year or years that the series is about, for people."""
        first, last = (
            date_of(int(at)).year for at in (self.edges_utc_ns[0], self.edges_utc_ns[-1])
        )
        return str(first) if first == last else f"{first} to {last}"


@dataclasses.dataclass(frozen=True, slots=True)
class Yearly:
    """One constant factor that may fill the holes of a series.

    Attributes:
        g_per_kwh: gCO2e/kWh.
        basis: As in ``IntensitySeries``.
        signal: As in ``IntensitySeries``.
        name: Place, year and source, for people.
    """

    g_per_kwh: float
    basis: Basis
    signal: Signal
    name: str

    def fills(self, series: IntensitySeries) -> bool:
        """Whether it counts the same as the series; an unknown basis is like no other."""
        known = series.basis != "unknown"
        return known and (self.basis, self.signal) == (series.basis, series.signal)


@dataclasses.dataclass(frozen=True, slots=True)
class Weighted:
    """Energy-weighted mean of an intensity, and from where its parts come, by share of energy.

    Attributes:
        g_per_kwh: Mean over all energy, holes filled; NaN where a part stays open.
        known_g_per_kwh: Mean over the energy that has a figure; NaN without any.
        low_g_per_kwh: The mean had all holes been as low as the least figure known; NaN where a
            part stays open.
        high_g_per_kwh: The mean had all been as high as the greatest.
        series_share: Share of the energy whose figure is the series'.
        estimated_share: The part of it whose figure is a forecast or an estimate.
        filled_share: Share whose figure is the yearly factor's.
        open_share: Share without a figure.
    """

    g_per_kwh: float
    known_g_per_kwh: float
    low_g_per_kwh: float
    high_g_per_kwh: float
    series_share: float
    estimated_share: float
    filled_share: float
    open_share: float


def series_of(
    rows: Iterable[Row],
    *,
    basis: Basis,
    signal: Signal,
    source: str,
    place: str = "",
    fetched_utc: str | None = None,
    problems: tuple[str, ...] = (),
    now_utc_ns: int | None = None,
) -> IntensitySeries:
    """Make a series of rows in any order; time between two rows is a hole.

    Args:
        rows: Spans of UTC with their intensity.
        basis: What is counted.
        signal: ``average`` or ``marginal``.
        source: Where the rows come from.
        place: Zone or country.
        fetched_utc: When they were fetched, ISO 8601.
        problems: Why parts are missing, in sentences.
        now_utc_ns: A row that is no estimate may not end after this moment; None lets all be.

    Returns:
        The series.

    Raises:
        GridError: There are no rows, or one is negative, overlaps another, ends before it starts
            or lies in the future.

    Example:
        >>> from greenai.analysis.spans import Row
        >>> hour = 3_600_000_000_000
        >>> found = series_of([Row(0, hour, 50.0), Row(2 * hour, 3 * hour, 90.0)], basis="direct",
        ...                   signal="average", source="a file")
        >>> found.g_per_kwh.tolist(), found.years
        ([50.0, nan, 90.0], '1970')
    """
    edges_utc_ns, figures, estimated = spans_of(rows, source, now_utc_ns)
    return IntensitySeries(
        edges_utc_ns=edges_utc_ns,
        g_per_kwh=figures,
        estimated=estimated,
        basis=basis,
        signal=signal,
        source=source,
        place=place,
        fetched_utc=fetched_utc,
        problems=problems,
    )


def weigh(
    energy_j: Floats, total_j: float, series: IntensitySeries, yearly: Yearly | None = None
) -> Weighted:
    """Mean of an intensity over the energy used in each of its spans.

    Σ E_i · I_i / Σ E_i. A hole, and energy outside of the series, takes the yearly factor where
    that has the same basis and signal; else it stays open and the mean is NaN.

    Args:
        energy_j: IT energy of each span of the series, in joules. Shape (n,).
        total_j: IT energy of the whole run; what exceeds the sum lies outside of the series.
        series: The intensity.
        yearly: What may fill holes.

    Returns:
        The mean and the shares; all NaN where the energy is unknown or none.

    Example:
        >>> from greenai.analysis.spans import Row
        >>> hour = 3_600_000_000_000
        >>> day = series_of([Row(0, hour, 100.0), Row(hour, 2 * hour, 400.0)], basis="direct",
        ...                 signal="average", source="a file")
        >>> weigh(np.array([3e6, 1e6]), 4e6, day).g_per_kwh
        175.0

    Source: ISO/IEC 21031 (SCI), O = E · I, taken span by span.
    """
    if not total_j > 0:
        return Weighted(*[math.nan] * 8)
    figures = series.g_per_kwh
    known = np.isfinite(figures)
    outside_j = total_j - float(energy_j.sum())
    hole_j = float(energy_j[~known].sum())
    hole_j += outside_j if outside_j > CLOSES * total_j else 0.0
    emitted_g = float((energy_j[known] * figures[known]).sum()) / J_PER_KWH
    known_j = float(energy_j[known].sum())
    in_series_g, figured = emitted_g, figures[known].tolist()
    fill = yearly if yearly is not None and hole_j and yearly.fills(series) else None
    if fill is not None:
        emitted_g += hole_j / J_PER_KWH * fill.g_per_kwh
        known_j += hole_j
        figured.append(fill.g_per_kwh)
    known_mean = emitted_g * J_PER_KWH / known_j if known_j else math.nan
    is_open = bool(hole_j) and fill is None
    low, high = (
        math.nan if is_open else (in_series_g * J_PER_KWH + hole_j * figure) / known_j
        for figure in (min(figured, default=math.nan), max(figured, default=math.nan))
    )
    return Weighted(
        g_per_kwh=math.nan if is_open else known_mean,
        known_g_per_kwh=known_mean,
        low_g_per_kwh=low,
        high_g_per_kwh=high,
        series_share=float(energy_j[known].sum()) / total_j,
        estimated_share=float(energy_j[known & series.estimated].sum()) / total_j,
        filled_share=hole_j / total_j if fill is not None else 0.0,
        open_share=hole_j / total_j if is_open else 0.0,
    )


def mean_over(
    start_utc_ns: Ns, end_utc_ns: Ns, series: IntensitySeries, yearly: Yearly | None = None
) -> Floats:
    """Mean intensity of short spans, over time: within a step power is taken as constant.

    Args:
        start_utc_ns: Starts of the spans. Shape (m,).
        end_utc_ns: Their ends. Shape (m,).
        series: The intensity.
        yearly: What may fill holes.

    Returns:
        gCO2e/kWh; NaN where a part of the span has no figure. Shape (m,).
    """
    origin_ns = int(series.edges_utc_ns[0])
    edges_s = (series.edges_utc_ns - origin_ns) / NS_PER_S
    known = np.isfinite(series.g_per_kwh)
    lengths_s = np.where(known, np.diff(edges_s), 0.0)
    passed_s = np.concatenate(([0.0], np.cumsum(lengths_s)))
    area = np.concatenate(([0.0], np.cumsum(lengths_s * np.where(known, series.g_per_kwh, 0.0))))
    start_s = (start_utc_ns - origin_ns) / NS_PER_S
    end_s = np.maximum((end_utc_ns - origin_ns) / NS_PER_S, start_s + 1e-6)

    def between(values: Floats) -> Floats:
        return np.asarray(np.interp(end_s, edges_s, values) - np.interp(start_s, edges_s, values))

    length_s, known_s = end_s - start_s, between(passed_s)
    hole_s = np.where(length_s - known_s > CLOSES * np.abs(end_s), length_s - known_s, 0.0)
    fill = yearly.g_per_kwh if yearly is not None and yearly.fills(series) else math.nan
    filled = np.where(hole_s > 0, hole_s * fill, 0.0)
    return np.asarray((between(area) + filled) / (known_s + hole_s), dtype=np.float64)
