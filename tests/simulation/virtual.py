"""Time that only passes when somebody sleeps or reads, and a device that lives in it."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING

from simulation.counters import a_channel

from greenai.sensors.base import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors.base import Channel

MS = 1_000_000
US = 1_000
LATE_US = 300
"""A sleep ends up to this much late, as on a real machine."""


class VirtualClock:
    """A clock for whoever takes ``clock_ns`` and ``sleep_s`` as arguments."""

    def __init__(self, seed: int = 0) -> None:
        self.t_ns = 7_000_000_000
        self._random = random.Random(seed)  # noqa: S311 - the same lateness every time

    def clock_ns(self) -> int:
        return self.t_ns

    def sleep_s(self, seconds: float) -> None:
        self.t_ns += max(0, int(seconds * 1e9)) + self._random.randrange(LATE_US * US)


def constant_w(watts: float) -> Callable[[float], float]:
    """Energy since the start, in joules, of a constant power."""
    return lambda t_s: watts * t_s


def sine_w(mean_w: float, swing_w: float, period_s: float) -> Callable[[float], float]:
    """Energy since the start of a mean power with a sine on it."""
    turn = 2 * math.pi / period_s
    return lambda t_s: mean_w * t_s + swing_w / turn * (1 - math.cos(turn * t_s))


@dataclasses.dataclass
class VirtualBoard:
    """A sensor with the counter and the power of one board, both refreshed at the same moments.

    Args:
        clock: Its time.
        energy_j: True energy since the start, a closed function of seconds.
        refresh_ms: How often the values change.
        gain: What the counter shows for a true joule.
        latency_us: How long a read of one channel takes.
        phase: Where in its period the refresh stands at the start, 0 to 1.
        fail_from_s: From this moment on every read fails.
    """

    clock: VirtualClock
    energy_j: Callable[[float], float]
    refresh_ms: float = 100.0
    gain: float = 1.0
    latency_us: float = 40.0
    phase: float = 0.37
    fail_from_s: float = math.inf
    counter: Channel = dataclasses.field(default_factory=a_channel)
    period_ns: int = 20 * MS

    name = "virtual"

    def __post_init__(self) -> None:
        self.start_ns = self.clock.t_ns
        self.reads = 0
        self.closed = False
        power = dataclasses.replace(
            self.counter, quantity="power_w", method="virtual_power", primary=False
        )
        self.channels = (self.counter, power)

    def now_s(self) -> float:
        return (self.clock.t_ns - self.start_ns) / 1e9

    def refreshed_s(self) -> float:
        """Moment of the latest refresh."""
        period_s, shift_s = self.refresh_ms / 1e3, self.phase * self.refresh_ms / 1e3
        return math.floor((self.now_s() - shift_s) / period_s) * period_s + shift_s

    def counter_j(self) -> float:
        """What the counter shows: whole millijoules, wrapped."""
        shown_j = math.floor((1000 + self.gain * self.energy_j(self.refreshed_s())) * 1e3) / 1e3
        return shown_j % self.counter.wrap_j if self.counter.wrap_j else shown_j

    def instant_w(self) -> float:
        """Mean power of the latest refresh period."""
        end_s, period_s = self.refreshed_s(), self.refresh_ms / 1e3
        return (self.energy_j(end_s) - self.energy_j(end_s - period_s)) / period_s

    def read(self) -> list[Reading]:
        self.reads += 1
        return [self._reading(0, self.counter_j), self._reading(1, self.instant_w)]

    def close(self) -> None:
        self.closed = True

    def _reading(self, position: int, value: Callable[[], float]) -> Reading:
        t0_ns = self.clock.t_ns
        read = value()
        self.clock.t_ns += int(self.latency_us * US)
        if self.now_s() >= self.fail_from_s:
            return Reading(position, t0_ns, self.clock.t_ns, math.nan, "GPU is lost")
        return Reading(position, t0_ns, self.clock.t_ns, read)
