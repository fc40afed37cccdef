"""One channel of an NVIDIA board, read when it is due and so that a fault stays its own."""

from __future__ import annotations

import math
import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors.base import Reading
from greenai.sensors.plausible import Plausible, doubt_power
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors.base import Channel
    from greenai.sensors.nvml_board import Gpu
    from greenai.sensors.pacing import Pacing

RETRY_NS = tuple(seconds * NS_PER_S for seconds in (0, 1, 2, 4, 8, 15, 30, 60))
"""A board that does not answer is asked again at once, then less and less often."""
DITHER = random.Random()  # noqa: S311 - moves reads about, guards nothing
"""Moves the reads about, so that none locks to a refresh by chance."""


class Line:
    """One channel of one GPU: its call, when it is due and what it said last.

    Args:
        gpu: The board.
        call: Reads the value.
        channel: What the value means.
        period_ns: Time between two reads where there is no pacing.
        pacing: When to read a counter; None reads once a period.
    """

    def __init__(
        self,
        gpu: Gpu,
        call: Callable[[Any], float],
        channel: Channel,
        period_ns: int,
        pacing: Pacing | None = None,
    ) -> None:
        self.gpu = gpu
        self.channel = channel
        self.due_ns = 0
        self.pacing = pacing
        self._call = call
        self._period_ns = period_ns
        self._last = math.nan
        self._counter = (
            Plausible(channel.power_max_w, channel.refresh_ns)
            if channel.quantity == "energy_j"
            else None
        )
        self._failures = 0
        self._reason = ""

    def read(self, position: int) -> Reading:
        """Read now; NaN with a reason where the board does not answer or the value cannot be."""
        t0_ns = monotonic_ns()
        if self._failures and t0_ns < self.due_ns:
            return Reading(position, t0_ns, t0_ns, math.nan, self._reason)
        nvml = self.gpu.nvml
        try:
            if self._failures:
                self.gpu.handle = nvml.nvmlDeviceGetHandleByUUID(self.gpu.uuid)
                t0_ns = monotonic_ns()
            value = self._call(self.gpu.handle)
        except nvml.NVMLError as error:
            t1_ns = monotonic_ns()
            self.due_ns = t1_ns + RETRY_NS[min(self._failures, len(RETRY_NS) - 1)]
            self._failures += 1
            self._reason = f"NVML: {error}"
            if self.pacing is not None:
                self.pacing.forget()
            return Reading(position, t0_ns, t1_ns, math.nan, self._reason)
        t1_ns = monotonic_ns()
        self._failures = 0
        doubt = self.doubt(t1_ns, value)
        changed = not doubt and value != self._last
        if changed:
            self._last = value
        if self.pacing is not None:
            self.pacing.saw(t0_ns, t1_ns, changed=changed)
            self.due_ns = self.pacing.due_ns
        else:
            self.due_ns = t1_ns + int(self._period_ns * (1 + DITHER.uniform(-0.1, 0.1)))
        return Reading(position, t0_ns, t1_ns, math.nan if doubt else value, doubt)

    def doubt(self, t_ns: int, value: float) -> str:
        """Why a value cannot be one of this channel's; empty where it can."""
        if self._counter is not None:
            return self._counter.doubt(t_ns, value)
        if self.channel.quantity == "power_w":
            return doubt_power(value, self.channel.power_max_w)
        return ""
