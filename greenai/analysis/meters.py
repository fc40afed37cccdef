"""Energy of meters of the whole machine while a run goes on: shown beside the sum, never in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenai.analysis.node import GAP_SPACINGS, NODE
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenai.sensors.base import Channel

USUAL_NS = 10 * NS_PER_S
"""A meter that says its values stay valid for less is still not given up before four of these."""


class RunningMeters:
    """Sums what each meter of the machine has seen since its first value.

    A power is a mean over the time since the value before it, as in ``meter_energy``. Over a gap a
    counter tells what was used and a power does not: that part is in no sum. A meter that is silent
    for as long as a gap has no energy to show until it speaks again.

    Example:
        >>> from greenai.sensors.base import Channel
        >>> meter = Channel("power_w", "other", "node-ipmi", "h/node-ipmi", "ipmi_dcmi",
        ...                 "measured", False, refresh_ns=10**10, scope="node")
        >>> running = RunningMeters()
        >>> running.feed([(0, 0, t_s * 10**9, 400.0, 0) for t_s in (0, 10, 20)], [meter])
        >>> running.energy_j(25 * 10**9), running.energy_j(90 * 10**9)
        ({'ipmi_dcmi': 8000.0}, {})
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, float]] = {}
        self._sums_j: dict[int, float] = {}
        self._channels: Sequence[Channel] = ()

    def feed(
        self, readings: Iterable[tuple[int, int, int, float, int]], channels: Sequence[Channel]
    ) -> None:
        """Take new rows of any channels.

        Args:
            readings: ``(channel, t_lo_ns, t_hi_ns, value, kind)``, in the order of time.
            channels: All channels known so far.
        """
        self._channels = channels
        for position, _, t_ns, value, _ in readings:
            channel = channels[position]
            if channel.scope != NODE or channel.primary or not math.isfinite(value):
                continue
            before = self._last.get(position)
            self._last[position] = (t_ns, value)
            if before is None:
                self._sums_j[position] = 0.0
            elif channel.quantity == "energy_j":
                self._sums_j[position] += max(0.0, value - before[1])
            elif channel.quantity == "power_w" and t_ns - before[0] <= _gap_ns(channel):
                self._sums_j[position] += value * (t_ns - before[0]) / NS_PER_S

    def energy_j(self, now_ns: int) -> dict[str, float]:
        """Joules by method of the meters that speak; several meters of one method add up."""
        sums: dict[str, float] = {}
        for position, energy_j in self._sums_j.items():
            channel = self._channels[position]
            if now_ns - self._last[position][0] <= _gap_ns(channel):
                sums[channel.method] = sums.get(channel.method, 0.0) + energy_j
        return sums


def _gap_ns(channel: Channel) -> float:
    """A pause that is longer is a gap."""
    return GAP_SPACINGS * max(channel.refresh_ns, USUAL_NS)
