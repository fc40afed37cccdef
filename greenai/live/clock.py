"""The run's clock: one monotonic clock for both processes, tied to UTC and boot time by anchors."""

from __future__ import annotations

import time
from time import monotonic_ns

from greenai.record.types import Anchor

CLOCK = "time.monotonic_ns"
"""Named in the manifest; CLOCK_MONOTONIC has one zero for all processes of a host."""

_HAS_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")

__all__ = ["CLOCK", "anchor", "monotonic_ns"]


def anchor() -> Anchor:
    """Read the three clocks of this moment.

    The monotonic clock is read before and after the other two and the middle is taken, so that
    a thread switch between the reads shows at most by half.

    Returns:
        Nanoseconds on the monotonic clock, since 1970 UTC and since boot. Where the system has
        no boot-time clock (macOS) the monotonic value stands in: a suspension is then not seen.
    """
    before_ns = monotonic_ns()
    utc_ns = time.time_ns()
    boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if _HAS_BOOTTIME else None
    middle_ns = (before_ns + monotonic_ns()) // 2
    return Anchor(middle_ns, utc_ns, middle_ns if boottime_ns is None else boottime_ns)
