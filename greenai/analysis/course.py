"""The course of energy between knots: smooth where power is, broken where a mark says why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.knots import NARROW_NS
from greenai.analysis.series import COVERED
from greenai.analysis.stretches import stretches
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.analysis.series import Series
    from greenai.units import Floats, Ns

    Bools = npt.NDArray[np.bool_]

TOGETHER = 0.05
"""Marks within this share of an interval are one: a step's end and the wait for data behind it."""
PLATEAU = 0.06
"""Powers of two neighbouring intervals that differ by no more than this share are one plateau: the
brackets of ±1 ms alone make 2 % of an interval of 100 ms."""
FITS = 0.1
"""A break at the mark must explain the interval's energy to within this share."""


AHEAD = 4
"""Knots after a moment that shape the course of energy around it."""
AHEAD_NS = NS_PER_S
"""A counter that changes seldom is not waited for any longer than this."""


@dataclasses.dataclass(frozen=True, slots=True)
class Course:
    """Covered energy as a function of time: a monotone cubic in each of its intervals.

    Attributes:
        t_ns: Ends of the intervals: the knots, and the marks at which power breaks. Shape (n,).
        energy_j: Covered energy there. Shape (n,).
        begin_w: Power with which each interval begins. Shape (n - 1,).
        end_w: Power with which it ends. Shape (n - 1,).
    """

    t_ns: Ns
    energy_j: Floats
    begin_w: Floats
    end_w: Floats

    def energy_at(self, t_ns: Ns) -> Floats:
        """Covered energy at any moments, in joules; constant outside the knots and inside gaps.

        Args:
            t_ns: Moments. Shape (m,).

        Returns:
            Joules, non-decreasing in time. Shape (m,).
        """
        if len(self.t_ns) < 2:  # noqa: PLR2004 - one interval
            return np.zeros(len(t_ns))
        energy_j = np.empty(len(t_ns))
        for some in stretches(len(t_ns)):
            energy_j[some] = self._energy_at(t_ns[some])
        return energy_j

    def _energy_at(self, t_ns: Ns) -> Floats:
        last = len(self.t_ns) - 2
        at = np.clip(np.searchsorted(self.t_ns, t_ns, side="right") - 1, 0, last)
        length_ns = (self.t_ns[at + 1] - self.t_ns[at]).astype(np.float64)
        passed_ns = np.clip(t_ns - self.t_ns[at], 0, length_ns)
        share = np.divide(passed_ns, length_ns, out=np.ones(len(at)), where=length_ns > 0)
        added_j = self.energy_j[at + 1] - self.energy_j[at]
        seconds = length_ns / NS_PER_S
        rest = 1.0 - share
        bent_j = rest * (self.begin_w[at] * seconds - added_j)
        bent_j -= share * (self.end_w[at] * seconds - added_j)
        return np.asarray(self.energy_j[at] + share * (added_j + rest * bent_j), dtype=np.float64)


def course(series: Series, marks_ns: Ns) -> Course:
    """Find the course of a channel's energy between what its readings say.

    The energy at every knot is what was read, so any sum between knots is exact. In between, a
    counter's power runs smoothly: at a knot it is the weighted harmonic mean of the intervals
    around it, with which energy never falls (Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5,
    1984). Where one mark lies in an interval and power is a plateau on either side, the mark is
    where it changed: the interval is split there in proportion to the two plateaus. A power that
    is integrated is a step function already.

    Args:
        series: Cumulative energy of one channel.
        marks_ns: Moments at which power may change, non-decreasing. Shape (m,).

    Returns:
        The course. Intervals that are not covered add nothing.

    Example:
        >>> import numpy as np
        >>> from greenai.analysis.series import series_from
        >>> from greenai.record.types import ChannelReadings
        >>> from greenai.sensors.base import Channel
        >>> meter = Channel("energy_j", "gpu", "gpu0", "GPU-0", "nvml_energy", "measured", True,
        ...                 refresh_ns=0)
        >>> t_ns = np.arange(6) * 10**8  # 700 W, and 100 W from 230 ms on
        >>> energy_j = np.array([0.0, 70.0, 140.0, 168.0, 178.0, 188.0])
        >>> kind = np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8)
        >>> series = series_from(ChannelReadings(meter, t_ns, t_ns, energy_j, kind))
        >>> marks_ns = np.array([230_000_000])
        >>> course(series, marks_ns).energy_at(marks_ns).round(6).tolist()
        [161.0]
    """
    energy_j = np.zeros(len(series.t_ns))
    np.cumsum(series.covered_steps_j, out=energy_j[1:])
    t_ns = series.t_ns
    covered = series.state == COVERED
    if series.channel.quantity != "energy_j" or len(t_ns) < 2:  # noqa: PLR2004 - one interval
        mean_w = _mean_w(t_ns, energy_j)
        return Course(t_ns, energy_j, mean_w, mean_w)
    split, break_ns, break_j = _breaks(t_ns, energy_j, covered, marks_ns)
    if len(split):
        t_ns = np.insert(t_ns, split + 1, break_ns)
        energy_j = np.insert(energy_j, split + 1, break_j)
        covered = np.insert(covered, split + 1, values=True)
    broken = np.zeros(len(t_ns), dtype=bool)
    broken[split + 1 + np.arange(len(split))] = True
    mean_w = _mean_w(t_ns, energy_j)
    at_knot_w = _smooth_w(np.diff(t_ns).astype(np.float64), mean_w)
    smooth = np.zeros(len(t_ns), dtype=bool)
    smooth[1:-1] = covered[:-1] & covered[1:] & ~broken[1:-1]
    begin_w = np.where(smooth[:-1], at_knot_w[:-1], mean_w)
    end_w = np.where(smooth[1:], at_knot_w[1:], mean_w)
    return Course(t_ns, energy_j, begin_w, end_w)


def final_ns(series: Series) -> int:
    """Up to when no later reading changes the course of a channel's energy.

    A counter's course in one interval depends on the intervals around it, and the moment of a
    change with a wide bracket on the next narrow one; an integrated power holds as it was read.

    Args:
        series: Cumulative energy of one channel, with at least one knot.

    Returns:
        A moment, in nanoseconds; never more than one second before the last knot.
    """
    last_ns = int(series.t_ns[-1])
    if series.channel.quantity != "energy_j":
        return last_ns
    narrow = np.flatnonzero(series.t_hi_ns - series.t_lo_ns <= NARROW_NS)
    final = min(len(series.t_ns) - 1 - AHEAD, int(narrow[-1])) if len(narrow) > 1 else 0
    return max(int(series.t_ns[max(final, 0)]), last_ns - AHEAD_NS)


def _mean_w(t_ns: Ns, energy_j: Floats) -> Floats:
    """Mean power of each interval; 0 where it has no length."""
    length_ns = np.diff(t_ns).astype(np.float64)
    added_j = np.diff(energy_j)
    return np.divide(added_j * NS_PER_S, length_ns, out=np.zeros(len(added_j)), where=length_ns > 0)


def _smooth_w(length_ns: Floats, mean_w: Floats) -> Floats:
    """Power at each knot, from the intervals on its two sides; 0 at the ends."""
    at_knot_w = np.zeros(len(mean_w) + 1)
    before, after = mean_w[:-1], mean_w[1:]
    weight_before = length_ns[:-1] + 2 * length_ns[1:]
    weight_after = 2 * length_ns[:-1] + length_ns[1:]
    weighted = weight_before * after + weight_after * before
    at_knot_w[1:-1] = np.divide(
        (weight_before + weight_after) * before * after,
        weighted,
        out=np.zeros(len(before)),
        where=weighted > 0,
    )
    return at_knot_w


def _breaks(
    t_ns: Ns, energy_j: Floats, covered: Bools, marks_ns: Ns
) -> tuple[npt.NDArray[np.int64], Ns, Floats]:
    """Intervals that one mark splits between two plateaus; the moments and energies of the marks.

    The two intervals before and the two after must be plateaus, and the ones next to it without
    marks, so that nothing else happened there.
    """
    first = np.searchsorted(marks_ns, t_ns[:-1], side="right")
    beyond = np.searchsorted(marks_ns, t_ns[1:], side="left")
    marked = beyond > first
    mean_w = _mean_w(t_ns, energy_j)
    length_ns = np.diff(t_ns)
    at = np.flatnonzero(marked[2:-2] & ~marked[1:-3] & ~marked[3:-1]) + 2
    for offset in (-2, -1, 0, 1, 2):
        at = at[covered[at + offset] & (length_ns[at + offset] > 0)]
    spread_ns = marks_ns[beyond[at] - 1] - marks_ns[first[at]]
    at = at[spread_ns <= TOGETHER * length_ns[at]]
    before_w, after_w = mean_w[at - 1], mean_w[at + 1]
    flat = _close(mean_w[at - 2], before_w) & _close(mean_w[at + 2], after_w)
    break_ns = marks_ns[first[at]]
    before_j = before_w * (break_ns - t_ns[at]) / NS_PER_S
    after_j = after_w * (t_ns[at + 1] - break_ns) / NS_PER_S
    whole_j = energy_j[at + 1] - energy_j[at]
    explained = np.abs(before_j + after_j - whole_j) <= FITS * whole_j
    good = flat & explained & (before_j + after_j > 0)
    at, break_ns = at[good], break_ns[good]
    share = before_j[good] / (before_j[good] + after_j[good])
    return at, break_ns, np.asarray(energy_j[at] + share * whole_j[good], dtype=np.float64)


def _close(one_w: Floats, other_w: Floats) -> Bools:
    close = np.abs(one_w - other_w) <= PLATEAU * np.maximum(one_w, other_w)
    return np.asarray(close, dtype=np.bool_)
