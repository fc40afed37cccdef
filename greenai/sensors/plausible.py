"""Whether a reading can be: misreads of a counter are told from its resets, glitches of a power.

Some drivers now and then give 0 or nonsense (Zeus warns of zeros below 50 ms; Level Zero of
near-zeros). Taken as a value, a counter's 0 would be a reset and the next value a leap of
gigajoules; said as a failed read it costs a gap that the counter survives.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from greenai.units import NS_PER_S

RISE = 2.0
"""A counter that rises faster than this many times the greatest power has misread."""
POWER = 1.25
"""A power over 25 ms or more is never this many times the greatest power."""
UNKNOWN_W = 10_000.0
"""More than any board or module draws: the greatest power where nobody knows it."""
SETTLED_NS = NS_PER_S
SETTLED_RISES = 2
"""A counter that has started anew is believed when it has risen this often in this time: a
misread value stands still or goes away."""


class _Course(NamedTuple):
    """A counter's way so far: where it is, since when, where it began and how often it rose."""

    value_j: float
    changed_ns: int
    begun_ns: int
    rises: int = 0


class Plausible:
    """Judges the values of one energy counter, in the order in which they are read.

    Args:
        power_max_w: Greatest power of the device; NaN where nobody knows.
        refresh_ns: A value may be this old when it is read.

    Example:
        >>> counter = Plausible(power_max_w=800.0, refresh_ns=100_000_000)
        >>> counter.doubt(0, 5000.0), counter.doubt(100_000_000, 5070.0)
        ('', '')
        >>> counter.doubt(200_000_000, 0.0)
        'the counter fell from 5070.000 J to 0.000 J'
        >>> counter.doubt(300_000_000, 5210.0)
        ''
    """

    def __init__(self, power_max_w: float, refresh_ns: int) -> None:
        limit_w = UNKNOWN_W if math.isnan(power_max_w) else power_max_w
        self._limit_j_per_ns = RISE * limit_w / NS_PER_S
        self._refresh_ns = refresh_ns
        self._good: _Course | None = None
        self._doubted: _Course | None = None

    def doubt(self, t_ns: int, value_j: float) -> str:
        """Why a value cannot follow those before it; empty where it can.

        A doubted value is followed too: where the counter goes on from there for a second, it
        has been reset and is believed again.
        """
        if self._good is None or self._can_follow(self._good, t_ns, value_j):
            self._good = _moved(self._good, t_ns, value_j)
            self._doubted = None
            return ""
        known = self._doubted is not None and self._can_follow(self._doubted, t_ns, value_j)
        self._doubted = _moved(self._doubted if known else None, t_ns, value_j)
        settled = t_ns - self._doubted.begun_ns >= SETTLED_NS
        if settled and self._doubted.rises >= SETTLED_RISES:
            self._good, self._doubted = self._doubted, None
            return ""
        last_j = self._good.value_j
        verb = "fell" if value_j < last_j else "leapt"
        return f"the counter {verb} from {last_j:.3f} J to {value_j:.3f} J"

    def _can_follow(self, course: _Course, t_ns: int, value_j: float) -> bool:
        age_ns = t_ns - course.changed_ns + self._refresh_ns
        return 0 <= value_j - course.value_j <= self._limit_j_per_ns * age_ns


def _moved(course: _Course | None, t_ns: int, value_j: float) -> _Course:
    if course is None:
        return _Course(value_j, t_ns, t_ns)
    if value_j == course.value_j:
        return course
    return _Course(value_j, t_ns, course.begun_ns, course.rises + 1)


def doubt_power(power_w: float, power_max_w: float) -> str:
    """Why a power cannot be; empty where it can.

    Args:
        power_w: What was read of a device that is on.
        power_max_w: Greatest power of the device; NaN where nobody knows.

    Example:
        >>> doubt_power(310.0, 840.0), doubt_power(0.0, 840.0), doubt_power(3100.0, 840.0)
        ('', 'the power reads 0.000 W', 'the power reads 3100.000 W')
    """
    limit_w = UNKNOWN_W if math.isnan(power_max_w) else power_max_w
    can_be = 0 < power_w <= POWER * limit_w
    return "" if can_be else f"the power reads {power_w:.3f} W"
