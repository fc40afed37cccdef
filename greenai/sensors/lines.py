"""Values of devices read one by one, each by its own call, so that a fault stays its own."""

from __future__ import annotations

import math
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors.base import Reading
from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenai.sensors.base import Channel

REFRESH_UNKNOWN_NS = 120 * NS_PER_MS
"""Age that a counter's value may have where no document says: the slowest of those that were ever
measured (NVML's) refreshes every 104 ms."""
INFORM_NS = NS_PER_S
"""What only informs is read no more often than this."""
GLITCH = 2.0
"""A counter that rises faster than this many times the greatest power has misread."""
LEAP_W = 20_000.0
"""The same where the greatest power is unknown; interfaces that misread do so by gigawatts."""
RETRY_NS = tuple(seconds * NS_PER_S for seconds in (0, 1, 2, 4, 8, 15, 30, 60))
"""A device that does not answer is asked again at once, then less and less often."""


class Stamped(NamedTuple):
    """A value that comes with the moment it is of.

    Attributes:
        value: In the unit of the channel's quantity.
        t_ns: On the monotonic clock; negative where that moment cannot be told.
    """

    value: float
    t_ns: int


class Line:
    """One channel: its call, when it is due and what it said last.

    Args:
        channel: What the value means.
        call: Reads the value; may say by itself what moment it is of.
        failures: What ``call`` raises where the device does not answer or answers nonsense.
        period_ns: Read no more often than this; 0 at every turn.
    """

    def __init__(
        self,
        channel: Channel,
        call: Callable[[], float | Stamped],
        failures: tuple[type[Exception], ...],
        period_ns: int = 0,
    ) -> None:
        self.channel = channel
        self.due_ns = 0
        self._call = call
        self._failures = failures
        self._period_ns = period_ns
        self._failed = 0
        self._reason = ""
        self._last_j = math.nan
        self._changed_ns = 0

    def is_due(self, now_ns: int) -> bool:
        """Whether the next read shall be made; a failing device repeats its reason until then."""
        return self._period_ns == 0 or self.due_ns <= now_ns

    def read(self, position: int) -> Reading:
        """Read now; NaN with a reason where the device does not answer or the value cannot be."""
        t0_ns = monotonic_ns()
        if self._failed and t0_ns < self.due_ns:
            return Reading(position, t0_ns, t0_ns, math.nan, self._reason)
        try:
            said = self._call()
        except self._failures as error:
            t1_ns = monotonic_ns()
            self.due_ns = t1_ns + RETRY_NS[min(self._failed, len(RETRY_NS) - 1)]
            self._failed += 1
            self._reason = " ".join(str(error).split()) or type(error).__name__
            return Reading(position, t0_ns, t1_ns, math.nan, self._reason)
        t1_ns = monotonic_ns()
        self._failed = 0
        self.due_ns = t1_ns + self._period_ns
        value = float(said.value if isinstance(said, Stamped) else said)
        if isinstance(said, Stamped) and 0 <= t1_ns - said.t_ns <= self._oldest_ns(t1_ns - t0_ns):
            t0_ns = t1_ns = said.t_ns
        glitch = self._glitch(t1_ns, value) if self.channel.quantity == "energy_j" else ""
        return Reading(position, t0_ns, t1_ns, math.nan if glitch else value, glitch)

    def _oldest_ns(self, call_ns: int) -> int:
        """Greatest age of a moment that is believed: another clock's would be years away."""
        return call_ns + self.channel.refresh_ns

    def _glitch(self, t_ns: int, value: float) -> str:
        """Why a counter's value cannot follow the one before; it is the base for the next one.

        Interfaces now and then give 0 or nonsense. Said as a failed read it costs a gap that the
        counter survives; taken as a value it would be a reset and a leap of gigajoules.
        """
        last_j, age_ns = self._last_j, t_ns - self._changed_ns + self.channel.refresh_ns
        if value != last_j:
            self._last_j, self._changed_ns = value, t_ns
        if not math.isfinite(value) or value < 0:
            return f"the counter reads {value}"
        if value < last_j:
            return f"the counter fell from {last_j:.3f} J to {value:.3f} J"
        known = math.isfinite(self.channel.power_max_w)
        limit_w = GLITCH * self.channel.power_max_w if known else LEAP_W
        if value - last_j > limit_w * age_ns / NS_PER_S:
            return f"the counter leapt from {last_j:.3f} J to {value:.3f} J"
        return ""


class LinesSensor:
    """A sensor that is nothing but its lines.

    Args:
        name: Name of the interface.
        lines: What is read, in the order of the channels.
        period_ns: Time between two reads.
        shut: Lets go of the interface; called once.
        first: Readings that were taken while the interface opened.
    """

    def __init__(
        self,
        name: str,
        lines: Sequence[Line],
        period_ns: int,
        shut: Callable[[], None] | None = None,
        first: Sequence[Reading] = (),
    ) -> None:
        self.name = name
        self.period_ns = period_ns
        self.channels = tuple(line.channel for line in lines)
        self._lines = lines
        self._shut = shut
        self._first = list(first)

    def read(self) -> list[Reading]:
        """Read what is due, each between its own two times."""
        first, self._first = self._first, []
        now_ns = monotonic_ns()
        due = [(at, line) for at, line in enumerate(self._lines) if line.is_due(now_ns)]
        return first + [line.read(at) for at, line in due]

    def close(self) -> None:
        """Let go of the interface; a second call does nothing."""
        shut, self._shut = self._shut, None
        if shut is not None:
            shut()
