"""The sampler: drains marks, gathers readings, keeps the record, and knows when to end."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Protocol

from greenai.live.clock import CLOCK, anchor
from greenai.live.marks import MarkReader
from greenai.live.sensing import Sensing
from greenai.live.shared import (
    DISK_REFUSES,
    FINISHED,
    HEARTBEAT_NS,
    NAME_COUNT,
    RING_SLOTS,
    STOP_ASKED,
    Region,
    Totals,
)
from greenai.record.types import SCHEMA_VERSION
from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.live.marks import Row as MarkRow
    from greenai.live.sensing import Row as ReadingRow
    from greenai.record.types import Anchor
    from greenai.sensors.base import Channel, Opener, Refusal

TICK_S = 0.02
"""Marks are drained and the training's end is looked for this often."""
FLUSH_NS = NS_PER_S
SETTLE_NS = NS_PER_S
"""Live figures are brought up to date this often: with eight GPUs it takes some milliseconds."""
JOIN_S = 0.4
"""At the end a sensor that hangs is waited for no longer than this."""
ROWS_KEPT_MAX = 2_000_000
"""Rows kept in memory while the disk refuses them; older ones are given up and said."""


class Writer(Protocol):
    """Where the sampler writes; see greenai.record.writer."""

    def write_readings(self, rows: list[ReadingRow], anchor: Anchor) -> None:
        """Append a frame of readings."""

    def write_marks(self, rows: list[MarkRow], anchor: Anchor) -> None:
        """Append a frame of marks."""

    def write_event(self, t_ns: int, what: str, reason: str, **facts: Any) -> None:
        """Append an event."""

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the attempt's manifest."""

    def write_live(self, live: Mapping[str, Any]) -> None:
        """Replace live.json."""

    def close(self) -> None:
        """Close the files."""


class Figures(Protocol):
    """What is made of the rows while the run goes on; see greenai.figures."""

    def add_channels(self, channels: list[Channel]) -> None:
        """Take the channels known so far."""

    def feed(
        self, readings: list[ReadingRow], marks: list[MarkRow], names: tuple[str, ...]
    ) -> None:
        """Take new rows."""

    def settle(self, sampler: Sampler, *, closed: bool = False) -> Totals:
        """Bring the figures up to date and return the totals."""

    def live(self) -> dict[str, Any]:
        """Content of live.json."""

    def close(self) -> None:
        """Stop serving."""


class Sampler:
    """Owns the sensor threads and the record of one attempt.

    Args:
        region: Shared memory of the training.
        openers: One per interface.
        manifest: Facts of the attempt that the training handed over.
        parent_descriptor: pidfd of the training process; None watches ``parent_pid`` instead.
        parent_pid: The training process; 0 watches nothing (sampler in a thread of it).
        period_min_ns: Lower bound on every sensor's period.
    """

    def __init__(
        self,
        region: Region,
        openers: Mapping[str, Opener],
        manifest: Mapping[str, Any],
        *,
        parent_descriptor: int | None = None,
        parent_pid: int = 0,
        period_min_ns: int = 0,
    ) -> None:
        self.region = region
        self.channels: list[Channel] = []
        self.errors: dict[str, int] = {}
        self.started_ns = monotonic_ns()
        self._numbering = threading.Lock()
        self._manifest = dict(manifest)
        self._refused: list[Refusal] = []
        self._opened: dict[str, dict[str, float]] = {}
        self._reader = MarkReader(region)
        self._parent_descriptor = parent_descriptor
        self._parent_pid = parent_pid
        self._readings: list[ReadingRow] = []
        self._marks: list[MarkRow] = []
        self._events: list[tuple[int, str, str, dict[str, Any]]] = []
        self._fed = (0, 0)
        self._manifest_stale = True
        self._names_written = 0
        self._disk_failing = False
        self._writer: Writer | None = None
        self._figures: Figures | None = None
        self._asked = False
        reader, writer = os.pipe()
        # As files: a descriptor's number may be another file's once it is closed.
        self._bell, self._ring = os.fdopen(reader, "rb", 0), os.fdopen(writer, "wb", 0)
        self.sensing = [
            Sensing(name, opener, self._number, period_min_ns) for name, opener in openers.items()
        ]

    def say(self, what: str, reason: str) -> None:
        """Leave an event from outside the loop."""
        self._events.append((monotonic_ns(), what, reason, {}))

    def ask(self) -> None:
        """Have the figures brought up to date at once; called from any thread."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: it has ended meanwhile
            self._ring.write(b"!")

    def start(self) -> None:
        """Start the sensor threads; nothing but the standard library is needed for that."""
        self.region.header[HEARTBEAT_NS] = monotonic_ns()
        for thread in self.sensing:
            thread.start()

    def run(self, writer: Writer, figures: Figures | None) -> str:
        """Keep the record until the training stops or dies.

        Args:
            writer: Where the record goes.
            figures: What is made of the rows on the way; None makes nothing.

        Returns:
            ``stopped`` or ``parent_died``.
        """
        self._writer, self._figures = writer, figures
        flush_ns = settle_ns = 0
        ended = ""
        while not ended:
            ended = self._wait(TICK_S)
            now_ns = monotonic_ns()
            self.region.header[HEARTBEAT_NS] = now_ns
            self._gather()
            if self.region.header[STOP_ASKED]:
                ended = "stopped"
            flush = now_ns >= flush_ns
            if flush or now_ns >= settle_ns or self._asked:
                self._asked = False
                settle_ns = now_ns + SETTLE_NS
                totals = self._settle()  # before a flush, which lets go of the rows
                if totals is not None:
                    self.region.publish(totals)
            if flush:
                flush_ns = now_ns + FLUSH_NS
                self._flush()
        self._end(ended)
        return ended

    def lateness_ns(self) -> list[int]:
        """How late the latest wakes of all sensor threads were, sorted."""
        return sorted(late for thread in self.sensing for late in tuple(thread.lateness_ns))

    def late_p95_s(self) -> float:
        """95th percentile of how late the latest wakes were; NaN before the first."""
        late = sorted(one for thread in self.sensing for one in thread.latest_lateness_ns())
        return late[len(late) * 95 // 100] / NS_PER_S if late else math.nan

    def _wait(self, seconds: float) -> str:
        """Sleep until the next tick, or until asked; ``parent_died`` when the training is gone."""
        parent = [] if self._parent_descriptor is None else [self._parent_descriptor]
        bell = self._bell.fileno()
        ready, _, _ = select.select([bell, *parent], [], [], seconds)
        if bell in ready:
            self._asked = bool(self._bell.read(4096))
        if parent:
            return "parent_died" if parent[0] in ready else ""
        return "parent_died" if self._parent_pid and os.getppid() != self._parent_pid else ""

    def _number(
        self, interface: str, channels: list[Channel], refusals: list[Refusal], driver_ns: int
    ) -> int:
        """Give the channels of an opened interface their positions (called from its thread).

        The lists are replaced, never changed, so that the loop sees them whole.
        """
        opened_ms = (monotonic_ns() - self.started_ns) / NS_PER_MS
        with self._numbering:
            self._opened = {
                **self._opened,
                interface: {"after_ms": opened_ms, "of_that_driver_ms": driver_ns / NS_PER_MS},
            }
            first = len(self.channels)
            self.channels = [*self.channels, *channels]
            self._refused = [*self._refused, *refusals]
            self._manifest_stale = True
        return first

    def _gather(self) -> None:
        """Take what the threads and the training have left."""
        for thread in self.sensing:
            rows = thread.rows
            self._readings.extend(rows.popleft() for _ in range(len(rows)))
            failures = thread.failures
            for _ in range(len(failures)):
                t_ns, device, reason = failures.popleft()
                self._events.append((t_ns, "read_failed", reason, {"device": device}))
            self.errors[thread.interface] = thread.errors
        while drained := self._reader.drain():
            self._marks.extend(drained)
        if len(self._marks) > RING_SLOTS // 2:
            self._reader.release()

    def _settle(self, *, closed: bool = False) -> Totals | None:
        """Bring the live figures up to date; the record goes on where they cannot be made.

        Returns:
            What to publish; None where nothing is known of it.
        """
        figures = self._figures
        if figures is None:
            return Totals(closed=True) if closed else None
        readings, marks = self._fed
        self._fed = (len(self._readings), len(self._marks))
        try:
            figures.add_channels(self.channels)
            figures.feed(self._readings[readings:], self._marks[marks:], self.region.names())
            return figures.settle(self, closed=closed)
        except Exception as error:  # noqa: BLE001 - the border that keeps the record
            self._figures = None
            reason = f"{type(error).__name__}: {error}"
            self._events.append((monotonic_ns(), "figures_failed", reason, {}))
            return self._settle(closed=closed)

    def _flush(self) -> None:
        """Write what has gathered; a disk that refuses keeps it in memory for the next time."""
        writer = self._writer
        if writer is None:
            return
        try:
            now = anchor()
            if self._manifest_stale or self._names_written != self.region.header[NAME_COUNT]:
                self._write_manifest(writer)
            if self._readings:
                writer.write_readings(self._readings, now)
                self._readings, self._fed = [], (0, self._fed[1])
            if self._marks:
                writer.write_marks(self._marks, now)
                self._reader.release()
                self._marks, self._fed = [], (self._fed[0], 0)
            while self._events:
                t_ns, what, reason, facts = self._events[0]
                writer.write_event(t_ns, what, reason, **facts)
                del self._events[0]
            if self._figures is not None:
                writer.write_live(self._figures.live())
            self._disk_failing = False
            self.region.header[DISK_REFUSES] = 0
        except OSError as error:
            self._disk_refused(error)

    def _write_manifest(self, writer: Writer) -> None:
        names = self.region.names()
        self._manifest_stale = False
        self._names_written = len(names)
        writer.write_manifest(
            {
                **self._manifest,
                "schema_version": SCHEMA_VERSION,
                "clock": CLOCK,
                "channels": [channel.to_json() for channel in self.channels],
                "refused": [refusal._asdict() for refusal in self._refused],
                "opened": self._opened,
                "names": list(names),
            }
        )

    def _disk_refused(self, error: OSError) -> None:
        """Say once that the disk refuses, and give up the oldest rows beyond the bound."""
        self._manifest_stale = True
        if not self._disk_failing:
            self._disk_failing = True
            self.region.header[DISK_REFUSES] = 1
            self._events.append((monotonic_ns(), "disk_refused", str(error), {}))
        for what, rows in (("readings", self._readings), ("marks", self._marks)):
            if len(rows) > ROWS_KEPT_MAX:
                self._events.append((monotonic_ns(), "rows_lost", what, {"rows": len(rows)}))
                rows.clear()
        self._fed = (min(self._fed[0], len(self._readings)), min(self._fed[1], len(self._marks)))

    def _end(self, ended: str) -> None:
        """Read a last time, close the record and publish the totals."""
        stop_ns = monotonic_ns()
        for thread in self.sensing:
            thread.stop(stop_ns)
        give_up_s = time.monotonic() + JOIN_S
        for thread in self.sensing:
            thread.join(max(0.0, give_up_s - time.monotonic()))
            if thread.is_alive():
                reason = f"{thread.interface} did not answer at the end"
                self._events.append((monotonic_ns(), "sensor_hung", reason, {}))
        self._gather()
        late = self.lateness_ns()
        self._events.append(
            (
                monotonic_ns(),
                ended,
                "",
                {
                    "sampler_cpu_s": round(time.process_time(), 3),
                    "wake_late_p50_ms": late[len(late) // 2] / 1e6 if late else None,
                    "wake_late_p95_ms": late[len(late) * 95 // 100] / 1e6 if late else None,
                },
            )
        )
        totals = self._settle(closed=True)
        self._flush()  # first: who sees the totals closed may read the record at once
        if totals is not None:
            self.region.publish(totals)
        self.region.header[FINISHED] = 1
        if self._figures is not None:
            self._figures.close()
        if self._writer is not None:
            self._writer.close()
        self._reader.close()
        self._ring.close()
        self._bell.close()
