"""Runs and the grid joined: energy over spans of UTC, and the factors of our table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.analysis.course import course
from greenai.analysis.footprint import footprint
from greenai.analysis.intensity import Yearly
from greenai.analysis.series import BRIDGED
from greenai.errors import RecordError
from greenai.merging import to_utc_ns

if TYPE_CHECKING:
    from greenai.analysis.footprint import Footprint
    from greenai.analysis.series import Series
    from greenai.grid import Intensity
    from greenai.merging import Part
    from greenai.record.types import Anchor, Record
    from greenai.units import Floats, Ns

FOREVER_NS = np.iinfo(np.int64).max


def energy_over(parts: tuple[Part, ...], edges_utc_ns: Ns) -> Floats:
    """IT energy of all counted devices in each of n consecutive spans of UTC.

    The course of every channel is cut at the edges; a gap that a counter survived is spread evenly
    over itself. Over spans that contain the run the sum is the run's energy.

    Args:
        parts: Attempts of ranks with their energies.
        edges_utc_ns: Edges of the spans, increasing. Shape (n + 1,).

    Returns:
        Joules; 0 where nothing is known of the time. Shape (n,).
    """
    energy_j = np.zeros(len(edges_utc_ns) - 1)
    for part in parts:
        cut = part.energies.timeline
        if len(cut.step) == 0:
            continue
        first_ns, last_ns = int(cut.edges_ns[0]), int(cut.edges_ns[-1])
        edges_ns = np.clip(from_utc_ns(part.attempt.anchors, edges_utc_ns), first_ns, last_ns)
        for one in part.energies.channels:
            at_edge_j = course(one.series, cut.edges_ns[:-1]).energy_at(edges_ns)
            energy_j += np.diff(at_edge_j + bridged_at(one.series, edges_ns, first_ns, last_ns))
    return energy_j


def span_utc_ns(record: Record) -> tuple[int, int]:
    """Start and end of a run in UTC, from its marks and anchors alone.

    Raises:
        RecordError: The run has no moment at all.
    """
    starts, ends = [], []
    for attempt in record.attempts:
        if attempt.anchors and len(attempt.marks.t_ns):
            edges_ns = to_utc_ns(attempt.anchors, attempt.marks.t_ns[[0, -1]])
            starts.append(int(edges_ns[0]))
            ends += [int(edges_ns[1]), attempt.anchors[-1].utc_ns]
    if not starts:
        raise RecordError(
            "The run has no marks.",
            "Nobody knows when it took place; no intensity was fetched.",
            "look at it without --intensity",
            path=record.folder,
        )
    return min(starts), max(ends)


def yearly_of(intensity: Intensity) -> Yearly | None:
    """What may fill the holes of a series: a named place's factor, never the world average."""
    if intensity.is_world_average:
        return None
    when = intensity.year or "of a year that is not stated"
    name = f"{intensity.place} {when}, {intensity.g_per_kwh:g} g/kWh, {intensity.source}"
    return Yearly(intensity.g_per_kwh, intensity.basis, intensity.signal, name)


def constant_footprint(energy_j: float, intensity: Intensity, **about: Any) -> Footprint:
    """Operational emissions under a row of the grid table; the rest as for ``footprint``."""
    return footprint(
        energy_j,
        intensity.g_per_kwh,
        source=intensity.source,
        place=intensity.place,
        year=intensity.year,
        basis=intensity.basis,
        signal=intensity.signal,
        bounds_g_per_kwh=(
            math.nan if intensity.low_g_per_kwh is None else intensity.low_g_per_kwh,
            math.nan if intensity.high_g_per_kwh is None else intensity.high_g_per_kwh,
        ),
        world_average=intensity.is_world_average,
        **about,
    )


def from_utc_ns(anchors: tuple[Anchor, ...], utc_ns: Ns) -> Ns:
    """Map UTC to the monotonic clock: the first moment at which the clock had come so far.

    Where the clock was set back, an hour that it went through twice belongs to its second time;
    moments that it leapt over are the moment of the leap.

    Args:
        anchors: Moments on both clocks, in order.
        utc_ns: Moments, non-decreasing. Shape (m,).

    Returns:
        Nanoseconds on the monotonic clock, non-decreasing. Shape (m,).

    Example:
        >>> from greenai.record.types import Anchor
        >>> from_utc_ns((Anchor(0, 1000, 0), Anchor(100, 1150, 100)), np.array([990, 1010, 1120,
        ...                                                                     1160])).tolist()
        [-10, 10, 100, 110]
    """
    known_ns = np.array([anchor.monotonic_ns for anchor in anchors], dtype=np.int64)
    clock_ns = np.array([anchor.utc_ns for anchor in anchors], dtype=np.int64)
    reached_ns = np.maximum.accumulate(clock_ns)
    at = np.clip(np.searchsorted(reached_ns, utc_ns, side="right") - 1, 0, len(known_ns) - 1)
    next_ns = np.append(known_ns[1:], FOREVER_NS)[at]
    return np.asarray(np.minimum(known_ns[at] + (utc_ns - clock_ns[at]), next_ns), dtype=np.int64)


def bridged_at(series: Series, t_ns: Ns, first_ns: int, last_ns: int) -> Floats:
    """Energy, up to each moment, of the gaps that the counter survived and that end in the run."""
    ends_ns = series.t_ns[1:]
    mine = (series.state == BRIDGED) & (ends_ns > first_ns) & (ends_ns <= last_ns)
    if not mine.any():
        return np.zeros(len(t_ns))
    starts_ns = np.maximum(series.t_ns[:-1][mine], first_ns)
    knots_ns = np.column_stack([starts_ns, ends_ns[mine]]).ravel() - first_ns
    until_j = np.cumsum(np.diff(series.energy_j)[mine])
    at_knots_j = np.column_stack([np.concatenate(([0.0], until_j[:-1])), until_j]).ravel()
    return np.asarray(np.interp(t_ns - first_ns, knots_ns, at_knots_j), dtype=np.float64)
