"""How far a channel's energy is booked already, in joules: the rest follows, once and whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import BRIDGED

if TYPE_CHECKING:
    from greenai.analysis.course import Course
    from greenai.analysis.series import Series
    from greenai.units import Floats, Ns


class Booked:
    """Energy of one channel that is booked, and the moment up to which it is.

    Where reads come late, a later row still moves the course of energy before it, also of time
    that is booked. What a counter says is exact, so what is left to book is the difference of
    energies, whatever moment they belong to: nothing is lost and nothing counted twice.

    Example:
        >>> Booked().until_ns
        0
    """

    def __init__(self) -> None:
        self.until_ns = 0
        """Moment up to which energy is booked; 0 before anything is."""
        self._until_j = math.nan
        self._bridged_j = 0.0
        self._covered_knots_j = np.zeros(1)
        self._bridged_knots_j = np.zeros(1)

    def book(self, one: Series, run: Course, edges_ns: Ns) -> tuple[float, Floats]:
        """Book what is new.

        Args:
            one: The channel's series, from its first row that is still kept.
            run: Course of its energy.
            edges_ns: Edges of the segments that are settled now. Shape (n + 1,).

        Returns:
            Joules that belong to no segment: of bridged gaps, and of time that was settled while
            the device was silent; where in that time is not asked any more. And joules of each
            segment; what a later row tells of booked time is in the first. Shape (n,).
        """
        begin_ns, end_ns = int(edges_ns[0]), int(edges_ns[-1])
        booked_ns = min(self.until_ns or begin_ns, begin_ns)
        is_counter = one.channel.quantity == "energy_j"
        if math.isnan(self._until_j) or not is_counter:  # an integrated power stays as it was read
            self._until_j = float(run.energy_at(np.array([booked_ns]))[0])
        energy_j = np.maximum(run.energy_at(edges_ns), self._until_j)
        late_j = float(energy_j[0]) - self._until_j
        if booked_ns == begin_ns:
            late_j, energy_j[0] = 0.0, self._until_j
        self.until_ns = min(end_ns, int(one.t_ns[-1])) if len(one.t_ns) else booked_ns
        if not len(one.t_ns):
            self._until_j = math.nan
            return 0.0, np.zeros(len(edges_ns) - 1)
        self._until_j = float(energy_j[-1])
        bridges_j = np.where(one.state == BRIDGED, np.diff(one.energy_j), 0.0)
        self._covered_knots_j = np.append(0.0, np.cumsum(one.covered_steps_j))
        self._bridged_knots_j = np.append(0.0, np.cumsum(bridges_j))
        passed = int(np.searchsorted(one.t_ns, end_ns, side="right")) - 1
        bridged_j = max(self._bridged_j, float(self._bridged_knots_j[max(0, passed)]))
        late_j += bridged_j - self._bridged_j
        self._bridged_j = bridged_j
        return late_j, np.diff(energy_j)

    def forget(self, rows: int) -> None:
        """Count from a later row of a counter: so many readable rows before it are dropped."""
        at = min(rows, len(self._covered_knots_j) - 1)
        self._until_j -= float(self._covered_knots_j[at])
        self._bridged_j -= float(self._bridged_knots_j[at])
