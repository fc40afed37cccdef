"""When a counter reached its values: the moments of its knots within their brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from greenai.record.types import CHANGE
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.record.types import ChannelReadings
    from greenai.units import Ns

NARROW_NS = 8 * NS_PER_MS
"""A change bracketed as narrowly as this dates itself; a wider one is dated by those around it."""
GRACE = 0.02
"""A refresh that seems to lie this share of itself after a read may have come before it."""
SLOWER = 1.2
"""A value may be this many refreshes old, as refreshes come a little early and a little late."""


def brackets(readings: ChannelReadings) -> tuple[Ns, Ns]:
    """Moments between which the counter's energy was what each row says.

    The value of a first row, or of one that only confirms, was refreshed at an unknown moment: it
    may be as old as one refresh. The refresh is the channel's bound, or longer where the record
    shows it.

    Args:
        readings: Rows of one counter.

    Returns:
        Starts and ends, in nanoseconds. Shape (n,) each.
    """
    t_lo_ns, t_hi_ns = readings.t_lo_ns, readings.t_hi_ns
    aged = readings.kind != CHANGE
    if not aged.any():
        return t_lo_ns, t_hi_ns
    refresh_ns = np.maximum(readings.channel.refresh_ns, _shown_refresh_ns(readings))
    return np.where(aged, t_lo_ns - refresh_ns, t_lo_ns), t_hi_ns


def knot_times(t_lo_ns: Ns, t_hi_ns: Ns, kind: npt.NDArray[np.uint8]) -> Ns:
    """Best estimate of the moment at which each row's energy was reached.

    That is the middle of a narrow bracket. Where a read came late, or was the first, the bracket is
    wide; as drivers refresh periodically, its moment is then the one that keeps step with the
    nearest narrow ones, within the bracket. Only neighbours and the median refresh decide, so that
    a part of a record gives the moments of the whole, but for the odd one.

    Args:
        t_lo_ns: Starts of the brackets. Shape (n,).
        t_hi_ns: Their ends. Shape (n,).
        kind: CHANGE, FIRST or STILL. Shape (n,).

    Returns:
        Nanoseconds, non-decreasing. Shape (n,).

    Example:
        >>> import numpy as np
        >>> low_ms, high_ms = np.array([-99, 99, 120, 299, 399]), np.array([30, 101, 280, 301, 401])
        >>> times_ns = knot_times(low_ms * 10**6, high_ms * 10**6, np.array([1, 0, 0, 0, 0]))
        >>> (times_ns // 10**6).tolist()
        [0, 100, 200, 300, 400]
    """
    middle_ns = (t_lo_ns + t_hi_ns) // 2
    narrow = np.flatnonzero((kind == CHANGE) & (t_hi_ns - t_lo_ns <= NARROW_NS))
    wide = np.flatnonzero((kind != CHANGE) | (t_hi_ns - t_lo_ns > NARROW_NS))
    adjacent = narrow[:-1][np.diff(narrow) == 1]
    if len(adjacent) and len(wide):
        refresh_ns = float(np.median(middle_ns[adjacent + 1] - middle_ns[adjacent]))
        at = np.searchsorted(narrow, wide)
        low_ns = middle_ns[narrow[np.maximum(at - 1, 0)]]
        high_ns = middle_ns[narrow[np.minimum(at, len(narrow) - 1)]]
        # Between two narrow changes whole refreshes have passed; outside of them one is the step.
        count = np.maximum(1, np.rint((high_ns - low_ns) / refresh_ns))
        step_ns = np.where(high_ns > low_ns, (high_ns - low_ns) / count, refresh_ns)
        passed = np.floor((t_hi_ns[wide] - low_ns) / step_ns + GRACE)
        moment_ns = (low_ns + passed * step_ns).astype(np.int64)
        middle_ns = middle_ns.copy()
        middle_ns[wide] = np.clip(moment_ns, t_lo_ns[wide], t_hi_ns[wide])
    return np.asarray(np.maximum.accumulate(middle_ns), dtype=np.int64)


def _shown_refresh_ns(readings: ChannelReadings) -> int:
    """Longest time between the first narrow changes; 0 where there are none."""
    width_ns = readings.t_hi_ns - readings.t_lo_ns
    narrow = np.flatnonzero((readings.kind == CHANGE) & (width_ns <= NARROW_NS))[:4]
    neighbours = narrow[:-1][np.diff(narrow) == 1]
    if not len(neighbours):
        return 0
    gaps_ns = readings.t_hi_ns[neighbours + 1] - readings.t_lo_ns[neighbours]
    return int(SLOWER * gaps_ns.max())
