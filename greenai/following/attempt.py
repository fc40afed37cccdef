"""One attempt of one rank, followed as its files grow: rows in, settled steps and power out."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from greenai.analysis.tracing import TracedAttribution
from greenai.errors import RecordError
from greenai.following.rows import GrowingRows, plain_rows
from greenai.metrics import PHASES
from greenai.record.documents import LIVE_FILE, parse_object, read_json
from greenai.record.manifest import MANIFEST, channels_of, read_attempt_manifest
from greenai.record.tail import LineTail, ReplacedError
from greenai.record.types import FIXED_NAMES, STOP, VALUE
from greenai.record.writer import EVENTS_FILE, MARKS_FILE, READINGS_FILE
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from greenai.record.columns import MarkColumns, Readings
    from greenai.sensors.base import Channel
    from greenai.units import Floats, Ns

OPENING_NS = 10 * NS_PER_S
"""A sensor that has not opened by then is no longer waited for; as the sampler does."""
SILENT_S = 15.0
"""An attempt whose files have not changed for so long, and that has not ended, is silent."""
RECENT_S = 60.0
"""What was written within so long may still go on; clocks of two machines differ by less."""
EVENTS_KEPT = 200
_LOSS = FIXED_NAMES.index("loss")
_ENDS = {"stopped", "parent_died"}


class StepRows(NamedTuple):
    """Settled steps of one rank. Arrays of one length.

    Attributes:
        number: What the training calls each step.
        end_s: UTC seconds of its end.
        values: Columns energy_j, low_j, high_j, duration_s, batches, tokens, samples, flops.
    """

    number: Ns
    end_s: Floats
    values: Floats


@dataclasses.dataclass(slots=True)
class News:
    """What one look has found.

    Attributes:
        steps: Steps that have settled.
        power: Device, UTC seconds and watts, by channel.
        loss: UTC seconds and losses as they became known.
        phases: Phase, UTC seconds of begin and end.
        events: Gaps, warnings and failed reads.
        more: Whether there is more to read at once.
    """

    steps: list[StepRows] = dataclasses.field(default_factory=list)
    power: list[tuple[Channel, Floats, Floats]] = dataclasses.field(default_factory=list)
    loss: list[tuple[Floats, Floats]] = dataclasses.field(default_factory=list)
    phases: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    more: bool = False


class AttemptFollower:
    """Reads what an attempt's files have got since the last look and attributes it.

    Args:
        rank: Global rank.
        folder: The attempt's folder.
        clock: Monotonic seconds; a parameter so that a test need not wait.

    Attributes:
        manifest: The attempt's manifest as last read; empty before there is one.
        channels: Its channels.
        live: What live.json said last.
        traced: The running attribution.
        ended: ``stopped`` or ``parent_died`` once the sampler has written its last; else empty.
        stopped: Whether the training has called stop.
        closed: Whether all of it is attributed.
        problems: What could not be read, in sentences.
    """

    def __init__(
        self, rank: int, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rank, self.folder = rank, folder
        self.manifest: dict[str, Any] = {}
        self.channels: tuple[Channel, ...] = ()
        self.live: dict[str, Any] = {}
        self.traced = TracedAttribution()
        self.ended = ""
        self.stopped = False
        self.closed = False
        self.start_s = math.nan
        self.problems: dict[str, None] = {}
        self._clock = clock
        self._changed = clock() if _is_recent(folder) else -math.inf
        self._stamps: dict[str, tuple[int, ...]] = {}
        self._rows = GrowingRows(folder)
        self._lines = LineTail(folder / EVENTS_FILE)
        self._first_ns: int | None = None
        self._newest_ns = 0

    @property
    def silent(self) -> bool:
        """Whether nothing has come for a while from an attempt that has not ended."""
        return not self.ended and self._clock() - self._changed > SILENT_S

    @property
    def started(self) -> str:
        """Start of the launch as its manifest says it; ``~``, behind all others, while unknown."""
        manifest = self.manifest
        if not manifest:
            with contextlib.suppress(RecordError):
                manifest = read_attempt_manifest(self.folder)
        return str(manifest.get("started_utc") or "~")

    @property
    def share_read(self) -> float:
        """How much of the files has been read, 0 to 1; 1 where only the newest is to come."""
        return self._rows.share_read

    def look(self, counted: frozenset[tuple[str, str]] = frozenset()) -> News:
        """Read and attribute what is new.

        Args:
            counted: (device_key, kind) of devices that another rank counts.

        Raises:
            ReplacedError: A file is another one than before.
            RecordError: What is there cannot be read.
        """
        news = News()
        was_ended, first = bool(self.ended), self._first_ns is None
        self._read_live()
        got = self._rows.read()
        news.more = self._rows.more
        self.problems.update(dict.fromkeys(self._rows.problems))
        if self.closed and got:
            raise ReplacedError(f"{self.folder} goes on after a silence.", path=self.folder)
        self._read_manifest(counted)
        if self.manifest:
            final = was_ended and not got and not news.more
            losses = self._feed(*self._rows.take(final=final))
            waits = not self._settles_already() and not was_ended
            self.traced.settle(wait=waits)
            if not self.closed and final:
                self.traced.settle(closed=True)
                self.closed = True
            self._take(news, losses)
        news.events = self._read_events()
        if got or news.events:
            self._changed = self._clock()
        if first and self._first_ns is not None:
            self.start_s = float(self._rows.utc_s(np.array([self._first_ns]))[0])
        return news

    def close(self) -> News:
        """Attribute the open end of an attempt that nobody has ended and nobody goes on with."""
        news = News()
        losses = self._feed(*self._rows.take(final=True))
        self.traced.settle(closed=True)
        self.closed = True
        self._take(news, losses)
        return news

    @property
    def length_s(self) -> float:
        """Settled time since the first mark, in seconds; 0 before any."""
        settled_ns = self.traced.settled_ns
        if settled_ns is None or self._first_ns is None:
            return 0.0
        return (settled_ns - self._first_ns) / NS_PER_S

    @property
    def settled_s(self) -> float:
        """UTC seconds up to which everything is settled; NaN before anything is."""
        settled_ns = self.traced.settled_ns
        if settled_ns is None or self._rows.first_ns is None:
            return math.nan
        return float(self._rows.utc_s(np.array([settled_ns]))[0])

    def _read_live(self) -> None:
        if self._has_changed(LIVE_FILE):
            with self._again_where_it_fails(LIVE_FILE):
                self.live = read_json(self.folder / LIVE_FILE)
            self._changed = self._clock()

    def _read_manifest(self, counted: frozenset[tuple[str, str]]) -> None:
        """After the frames: what they refer to is in it."""
        if not self._has_changed(MANIFEST):
            return
        with self._again_where_it_fails(MANIFEST):
            manifest = read_attempt_manifest(self.folder)
            self.channels = channels_of(manifest, self.folder / MANIFEST)
        self.manifest = manifest
        self.traced.add_channels(
            [
                dataclasses.replace(one, primary=False)
                if (one.device_key, one.kind) in counted
                else one
                for one in self.channels
            ]
        )

    def _feed(self, readings: list[Readings], marks: list[MarkColumns]) -> list[tuple[Ns, Floats]]:
        """Hand rows to the attribution; return the losses among them."""
        losses: list[tuple[Ns, Floats]] = []
        mark_rows: list[tuple[int, int, int, int, float]] = []
        for rows in marks:
            mark_rows.extend(plain_rows(rows))
            at = (rows.kind == VALUE) & (rows.name == _LOSS)
            losses.append((rows.t_ns[at], rows.value[at]))
            self.stopped |= bool((rows.kind == STOP).any())
        reading_rows = [
            row
            for rows in readings
            if int(rows.channel.max()) < len(self.channels)
            for row in plain_rows(rows)
        ]
        settled_ns = self.traced.settled_ns
        if mark_rows:
            self._newest_ns = max(self._newest_ns, mark_rows[-1][0])
            if self._first_ns is None:
                self._first_ns = mark_rows[0][0]
            if settled_ns is not None and mark_rows[0][0] < settled_ns:
                self.problems[
                    "Marks came later than the readings of their time: curves may differ from the "
                    "report, which sees them all."
                ] = None
        if reading_rows:
            self._newest_ns = max(self._newest_ns, *(row[2] for row in reading_rows[-64:]))
        self.traced.feed(reading_rows, mark_rows, tuple(self.manifest["names"]))
        if not losses:
            return []
        return [(np.concatenate([t for t, _ in losses]), np.concatenate([x for _, x in losses]))]

    def _settles_already(self) -> bool:
        """Whether all sensors have opened, as the sampler says, or have had their time."""
        if self.live.get("settled_ns") is not None or self.live.get("closed"):
            return True
        first_ns = self._rows.first_ns
        return first_ns is not None and self._newest_ns - first_ns > OPENING_NS

    def _take(self, news: News, losses: list[tuple[Ns, Floats]]) -> None:
        """Put what has settled into the news, in UTC."""
        if self._rows.first_ns is None:
            return
        utc_s = self._rows.utc_s
        for settled, end_ns, low_j, high_j in self.traced.take_steps():
            plain = [
                (s.index, s.energy_j, s.duration_s, s.batches, s.tokens, s.samples, s.flops)
                for s in settled
            ]
            columns = np.array(plain, dtype=np.float64).T
            values = np.stack((columns[1], low_j, high_j, *columns[2:]))
            news.steps.append(StepRows(columns[0].astype(np.int64), utc_s(end_ns), values))
        for position, t_ns, power_w in self.traced.take_power():
            news.power.append((self.channels[position], utc_s(t_ns), power_w))
        news.loss.extend((utc_s(t_ns), loss) for t_ns, loss in losses if len(t_ns))
        for phase, begin_ns, stop_ns in self.traced.take_phases():
            start_s, end_s = utc_s(np.array([begin_ns, stop_ns])).tolist()
            news.phases.append((PHASES[phase], start_s, end_s))

    def _read_events(self) -> list[dict[str, Any]]:
        """New events; a line that is none is said once and passed over."""
        found = []
        for line in self._lines.read():
            try:
                event = parse_object(line, self.folder / EVENTS_FILE)
            except RecordError as error:
                self.problems[f"{EVENTS_FILE}: {error.what}"] = None
                continue
            what, t_ns = event.get("what"), event.get("t_ns")
            if not isinstance(what, str) or type(t_ns) is not int:
                continue
            if what in _ENDS:
                self.ended = self.ended or what
            known = self._rows.first_ns is not None
            t_s = float(self._rows.utc_s(np.array([t_ns]))[0]) if known else math.nan
            found.append({**event, "t_s": t_s, "rank": self.rank})
        return found[-EVENTS_KEPT:]

    @contextlib.contextmanager
    def _again_where_it_fails(self, name: str) -> Iterator[None]:
        """Let the next look read a file again that could not be read."""
        try:
            yield
        except RecordError:
            self._stamps.pop(name, None)
            raise

    def _has_changed(self, name: str) -> bool:
        """Whether a file that is replaced as a whole is another one than at the last look."""
        try:
            found = (self.folder / name).stat(follow_symlinks=False)
        except OSError:
            return False
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        changed = self._stamps.get(name) != stamp
        self._stamps[name] = stamp
        return changed


def _is_recent(folder: Path) -> bool:
    """Whether something was written not long ago, by the file system's clock."""
    newest_s = 0.0
    for name in (LIVE_FILE, READINGS_FILE, MARKS_FILE, MANIFEST):
        with contextlib.suppress(OSError):
            newest_s = max(newest_s, (folder / name).stat(follow_symlinks=False).st_mtime)
    return time.time() - newest_s < RECENT_S or not newest_s
