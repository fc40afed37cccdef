"""A card with a queue, in virtual time: its work, its events and its meter, exactly known."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np
from simulation.virtual import VirtualBoard, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

LAUNCH_NS = 3_000
"""What the host pays to queue a unit of work."""
EVENT_NS = 2_000
WINDOW = 0.25
"""A part-time meter sees this share of each refresh period, its end."""


class VirtualCard:
    """Works off units in their order.

    Args:
        clock: Its time.
        unit_s: How long a unit of heavy work takes.
        rest_w: Power without work.
        work_w: Power with it.
        drift_ppm: How much faster its clock runs than the host's.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        unit_s: float = 1e-3,
        rest_w: float = 90.0,
        work_w: float = 600.0,
        drift_ppm: float = 0.0,
    ) -> None:
        self.unit_s = unit_s
        self.rest_w = rest_w
        self.work_w = work_w
        self._clock = clock
        self._drift = 1 + drift_ppm * 1e-6
        self._start_ns = clock.t_ns
        self._until_s = 0.0
        self._starts_s = [0.0]
        self._ends_s = [0.0]
        self._before_s = [0.0]
        """Busy time before each span of work."""

    def now_s(self) -> float:
        return (self._clock.t_ns - self._start_ns) / 1e9

    def heavy(self, units: int) -> None:
        self._clock.t_ns += LAUNCH_NS * units
        start_s = max(self.now_s(), self._until_s)
        self._until_s = start_s + units * self.unit_s
        self._before_s.append(self._before_s[-1] + self._ends_s[-1] - self._starts_s[-1])
        self._starts_s.append(start_s)
        self._ends_s.append(self._until_s)

    def event(self) -> float:
        self._clock.t_ns += EVENT_NS
        return max(self.now_s(), self._until_s)

    def passed(self, event: float) -> bool:
        return self.now_s() >= event

    def elapsed_ms(self, first: float, last: float) -> float:
        return float(np.float32((last - first) * 1e3 * self._drift))

    def synchronize(self) -> None:
        self._clock.t_ns += max(0, int((self._until_s - self.now_s()) * 1e9))

    def stream(self) -> str:
        return "the only one"

    def capturing(self) -> bool:
        return False

    def energy_j(self, t_s: float) -> float:
        """True energy since the start."""
        last = bisect_right(self._starts_s, t_s) - 1
        if last < 0:
            return self.rest_w * t_s
        busy_s = self._before_s[last] + min(t_s, self._ends_s[last]) - self._starts_s[last]
        return self.rest_w * t_s + (self.work_w - self.rest_w) * busy_s


class VirtualMeter:
    """What the board of a card tells.

    Args:
        clock: Its time.
        energy_j: True energy.
        part_time: Whether the counter, too, sees a part of each refresh period alone.
        refresh_ms: How often the values change.
        latency_ns: How long a call takes.
    """

    def __init__(
        self,
        clock: VirtualClock,
        energy_j: Callable[[float], float],
        *,
        part_time: bool = False,
        refresh_ms: float = 100.0,
        latency_ns: int = 40_000,
        gain: float = 1.0,
    ) -> None:
        self._clock = clock
        self._energy_j = energy_j
        self._part_time = part_time
        self._latency_ns = latency_ns
        self._board = VirtualBoard(clock, self._as_seen_j, refresh_ms=refresh_ms, gain=gain)
        self._period_s = refresh_ms / 1e3
        self._seen_j = [0.0]

    def energy_j(self) -> float:
        return self._answer(self._board.counter_j())

    def instant_w(self) -> float:
        end_s, window_s = self._board.refreshed_s(), WINDOW * self._period_s
        return self._answer((self._energy_j(end_s) - self._energy_j(end_s - window_s)) / window_s)

    def plain_w(self) -> float:
        return self._answer(float("nan"))

    def _answer(self, value: float) -> float:
        self._clock.t_ns += self._latency_ns
        return value

    def _as_seen_j(self, t_s: float) -> float:
        """Energy as the counter adds it up until a refresh."""
        if not self._part_time:
            return self._energy_j(t_s)
        refresh = max(0, round((t_s - 0.37 * self._period_s) / self._period_s))
        while len(self._seen_j) <= refresh:
            end_s = (len(self._seen_j) + 0.37) * self._period_s
            part_j = self._energy_j(end_s) - self._energy_j(end_s - WINDOW * self._period_s)
            self._seen_j.append(self._seen_j[-1] + part_j / WINDOW)
        return self._seen_j[refresh]
