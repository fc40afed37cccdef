"""One thread a sensor: opens it, reads it on its schedule and keeps only the change points."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING

from greenai.record.types import CHANGE, FIRST, STILL
from greenai.sensors.base import Refusal
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors.base import Channel, Opener, Reading, Sensor

Row = tuple[int, int, int, float, int]
"""A kept reading: channel position, t_lo_ns, t_hi_ns, value, kind."""

STILL_NS = NS_PER_S
"""An unchanged value is confirmed once a second, so that rest can be told from a gap."""
INFORM_STILL_NS = 1_500_000_000
"""What only informs, read once a second, is confirmed at every other read: half the disk."""
DITHER = 0.1
"""Share of the period by which each wake moves, so that polling never locks to the refresh."""
LATE_NS = NS_PER_S
"""A wake that is later than this leaves a gap: what happened in between was not seen."""
SLEEP_S = 0.06
"""A shorter pause is slept through, stop or no stop."""
CLOSING_NS = 250_000_000
"""After stop the next change of a counter is awaited for this long."""
CLOSING_POLL_NS = 2_000_000
LATENESS_KEPT = 2048
LATENESS_SHOWN = 256


class ChangePoints:
    """Keeps the change points of one channel.

    Args:
        channel: The channel that is read.
        position: Its position among all channels of the attempt.
    """

    __slots__ = (
        "_changed_ns",
        "_channel",
        "_counter",
        "_hi_ns",
        "_kept_ns",
        "_read_ns",
        "_refresh_ns",
        "_value",
        "position",
    )

    def __init__(self, channel: Channel, position: int) -> None:
        self.position = position
        self._channel = channel
        self._counter = channel.quantity == "energy_j"
        self._refresh_ns = channel.refresh_ns
        self.break_()

    def break_(self) -> None:
        """Forget the past: the next value is a first one, its age unknown."""
        self._value: float | None = None
        self._read_ns = 0
        self._hi_ns = 0
        self._kept_ns = 0
        self._changed_ns = 0

    def feed(self, t0_ns: int, t1_ns: int, value: float) -> Row | None:
        """Take one good reading; return the row to keep, if any.

        A counter's new value appeared after the previous read began and at most one refresh
        before this read began. A power holds for the time since the previous read.
        """
        last, read_ns, hi_ns = self._value, self._read_ns, self._hi_ns
        self._value, self._read_ns, self._hi_ns = value, t0_ns, t1_ns
        if last is None:
            self._kept_ns = t1_ns
            return (self.position, t0_ns, t1_ns, value, FIRST)
        still_ns = STILL_NS if self._channel.primary else INFORM_STILL_NS
        if value == last and t1_ns - self._kept_ns < still_ns:
            return None
        if not self._channel.primary and t1_ns - self._kept_ns < STILL_NS:
            return None
        self._kept_ns = t1_ns
        if value == last:
            return (self.position, t0_ns, t1_ns, value, STILL)
        if not self._counter:
            return (self.position, hi_ns, t1_ns, value, CHANGE)
        if self._changed_ns:  # a refresh that is longer than its bound has shown itself
            self._refresh_ns = max(self._refresh_ns, read_ns - self._changed_ns)
        self._changed_ns = t1_ns
        return (self.position, max(read_ns, t0_ns - self._refresh_ns), t1_ns, value, CHANGE)

    def is_done(self, row: Row | None, t1_ns: int, stop_ns: int) -> bool:
        """Whether the energy up to the stop is known: a counter has changed, a power was read."""
        if not self._counter:
            return t1_ns >= stop_ns
        return row is not None and row[4] == CHANGE and row[1] >= stop_ns

    def end(self) -> Row | None:
        """Confirm the value that was read last and forget it: what comes does not join on."""
        row = self.confirm()
        self.break_()
        return row

    def confirm(self) -> Row | None:
        """Row that says the value still stood at the latest read, where that is not kept yet."""
        if self._value is None or self._kept_ns >= self._hi_ns:
            return None
        self._kept_ns = self._hi_ns
        return (self.position, self._read_ns, self._hi_ns, self._value, STILL)


class Sensing(threading.Thread):
    """Reads the sensors of one interface until told to stop.

    Args:
        name: Name of the interface.
        opener: Opens it; may take long, never raises.
        number: Takes interface, channels, refusals and the driver's own time to initialise, and
            gives the first channel's position; called once, from this thread.
        period_min_ns: Lower bound on the period (the in-process fallback reads seldom).
    """

    def __init__(
        self,
        name: str,
        opener: Opener,
        number: Callable[[str, list[Channel], list[Refusal], int], int],
        period_min_ns: int = 0,
    ) -> None:
        super().__init__(name=f"greenai-{name}", daemon=True)
        self.interface = name
        self.rows: deque[Row] = deque()
        self.failures: deque[tuple[int, str, str]] = deque(maxlen=4096)
        """Failed reads not yet reported: time, channel's device, reason."""
        self.errors = 0
        self.opening = True
        """Whether the interface has not opened yet."""
        self.lateness_ns: deque[int] = deque(maxlen=LATENESS_KEPT)
        self.first_reading_ns = 0
        self._opener = opener
        self._number = number
        self._period_min_ns = period_min_ns
        self._asked = threading.Event()
        self._stop_ns = 0
        self._failed: set[int] = set()
        self._last_gap = ""

    def stop(self, stop_ns: int) -> None:
        """Ask for a last reading now and for the first change of each counter after ``stop_ns``."""
        self._stop_ns = stop_ns
        self._asked.set()

    def latest_lateness_ns(self) -> list[int]:
        """How late the latest few hundred wakes were: sorting all of them would make one late."""
        return list(itertools.islice(reversed(self.lateness_ns.copy()), LATENESS_SHOWN))

    def run(self) -> None:
        """Open, read until stopped, close."""
        opened, refusals = self._open()
        channels = [channel for sensor in opened for channel in sensor.channels]
        driver_ns = sum(int(getattr(sensor, "init_ns", 0)) for sensor in opened)
        first = self._number(self.interface, channels, refusals, driver_ns)
        groups: list[tuple[Sensor, list[ChangePoints]]] = []
        for sensor in opened:
            points = [
                ChangePoints(channel, first + position)
                for position, channel in enumerate(sensor.channels)
            ]
            first += len(points)
            groups.append((sensor, points))
        self.opening = False
        if groups:
            self._read_on_schedule(groups)
        for sensor, _ in groups:
            sensor.close()

    def _open(self) -> tuple[list[Sensor], list[Refusal]]:
        """Open the interface; a fault in that is a refusal, the other interfaces go on."""
        try:
            return self._opener()
        except Exception as error:  # noqa: BLE001 - the border at which a sensor's fault ends
            reason = f"Opening it failed: {type(error).__name__}: {error}."
            return [], [Refusal(self.interface, reason, "report this, with sampler.log")]

    def _read_on_schedule(self, groups: list[tuple[Sensor, list[ChangePoints]]]) -> None:
        dither = random.Random()  # noqa: S311 - moves wakes about, guards nothing
        due_ns = [monotonic_ns()] * len(groups)
        while not self._asked.is_set():
            turn = min(range(len(groups)), key=due_ns.__getitem__)
            sensor, points = groups[turn]
            late_ns = monotonic_ns() - due_ns[turn]
            if late_ns > LATE_NS:
                self._gap(points, f"the reader woke {late_ns / NS_PER_S:.1f} s late")
            elif late_ns >= 0:
                self.lateness_ns.append(late_ns)
            self._read(sensor, points)
            due_ns[turn] = self._next_ns(sensor, due_ns[turn], dither)
            self._pause_until(min(due_ns))
        self._read_until_changed(groups)

    def _pause_until(self, due_ns: int) -> None:
        """Wait until then or the stop; a plain sleep, where it is short, costs half as much."""
        pause_s = max(0, due_ns - monotonic_ns()) / NS_PER_S
        if pause_s < SLEEP_S:
            time.sleep(pause_s)
        else:
            self._asked.wait(pause_s)

    def _next_ns(self, sensor: Sensor, due_ns: int, dither: random.Random) -> int:
        """When to read a sensor again: at its own wish, else once a period, moved about."""
        now_ns = monotonic_ns()
        wish_ns = getattr(sensor, "due_ns", None)
        if wish_ns is not None:
            return max(int(wish_ns), now_ns + self._period_min_ns)
        period_ns = max(sensor.period_ns, self._period_min_ns)
        moved = 1 + dither.uniform(-DITHER, DITHER)
        return max(due_ns, now_ns - period_ns) + int(period_ns * moved)

    def _read(self, sensor: Sensor, points: list[ChangePoints]) -> set[int]:
        """Read once; return the positions of the channels of which the stop needs no more."""
        done: set[int] = set()
        try:
            readings = sensor.read()
        except Exception as error:  # noqa: BLE001 - the border at which a sensor's fault ends
            self._gap(points, f"{type(error).__name__}: {error}")
            self.errors += 1
            return done
        for reading in readings:
            point = points[reading.channel]
            if reading.reason or reading.value != reading.value:
                self._fail(sensor, point, reading)
                continue
            self._failed.discard(point.position)
            row = point.feed(reading.t0_ns, reading.t1_ns, reading.value)
            if row is not None:
                self.rows.append(row)
                self.first_reading_ns = self.first_reading_ns or reading.t1_ns
            if point.is_done(row, reading.t1_ns, self._stop_ns):
                done.add(point.position)
        return done

    def _fail(self, sensor: Sensor, point: ChangePoints, reading: Reading) -> None:
        """A failed read breaks the channel; the reason is reported when the failing begins."""
        self.errors += 1
        self._end(point)
        if point.position not in self._failed:
            self._failed.add(point.position)
            device = sensor.channels[reading.channel].device
            self.failures.append((reading.t1_ns, device, reading.reason or "not a number"))

    def _end(self, point: ChangePoints) -> None:
        if (row := point.end()) is not None:
            self.rows.append(row)

    def _gap(self, points: list[ChangePoints], reason: str) -> None:
        for point in points:
            self._end(point)
        if reason != self._last_gap:
            self._last_gap = reason
            self.failures.append((monotonic_ns(), self.interface, reason))

    def _read_until_changed(self, groups: list[tuple[Sensor, list[ChangePoints]]]) -> None:
        """After stop: read until all that is summed is known up to it, or time is over."""
        last_ns = self._stop_ns + CLOSING_NS
        pause = threading.Event()
        waiting = []
        for sensor, points in groups:
            summed = {
                point.position
                for channel, point in zip(sensor.channels, points, strict=True)
                if channel.primary
            }
            waiting.append((sensor, points, summed))
        while True:
            for sensor, points, summed in waiting:
                summed.difference_update(self._read(sensor, points))
            waiting = [group for group in waiting if group[2]]
            if not waiting or monotonic_ns() + CLOSING_POLL_NS > last_ns:
                break
            pause.wait(CLOSING_POLL_NS / NS_PER_S)
        rows = [point.confirm() for _, points in groups for point in points]
        self.rows.extend(row for row in rows if row is not None)
