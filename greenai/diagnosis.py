"""What the readings of one channel tell of it: refresh, latency, power, noise; pure functions."""

from __future__ import annotations

import dataclasses
import itertools
import math
from statistics import fmean, median, quantiles, stdev
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.examination import Poll
    from greenai.sensors import Channel

Verdict = Literal["agree", "differ", "too short to tell"]

ENOUGH = 3
"""Fewer changes than this have no spread."""
ENOUGH_TO_CHECK = 5
"""A counter is compared with power over no fewer changes and reads, and no less than a second."""
CHECK_S = 1.0
DIFFER_PERCENT = 5.0
"""A counter further than this from the integral of power is flagged: one of the two is wrong."""
NOISE_NS = 50 * NS_PER_MS
"""Power between changes is taken over at least this long, or the dating of the changes is all
that one sees."""
WIDE = 1.5
"""A bracket this many times as wide as usual dates a change badly."""
FLAT_VARIANCE = 1 / 12
"""Variance of a moment that may lie anywhere in a bracket one unit wide."""
NS_PER_US = 1_000
P95 = 18
"""Position of the 95th percentile among the cuts into twentieths; that of the 5th is 0."""


class Seen(NamedTuple):
    """A good reading.

    Attributes:
        t0_ns: Moment before the value was read, or start of the span it is the mean of.
        t1_ns: Moment after it, or end of that span.
        value: Counters are unwrapped.
        in_call: Whether both moments lie within the call, so that they time it.
    """

    t0_ns: int
    t1_ns: int
    value: float
    in_call: bool


class Change(NamedTuple):
    """A new value, and the bracket in which it appeared."""

    low_ns: int
    high_ns: int
    value: float

    @property
    def moment_ns(self) -> float:
        """Middle of the bracket."""
        return (self.low_ns + self.high_ns) / 2

    @property
    def width_ns(self) -> int:
        """Width of the bracket."""
        return self.high_ns - self.low_ns


@dataclasses.dataclass(frozen=True, slots=True)
class Vitals:
    """Measured facts of one channel; NaN where the examination was too short, or nothing tells.

    Attributes:
        reads: Good readings.
        failed_reads: The others.
        reason: Why the latest of those failed; empty where none did.
        latency_p50_us: Median time that a read takes, in microseconds.
        latency_p95_us: 95th percentile of it.
        refresh_changes: How many new values were seen.
        refresh_resolved: False where nearly every read gave a new value: ``refresh_ms`` is then
            the time between reads, and the device may be faster.
        refresh_ms: Median time between new values.
        refresh_p5_ms: 5th percentile of it.
        refresh_p95_ms: 95th percentile of it.
        refresh_dating_ms: Median half width of the brackets in which new values appeared; a
            spread of the refresh that is no wider says nothing of the device.
        power_w: Mean power over the examination.
        noise_w: Standard deviation of power between changes at least 50 ms apart.
        noise_dating_w: What of that the dating of the changes explains by itself.
    """

    reads: int = 0
    failed_reads: int = 0
    reason: str = ""
    latency_p50_us: float = math.nan
    latency_p95_us: float = math.nan
    refresh_changes: int = 0
    refresh_resolved: bool = False
    refresh_ms: float = math.nan
    refresh_p5_ms: float = math.nan
    refresh_p95_ms: float = math.nan
    refresh_dating_ms: float = math.nan
    power_w: float = math.nan
    noise_w: float = math.nan
    noise_dating_w: float = math.nan


@dataclasses.dataclass(frozen=True, slots=True)
class CrossCheck:
    """A counter against the integral of power over the same time.

    Attributes:
        percent: How much more the counter says, in percent of the integral; NaN if too short.
        uncertainty_percent: 95 % of chance differences are smaller (two standard deviations).
        verdict: ``differ`` where they are more than 5 % apart beyond chance, ``agree`` where
            they surely are not, else ``too short to tell``.
    """

    percent: float
    uncertainty_percent: float
    verdict: Verdict


def seen_of(polls: Sequence[Poll], position: int, channel: Channel) -> list[Seen]:
    """Good readings of one channel; a counter's wraps are added up, before a reset is forgotten.

    Args:
        polls: Calls of the sensor's ``read``.
        position: Of the channel among the sensor's.
        channel: What its values mean.

    Returns:
        In the order of the calls.
    """
    seen: list[Seen] = []
    turns_j = 0.0
    for call in polls:
        for one in call.readings:
            if one.channel != position or one.reason or not math.isfinite(one.value):
                continue
            value = one.value + turns_j
            if channel.quantity == "energy_j" and seen and value < seen[-1].value:
                if channel.wrap_j is None:
                    seen.clear()
                else:
                    turns_j += channel.wrap_j
                    value += channel.wrap_j
            in_call = call.t0_ns <= one.t0_ns and one.t1_ns <= call.t1_ns
            seen.append(Seen(one.t0_ns, one.t1_ns, value, in_call))
    return seen


def vitals(polls: Sequence[Poll], position: int, channel: Channel) -> Vitals:
    """Measured facts of one channel of energy or power.

    Args:
        polls: Calls of the sensor's ``read``.
        position: Of the channel among the sensor's.
        channel: What its values mean.

    Returns:
        The facts; NaN where there is too little to tell.

    Example:
        >>> from greenai.examination import Poll
        >>> from greenai.sensors import Channel, Reading
        >>> counter = Channel("energy_j", "gpu", "gpu0", "GPU-1", "m", "measured", True, 10**8)
        >>> polls = []
        >>> for k in range(400):  # every 5 ms for 2 s: 75 W, refreshed every 100 ms
        ...     t_ns = k * 5_000_000
        ...     value = Reading(0, t_ns, t_ns + 20_000, k // 20 * 7.5)
        ...     polls.append(Poll(t_ns, t_ns + 20_000, [value]))
        >>> found = vitals(polls, 0, counter)
        >>> found.refresh_ms, round(found.power_w, 6), found.latency_p50_us
        (100.0, 75.0, 20.0)
    """
    failures = [
        one.reason or "not a number"
        for call in polls
        for one in call.readings
        if one.channel == position and (one.reason or not math.isfinite(one.value))
    ]
    seen = seen_of(polls, position, channel)
    counter = channel.quantity == "energy_j"
    found = changes(seen, channel.refresh_ns)
    latencies_us = [(one.t1_ns - one.t0_ns) / NS_PER_US for one in seen if one.in_call]
    facts = Vitals(
        reads=len(seen),
        failed_reads=len(failures),
        reason=failures[-1] if failures else "",
        latency_p50_us=median(latencies_us) if latencies_us else math.nan,
        latency_p95_us=_p5_p95(latencies_us)[1],
        refresh_changes=len(found),
        refresh_resolved=bool(found) and 2 * len(found) < len(seen),
        power_w=_counted_w(well_dated(found)) if counter else _mean_w(seen),
    )
    if channel.trust != "measured":  # a model has no refresh, and what it scatters is no noise
        return facts
    gaps_ms = [
        (after.moment_ns - before.moment_ns) / NS_PER_MS
        for before, after in itertools.pairwise(found)
    ]
    low_ms, high_ms = _p5_p95(gaps_ms)
    dated = well_dated(found)
    noise_w, dating_w = _noise(dated if counter else found, counter=counter)
    return dataclasses.replace(
        facts,
        refresh_ms=median(gaps_ms) if len(found) >= ENOUGH else math.nan,
        refresh_p5_ms=low_ms,
        refresh_p95_ms=high_ms,
        refresh_dating_ms=median(one.width_ns for one in found) / 2 / NS_PER_MS
        if found
        else math.nan,
        noise_w=noise_w,
        noise_dating_w=dating_w,
    )


def changes(seen: Sequence[Seen], oldest_ns: int) -> list[Change]:
    """New values, each in the bracket in which it must have appeared.

    Args:
        seen: Good readings.
        oldest_ns: Upper bound on the age of a value when it is read (``Channel.refresh_ns``).

    Returns:
        A bracket begins at the last read of the old value, or where that is longer ago, at the
        greatest age of the new one.
    """
    return [
        Change(max(before.t0_ns, after.t0_ns - oldest_ns), after.t1_ns, after.value)
        for before, after in itertools.pairwise(seen)
        if after.value != before.value
    ]


def well_dated(found: Sequence[Change]) -> list[Change]:
    """Changes in brackets of the usual width: a late wake dates one badly, and no joule is lost."""
    usual_ns = median(one.width_ns for one in found) if found else 0
    return [one for one in found if one.width_ns <= WIDE * usual_ns]


def cross_check(counter: Sequence[Change], power: Sequence[Seen]) -> CrossCheck:
    """Compare the joules of a counter with the integral of power.

    The counter tells the joules between its first and its last new value; power is taken as
    constant from read to read. Chance is what the dating of those two values and the scatter of
    power between refreshes can do.

    Args:
        counter: New values of the counter, in joules.
        power: Good readings of power of the same device, in watts.

    Returns:
        The difference with its uncertainty and a verdict.

    Example:
        >>> cross_check([], []).verdict
        'too short to tell'
    """
    dated = well_dated(counter)
    if len(dated) < ENOUGH_TO_CHECK:
        return CrossCheck(math.nan, math.nan, "too short to tell")
    first, last = dated[0], dated[-1]
    covered = [one for one in power if first.moment_ns <= one.t1_ns <= last.moment_ns]
    span_s = (last.moment_ns - first.moment_ns) / NS_PER_S
    mean_w = _mean_w(covered)
    if len(covered) < ENOUGH_TO_CHECK or span_s < CHECK_S or not mean_w > 0:
        return CrossCheck(math.nan, math.nan, "too short to tell")
    ratio = (last.value - first.value) / span_s / mean_w
    refreshes = min(len(counter), len(covered))
    scatter = stdev(one.value for one in covered) / math.sqrt(refreshes) / mean_w
    dating = _dating_ns(first, last) / NS_PER_S / span_s
    percent, uncertainty = 100 * (ratio - 1), 200 * math.hypot(scatter, dating)
    verdict: Verdict = "too short to tell"
    if abs(percent) - uncertainty > DIFFER_PERCENT:
        verdict = "differ"
    elif abs(percent) + uncertainty <= DIFFER_PERCENT:
        verdict = "agree"
    return CrossCheck(percent, uncertainty, verdict)


def _counted_w(found: Sequence[Change]) -> float:
    """Power between the first and the last new value: the age of what came before is unknown."""
    if len(found) < 2:  # noqa: PLR2004 - a difference needs two
        return math.nan
    span_s = (found[-1].moment_ns - found[0].moment_ns) / NS_PER_S
    return (found[-1].value - found[0].value) / span_s


def _mean_w(seen: Sequence[Seen]) -> float:
    """Mean weighted by time: of a span its own length, else the time since the read before."""
    if not seen:
        return math.nan
    spans_ns = [
        one.t1_ns - (before.t1_ns if one.in_call else one.t0_ns)
        for before, one in itertools.pairwise([seen[0], *seen])
    ]
    if sum(spans_ns) <= 0:
        return fmean(one.value for one in seen)
    return fmean((one.value for one in seen), spans_ns)


def _noise(found: Sequence[Change], *, counter: bool) -> tuple[float, float]:
    """Standard deviation of power between changes, and the part that dating explains."""
    if not counter:
        enough = len(found) >= ENOUGH
        return (stdev(one.value for one in found) if enough else math.nan), math.nan
    watts: list[float] = []
    dating: list[float] = []
    start: Change | None = None
    for one in found:
        if start is None:
            start = one
        span_ns = one.moment_ns - start.moment_ns
        if span_ns >= NOISE_NS:
            watts.append((one.value - start.value) / span_ns * NS_PER_S)
            dating.append(_dating_ns(start, one) / span_ns)
            start = one
    if len(watts) < ENOUGH:
        return math.nan, math.nan
    return stdev(watts), abs(fmean(watts)) * math.sqrt(fmean(part**2 for part in dating))


def _dating_ns(first: Change, last: Change) -> float:
    """Standard deviation of the time between two changes, anywhere in their brackets."""
    return math.hypot(first.width_ns, last.width_ns) * math.sqrt(FLAT_VARIANCE)


def _p5_p95(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < ENOUGH:
        return math.nan, math.nan
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[P95]
