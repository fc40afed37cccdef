"""Moments at which the machine was suspended: the boot-time clock ran on, the run's clock stood."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import BRIDGED, COVERED, LOST, Series
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.record.types import Anchor
    from greenai.units import Ns

JUMP_NS = NS_PER_S // 2
"""The two clocks of an anchor are read one after the other: a thread that had to wait between them
makes a jump of its waiting time. No suspension is as short as this."""


def suspensions_ns(anchors: tuple[Anchor, ...]) -> Ns:
    """Spans of the run's clock in which the machine was suspended.

    Args:
        anchors: Clock anchors in time order, one a second or so.

    Returns:
        First and last moment between which the machine was suspended, and for how long it was, in
        nanoseconds. Shape (n, 3).

    Example:
        >>> from greenai.record.types import Anchor
        >>> s = 10**9
        >>> suspensions_ns((Anchor(1 * s, 0, 1 * s), Anchor(2 * s, 0, 62 * s))).tolist()
        [[1000000000, 2000000000, 60000000000]]
    """
    run_ns = np.array([anchor.monotonic_ns for anchor in anchors], dtype=np.int64)
    boot_ns = np.array([anchor.boottime_ns for anchor in anchors], dtype=np.int64)
    stood_ns = np.diff(boot_ns - run_ns)
    at = np.flatnonzero(stood_ns > JUMP_NS)
    return np.column_stack([run_ns[at], run_ns[at + 1], stood_ns[at]])


def parted_at(series: Series, suspended_ns: Ns) -> Series:
    """Make a gap of each suspension: what a device used in that time belongs to no step.

    The energy of a counter that survived is kept, as in any gap; of integrated power nothing is
    known there. The gap is as wide as the anchors around it are apart, at most a second or so.

    Args:
        series: Cumulative energy of one channel.
        suspended_ns: As from ``suspensions_ns``. Shape (n, 3).
    """
    if len(suspended_ns) == 0 or len(series.t_ns) == 0:
        return series
    begun = np.searchsorted(suspended_ns[:, 0], series.t_ns[1:], side="left")
    ended = np.searchsorted(suspended_ns[:, 1], series.t_ns[:-1], side="right")
    across = (begun > ended) & (series.state == COVERED)
    is_counter = series.channel.quantity == "energy_j"
    state = np.where(across, BRIDGED if is_counter else LOST, series.state).astype(np.uint8)
    added_j = np.where(state == LOST, 0.0, np.diff(series.energy_j))
    energy_j = np.concatenate(([0.0], np.cumsum(added_j)))
    return dataclasses.replace(series, state=state, energy_j=energy_j)
