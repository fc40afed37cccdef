"""Cumulative energy E(t) of one channel, from its change points: wraps unrolled, gaps kept."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.knots import brackets, knot_times
from greenai.record.types import CHANGE, FIRST
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.record.types import ChannelReadings
    from greenai.sensors.base import Channel
    from greenai.units import Floats, Ns

COVERED = 0
"""Interval state: the energy of the interval is known and is spread evenly over it."""
BRIDGED = 1
"""Interval state: a gap that the counter survived; its energy is known, its course is not."""
LOST = 2
"""Interval state: a reset, or a gap of integrated power; nothing is known and nothing is added."""
ELSEWHERE = 3
"""Interval state: another reader of the device counts this time; nothing is added here."""

SILENCE_NS = 3 * NS_PER_S
"""A value is confirmed at least once a second; a longer silence means that nobody was reading."""
LEAP = 2.0
"""After a gap a counter is not this many times further than the greatest power would take it."""
WRAP_POWER_W = 1_000.0
"""Premise for wraps where the device's greatest power is unknown: no package draws more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """Cumulative energy of one channel at n knots.

    Attributes:
        channel: What was read.
        t_ns: Knot times, non-decreasing (see ``knots.knot_times``). Shape (n,).
        t_lo_ns: Earliest moment at which the energy was reached. Shape (n,).
        t_hi_ns: Latest moment at which it was reached. Shape (n,).
        energy_j: Energy since the first knot, non-decreasing. Shape (n,).
        slack_low_j: Cumulative energy that ``energy_j`` may count too much; zero for a counter.
            Shape (n,).
        slack_high_j: Cumulative energy that it may miss; zero for a counter. Shape (n,).
        state: COVERED, BRIDGED, LOST or ELSEWHERE for each interval. Shape (n - 1,), (0,) without
            knots.
        spacing_ns: Typical time between changes: shorter spans are means over their surroundings.
    """

    channel: Channel
    t_ns: Ns
    t_lo_ns: Ns
    t_hi_ns: Ns
    energy_j: Floats
    slack_low_j: Floats
    slack_high_j: Floats
    state: npt.NDArray[np.uint8]
    spacing_ns: int

    @property
    def covered_steps_j(self) -> Floats:
        """Energy of each interval where it is COVERED, else 0. Shape (n - 1,)."""
        return np.where(self.state == COVERED, np.diff(self.energy_j), 0.0)


def series_from(readings: ChannelReadings) -> Series:
    """Make the cumulative energy of a channel of its change points.

    A counter's knot lies in the bracket in which it changed. A first value after a start or a gap
    may be as old as one refresh, so its bracket is widened by that. A power that is sampled is the
    mean of the time before it, so each value holds since the value before it was last seen.

    Args:
        readings: Change points of one channel, in time order.

    Returns:
        The series; without knots where nothing was read.

    Example:
        >>> import numpy as np
        >>> from greenai.record.types import ChannelReadings
        >>> from greenai.sensors.base import Channel
        >>> meter = Channel("energy_j", "cpu", "cpu-package-0", "h/0", "rapl", "measured", True,
        ...                 refresh_ns=0, wrap_j=65_536.0)
        >>> t_ns = np.array([0, 10**9, 2 * 10**9])
        >>> kind = np.array([1, 0, 0], dtype=np.uint8)
        >>> wrapped = ChannelReadings(meter, t_ns, t_ns, np.array([65_500.0, 65_525.0, 14.0]), kind)
        >>> series_from(wrapped).energy_j.tolist()
        [0.0, 25.0, 50.0]

    Source: measurement of stepped counters: Yang, Adamek, Armour, SC 2024, arXiv:2312.02741.
    """
    known = np.isfinite(readings.value)
    if not known.all():
        readings = dataclasses.replace(
            readings,
            t_lo_ns=readings.t_lo_ns[known],
            t_hi_ns=readings.t_hi_ns[known],
            value=readings.value[known],
            kind=readings.kind[known],
        )
    if readings.channel.quantity == "energy_j":
        return _from_counter(readings)
    return _from_power(readings)


def _from_counter(readings: ChannelReadings) -> Series:
    channel, value, kind = readings.channel, readings.value, readings.kind
    t_lo_ns, t_hi_ns = brackets(readings)
    t_ns = knot_times(t_lo_ns, t_hi_ns, kind)
    added_j = np.diff(value)
    gap = (kind[1:] == FIRST) | (np.diff(t_hi_ns) > SILENCE_NS)
    state = np.where(gap, BRIDGED, COVERED).astype(np.uint8)
    limit_w = channel.power_max_w if math.isfinite(channel.power_max_w) else WRAP_POWER_W
    reachable_j = np.diff(t_hi_ns) / NS_PER_S * limit_w
    if channel.wrap_j is None:
        state[added_j < 0] = LOST
        if math.isfinite(channel.power_max_w):  # a counter that came back elsewhere was misread
            aged_j = reachable_j + channel.refresh_ns / NS_PER_S * limit_w
            state[gap & (added_j > LEAP * aged_j)] = LOST
    else:
        wrapped = added_j < 0
        added_j = np.where(wrapped, added_j + channel.wrap_j, added_j)
        aged_j = reachable_j + channel.refresh_ns / NS_PER_S * limit_w
        state[(reachable_j >= channel.wrap_j) | (added_j < 0)] = LOST
        state[wrapped & (added_j > LEAP * aged_j)] = LOST  # it was reset: no power explains a wrap
    added_j = np.where(state == LOST, 0.0, added_j)
    changes = (kind[1:] == CHANGE) & (state == COVERED)
    spacings = np.diff(t_ns)[changes]
    return Series(
        channel=channel,
        t_ns=t_ns,
        t_lo_ns=t_lo_ns,
        t_hi_ns=t_hi_ns,
        energy_j=_cumulative(added_j, len(value)),
        slack_low_j=np.zeros(len(value)),
        slack_high_j=np.zeros(len(value)),
        state=state,
        spacing_ns=int(np.median(spacings)) if len(spacings) else channel.refresh_ns,
    )


def _from_power(readings: ChannelReadings) -> Series:
    """Integrate: a row has two knots, where its value begins to hold and where it was seen.

    A sampled value is the mean of the refresh before it appeared, which was somewhere between the
    read that did not show it yet and the one that did; until that refresh the value before it
    held. The value of a model is the mean between its two times.
    """
    channel, value, kind = readings.channel, readings.value, readings.kind
    count = len(value)
    begun_ns = readings.t_lo_ns
    if channel.trust == "measured":
        middle_ns = (readings.t_lo_ns + readings.t_hi_ns) // 2
        begun_ns = np.where(kind == CHANGE, middle_ns - _refresh_ns(readings), begun_ns)
        begun_ns[1:] = np.maximum(begun_ns[1:], middle_ns[:-1])
    begun_ns = np.maximum.accumulate(begun_ns)
    t_ns = np.empty(2 * count, dtype=np.int64)
    t_ns[0::2], t_ns[1::2] = begun_ns, readings.t_hi_ns
    t_ns[1:-1:2] = np.minimum(t_ns[1:-1:2], begun_ns[1:])
    t_ns = np.maximum.accumulate(t_ns)
    seconds = np.diff(t_ns) / NS_PER_S
    state = np.zeros(max(0, 2 * count - 1), dtype=np.uint8)
    gap = (kind[1:] == FIRST) | (np.diff(readings.t_hi_ns) > SILENCE_NS)
    state[1::2] = np.where(gap, LOST, COVERED)
    added_j = np.where(state == LOST, 0.0, np.repeat(value, 2)[: len(seconds)] * seconds)
    unsure_j = np.zeros_like(added_j)
    if channel.trust == "measured":  # the change came at some moment of all that time
        changed_w = np.where(gap, 0.0, np.abs(np.diff(value)))
        unsure_j[2::2] = changed_w * (readings.t_hi_ns - begun_ns)[1:] / NS_PER_S
    unseen = 1.0 - channel.seen_share
    missed_j = np.where(state == LOST, 0.0, channel.power_max_w * seconds - added_j)
    above_j = unseen * np.maximum(0.0, missed_j) if unseen else 0.0
    return Series(
        channel=channel,
        t_ns=t_ns,
        t_lo_ns=t_ns,
        t_hi_ns=t_ns,
        energy_j=_cumulative(added_j, len(t_ns)),
        slack_low_j=_cumulative(unsure_j + unseen * added_j, len(t_ns)),
        slack_high_j=_cumulative(np.nan_to_num(unsure_j + above_j, nan=np.inf), len(t_ns)),
        state=state,
        spacing_ns=channel.refresh_ns,
    )


def _refresh_ns(readings: ChannelReadings) -> int:
    """Median time between changes that follow one another; its upper bound where none do."""
    bound_ns = readings.channel.refresh_ns
    gaps_ns = np.diff(readings.t_hi_ns)[readings.kind[1:] == CHANGE]
    close_ns = gaps_ns[gaps_ns <= bound_ns]
    return int(np.median(close_ns)) if len(close_ns) else bound_ns


def _cumulative(added: Floats, count: int) -> Floats:
    total = np.zeros(count)
    np.cumsum(added, out=total[1:])
    return total


def covered_energy(series: Series, t_ns: Ns) -> Floats:
    """Covered energy since the first knot, at any moments.

    Args:
        series: Cumulative energy of one channel.
        t_ns: Moments. Shape (m,).

    Returns:
        Joules, non-decreasing in time; constant before the first knot, after the last one and
        inside gaps, so that differences count covered energy only. Shape (m,).
    """
    if len(series.t_ns) == 0:
        return np.zeros(len(t_ns))
    energy_j = _cumulative(series.covered_steps_j, len(series.t_ns))
    return _interpolate(series.t_ns, energy_j, t_ns)


def _interpolate(t_knots_ns: Ns, values: Floats, t_ns: Ns) -> Floats:
    """Linear interpolation that keeps nanoseconds: the origin goes before floats come."""
    origin_ns = int(t_knots_ns[0])
    return np.interp((t_ns - origin_ns) / NS_PER_S, (t_knots_ns - origin_ns) / NS_PER_S, values)


def is_covered(
    series: Series, start_ns: Ns, end_ns: Ns, *, or_elsewhere: bool = False
) -> npt.NDArray[np.bool_]:
    """Whether each span lies wholly in the time that the series covers.

    Args:
        series: Cumulative energy of one channel.
        start_ns: Starts of the spans. Shape (m,).
        end_ns: Their ends. Shape (m,).
        or_elsewhere: Whether time that another reader of the device counts is covered too.

    Returns:
        False where a span begins before the first knot, ends after the last one or touches the
        inside of a gap. Shape (m,).
    """
    if len(series.t_ns) == 0:
        return np.zeros(len(start_ns), dtype=bool)
    open_ = series.state != COVERED
    if or_elsewhere:
        open_ &= series.state != ELSEWHERE
    gap_start_ns, gap_end_ns = series.t_ns[:-1][open_], series.t_ns[1:][open_]

    def crossed(t_ns: Ns) -> Ns:
        """Gap ends passed: even outside gaps, odd inside one."""
        begun = np.searchsorted(gap_start_ns, t_ns, side="left")
        ended = np.searchsorted(gap_end_ns, t_ns, side="right")
        return np.asarray(begun + ended, dtype=np.int64)

    at_start, at_end = crossed(start_ns), crossed(end_ns)
    inside = (start_ns >= series.t_ns[0]) & (end_ns <= series.t_ns[-1])
    known = inside & (at_start == at_end) & (at_start % 2 == 0)
    return np.asarray(known, dtype=np.bool_)


def bridged_energy(series: Series, start_ns: int, end_ns: int) -> float:
    """Energy of the gaps that the counter survived and that end in (start, end], in joules."""
    bridged = series.state == BRIDGED
    ends_ns = series.t_ns[1:][bridged]
    within = (ends_ns > start_ns) & (ends_ns <= end_ns)
    return float(np.diff(series.energy_j)[bridged][within].sum())


def covered_time_ns(series: Series, t_ns: Ns) -> Floats:
    """Covered time since the first knot, at any moments, as ``covered_energy`` counts energy.

    Args:
        series: Cumulative energy of one channel.
        t_ns: Moments. Shape (m,).

    Returns:
        Nanoseconds, non-decreasing in time. Shape (m,).
    """
    if len(series.t_ns) == 0:
        return np.zeros(len(t_ns))
    lengths_ns = np.where(series.state == COVERED, np.diff(series.t_ns), 0)
    return _interpolate(series.t_ns, _cumulative(lengths_ns, len(series.t_ns)), t_ns)


SPANS_LEAST = 100


def power_curve(series: Series, points: int = 2000) -> tuple[Ns, Floats]:
    """Mean power between moments that are evenly spread over the series.

    Args:
        series: Cumulative energy of one channel.
        points: Most points to return.

    Returns:
        Middles of the spans and watts; NaN where a span touches a gap. Shape (≤ points,) each.
    """
    if len(series.t_ns) < 2 or series.t_ns[0] == series.t_ns[-1]:  # noqa: PLR2004 - one interval
        return np.empty(0, dtype=np.int64), np.empty(0)
    # A steady device has few knots: more spans, and the curve still reaches to both of its ends.
    spans = max(1, min(points, max(SPANS_LEAST, len(np.unique(series.t_ns)) - 1)))
    edges_ns = np.linspace(0, series.t_ns[-1] - series.t_ns[0], spans + 1).astype(np.int64)
    edges_ns += series.t_ns[0]
    energy_j = np.diff(covered_energy(series, edges_ns))
    power_w = energy_j / (np.diff(edges_ns) / NS_PER_S)
    known = is_covered(series, edges_ns[:-1], edges_ns[1:])
    return (edges_ns[:-1] + edges_ns[1:]) // 2, np.where(known, power_w, np.nan)
