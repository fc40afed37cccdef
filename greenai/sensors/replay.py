"""A recorded run played again as a sensor: the same change points at the same pace, from now on."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from greenai.errors import GreenAIError
from greenai.record.types import CHANGE, FIRST
from greenai.sensors.base import Reading, Refusal, Sensor
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    from greenai.record.types import Attempt
    from greenai.sensors.base import Channel

PERIOD_NS = 20 * NS_PER_MS


class Played(NamedTuple):
    """A reading to come, in nanoseconds after the first one."""

    due_ns: int
    channel: int
    t0_ns: int
    value: float
    reason: str


class ReplaySensor:
    """The readings of one rank of a recorded run, shifted so that the first one is now.

    Args:
        channels: What is played, as it was recorded.
        readings: In the order of their time.
        speed: How many recorded seconds pass in one.
    """

    name = "replay"
    period_ns = PERIOD_NS

    def __init__(
        self, channels: tuple[Channel, ...], readings: list[Played], speed: float = 1.0
    ) -> None:
        self.channels = channels
        self._coming = deque(readings)
        self._speed = speed
        self._start_ns = -1

    def read(self) -> list[Reading]:
        """Readings whose time has come; after the end of the recorded run none."""
        now_ns = monotonic_ns()
        if self._start_ns < 0:
            self._start_ns = now_ns
        due: list[Reading] = []
        while self._coming and self._moment(self._coming[0].due_ns) <= now_ns:
            one = self._coming.popleft()
            t0_ns, t1_ns = self._moment(one.t0_ns), self._moment(one.due_ns)
            due.append(Reading(one.channel, t0_ns, t1_ns, one.value, one.reason))
        return due

    def close(self) -> None:
        """Forget what is still to come."""
        self._coming.clear()

    def _moment(self, after_ns: int) -> int:
        return self._start_ns + int(after_ns / self._speed)


def open_replay(folder: str, speed: float = 1.0) -> tuple[list[Sensor], list[Refusal]]:
    """Play the latest attempt of a recorded run again.

    A counter keeps its joules and a power its watts at any speed: at twice the pace a counter's
    power doubles and a power's energy halves.

    Args:
        folder: The run folder.
        speed: How many recorded seconds pass in one.

    Returns:
        One sensor a rank, its channels with the trust that they were recorded with; and what is
        refused.
    """
    from greenai.record.reader import open_record  # noqa: PLC0415 - loads numpy and pyarrow

    try:
        record = open_record(Path(folder), partial=True)
    except GreenAIError as error:
        # A refusal stands in the record, and whose folders there are is nobody's business.
        reason = error.what.replace(folder, "the recorded run")
        return [], [Refusal("replay", reason, "give the folder of a recorded run: replay:FOLDER")]
    latest = max((attempt.attempt for attempt in record.attempts), default=0)
    taken: set[tuple[str, str, str]] = set()
    sensors: list[Sensor] = []
    for attempt in record.attempts:
        if attempt.attempt == latest:
            channels, readings = _played(attempt, taken)
            if readings:
                sensors.append(ReplaySensor(channels, readings, speed))
    if not sensors:
        return [], [Refusal("replay", "The recorded run has no readings to play again.")]
    return sensors, []


def _played(
    attempt: Attempt, taken: set[tuple[str, str, str]]
) -> tuple[tuple[Channel, ...], list[Played]]:
    """Readings of one rank; a channel that another rank has recorded too is played once."""
    channels: list[Channel] = []
    readings: list[Played] = []
    for recorded in attempt.readings:
        old = recorded.channel
        identity = (old.device_key, old.kind, old.quantity)
        if identity in taken or not len(recorded.value):
            continue
        taken.add(identity)
        position = len(channels)
        # A key of its own: what is played is not the device, should that be metered as well.
        key = f"replay/{old.device_key}"
        channels.append(dataclasses.replace(old, method="replay", device_key=key))
        before = math.nan
        for t_lo_ns, t_hi_ns, value, kind in zip(
            recorded.t_lo_ns.tolist(),
            recorded.t_hi_ns.tolist(),
            recorded.value.tolist(),
            recorded.kind.tolist(),
            strict=True,
        ):
            if kind == FIRST and readings and readings[-1].channel == position:
                gap = "a gap in the recorded run"
                readings.append(Played(t_lo_ns, position, t_lo_ns, math.nan, gap))
            if kind == CHANGE and math.isfinite(before):
                # Up to here the value was the old one: so the bracket is the recorded one again.
                readings.append(Played(t_lo_ns, position, t_lo_ns, before, ""))
            t0_ns = t_hi_ns if kind == CHANGE else t_lo_ns
            readings.append(Played(t_hi_ns, position, t0_ns, value, ""))
            before = value
    readings.sort(key=lambda one: one.due_ns)
    if not readings:
        return (), []
    start_ns = min(one.t0_ns for one in readings)
    shifted = [
        one._replace(due_ns=one.due_ns - start_ns, t0_ns=one.t0_ns - start_ns) for one in readings
    ]
    return tuple(channels), shifted
