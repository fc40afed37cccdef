"""The same sums while the run goes on: attribution of the growing tail, in bounded memory."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.booked import Booked
from greenai.analysis.counted import DEVICE_NOTE, counted_channels
from greenai.analysis.course import course, final_ns
from greenai.analysis.pending import PendingStep, SettledStep
from greenai.analysis.series import SILENCE_NS, is_covered, series_from
from greenai.analysis.timeline import (
    DATA_WAIT,
    OTHER,
    SETUP,
    TRAIN_STEP,
    UNATTRIBUTED,
    is_cutting,
    timeline,
)
from greenai.metrics import PHASES
from greenai.record.types import (
    FIXED_NAMES,
    NOTE,
    PHASE_BEGIN,
    PHASE_END,
    STEP_END,
    STOP,
    VALUE,
    ChannelReadings,
    Marks,
)
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from greenai.analysis.series import Series
    from greenai.analysis.timeline import Timeline
    from greenai.sensors.base import Channel
    from greenai.units import Floats

POWER_NS = 300_000_000
"""The latest power is the mean over at least this long: a single interval's end may be unsure."""
CONTEXT = 32
"""Settled rows of a channel that are kept because they shape the course of what follows."""

ReadingRow = tuple[int, int, int, float, int]
MarkRow = tuple[int, int, int, int, float]

_DROPPED = FIXED_NAMES.index("marks_dropped")
_TRAIN_START = FIXED_NAMES.index("train_start")
_OTHER_THREAD = FIXED_NAMES.index("other_thread")
_EPOCH = FIXED_NAMES.index("epoch")


class RunningAttribution:
    """Attribution of a run that is not over; fed with the rows that the record gets.

    At the end, everything fed and closed, ``phase_j`` equals the offline attribution.

    Example:
        >>> running = RunningAttribution()
        >>> running.settle()
        []
        >>> running.settled_ns is None
        True
    """

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.phase_j = np.zeros((0, len(PHASES)))
        """Settled energy in joules, by primary channel and phase. Shape (channels, phases)."""
        self.covered_ns = np.zeros(0)
        """Settled time that the readings cover, by primary channel. Shape (channels,)."""
        self.power_w: list[float] = []
        """Latest power by primary channel; NaN while unknown."""
        self.begin_ns: int | None = None
        """Time of the first mark."""
        self.settled_ns: int | None = None
        """Time up to which everything is settled; None before anything is."""
        self._seen: list[Channel] = []
        self._used: frozenset[str] = frozenset()
        self._stop_ns: int | None = None
        self._places: dict[int, int] = {}
        self._rows: list[list[ReadingRow]] = []
        self._newest_ns: list[int] = []
        self._booked: list[Booked] = []
        self._marks: list[MarkRow] = []
        self._breaks_ns: list[int] = []
        self._names: tuple[str, ...] = FIXED_NAMES
        self._open: list[int] = []
        self._pending = PendingStep(0)
        self._trained = False
        self._epoch = math.nan

    @property
    def settled_j(self) -> Floats:
        """All settled energy in joules, the open step's included. Shape (channels,)."""
        open_j = self._pending.train_j + self._pending.wait_j
        return np.asarray(self.phase_j.sum(axis=1) + open_j, dtype=np.float64)

    def open_j(self, now_ns: int) -> float:
        """Most energy that can have been used since; infinite where a device states no limit."""
        if self.settled_ns is None:
            return 0.0
        limits_w = [channel.power_max_w for channel in self.channels]
        limit_w = math.inf if any(map(math.isnan, limits_w)) else sum(limits_w)
        return limit_w * max(0, now_ns - self.settled_ns) / NS_PER_S

    def add_channels(self, channels: Sequence[Channel]) -> None:
        """Take all channels known so far; only those that are summed are attributed."""
        if len(channels) == len(self._seen):
            return
        self._seen = list(channels)
        self._choose()

    def _choose(self) -> None:
        """Attribute what is summed as far as is told: more channels, or fewer (see counted)."""
        summed = counted_channels(self._seen, self._used).summed
        kept = [place for position, place in self._places.items() if position in summed]
        added = [position for position in summed if position not in self._places]
        held = [position for position in self._places if position in summed]
        self._places = {position: place for place, position in enumerate(held + added)}
        self.channels = [self._seen[position] for position in self._places]
        self._rows = [self._rows[place] for place in kept] + [[] for _ in added]
        self._newest_ns = [self._newest_ns[place] for place in kept] + [0] * len(added)
        self._booked = [self._booked[place] for place in kept] + [Booked() for _ in added]
        self.power_w = [self.power_w[place] for place in kept] + [math.nan] * len(added)
        self.covered_ns = np.append(self.covered_ns[kept], np.zeros(len(added)))
        more = np.zeros((len(added), len(PHASES)))
        self.phase_j = np.vstack([self.phase_j[kept], more])
        self._pending.choose(kept, len(added))

    def _hear(self, mark: MarkRow) -> None:
        """Learn from a note which device the training uses."""
        name = self._names[mark[2]] if mark[2] < len(self._names) else ""
        if mark[1] == NOTE and name.startswith(DEVICE_NOTE):
            self._used |= {name.removeprefix(DEVICE_NOTE)}
            self._choose()

    def feed(
        self, readings: Iterable[ReadingRow], marks: Iterable[MarkRow], names: tuple[str, ...]
    ) -> None:
        """Take new rows, in the order in which the record gets them."""
        self._names = names
        for mark in marks:
            if is_cutting(mark[1], mark[2]) or not (self._marks or self._breaks_ns):
                self._breaks_ns.append(mark[0])
            self._marks.append(mark)
            if mark[1] == STOP:
                self._stop_ns = mark[0]
            elif mark[1] == NOTE:
                self._hear(mark)
        for row in readings:
            place = self._places.get(row[0])
            if place is not None:
                self._rows[place].append(row)
                self._newest_ns[place] = row[2]

    def settle(self, *, closed: bool = False, wait: bool = False) -> list[SettledStep]:
        """Attribute what no later row can change.

        Args:
            closed: The run is over and all rows are fed: the open end is ``other``.
            wait: Some sensor is still being opened, so nothing can be settled yet.

        Returns:
            The steps that have settled since the last call, in order.
        """
        if wait or (self.settled_ns is None and not self._marks):
            return []
        series = [self._series(place) for place in range(len(self.channels))]
        begin_ns = self.settled_ns if self.settled_ns is not None else self._marks[0][0]
        self.begin_ns = begin_ns if self.begin_ns is None else self.begin_ns
        end_ns = self._settleable_ns(series, closed=closed)
        if end_ns <= begin_ns and not closed:
            return []
        end_ns = max(begin_ns, end_ns)
        now = [mark for mark in self._marks if mark[0] <= end_ns or closed]
        self._marks = self._marks[len(now) :]
        cut = timeline(self._with_past(now, begin_ns), end_ns, open_end=True, trained=self._trained)
        if _starts_before_a_step(now):
            self._give_up_pending(OTHER if self._trained else SETUP)
        steps = self._book(cut, series)
        self._follow(now)
        if closed:
            self._give_up_pending(OTHER)
        self.settled_ns = int(cut.edges_ns[-1])
        self._forget(self.settled_ns)
        return steps

    def _series(self, place: int) -> Series:
        rows = self._rows[place]
        columns = list(zip(*rows, strict=True)) if rows else [()] * 5
        readings = ChannelReadings(
            self.channels[place],
            np.array(columns[1], dtype=np.int64),
            np.array(columns[2], dtype=np.int64),
            np.array(columns[3], dtype=np.float64),
            np.array(columns[4], dtype=np.uint8),
        )
        series = series_from(readings)
        if len(rows) > 1:
            before = int(np.searchsorted(series.t_ns, series.t_ns[-1] - POWER_NS, "right")) - 1
            if before >= 0:
                seconds = (series.t_ns[-1] - series.t_ns[before]) / NS_PER_S
                used_j = float(series.energy_j[-1] - series.energy_j[before])
                self.power_w[place] = used_j / seconds
        return series

    def _settleable_ns(self, series: list[Series], *, closed: bool) -> int:
        """Time up to which every channel that still speaks has been read."""
        seen_ns = [*self._newest_ns, *(mark[0] for mark in self._marks[-1:])]
        newest_ns = max(seen_ns, default=self.settled_ns or 0)
        if self._stop_ns is not None and closed:
            return self._stop_ns
        if closed:
            knots_ns = [int(one.t_ns[-1]) for one in series if len(one.t_ns)]
            return max([*knots_ns, *(mark[0] for mark in self._marks[-1:])], default=newest_ns)
        for place, one in enumerate(series):
            if len(one.t_ns) and newest_ns - one.t_hi_ns[-1] >= SILENCE_NS:
                self.power_w[place] = math.nan  # a device that is silent has no latest power
        speaking = [
            final_ns(one)
            for one in series
            if len(one.t_ns) and newest_ns - one.t_hi_ns[-1] < SILENCE_NS
        ]
        ends_ns = [*speaking] if self._stop_ns is None else [*speaking, self._stop_ns]
        return min(ends_ns, default=newest_ns)

    def _with_past(self, rows: list[MarkRow], begin_ns: int) -> Marks:
        """Marks of the tail, led by what is still open from before."""
        past: list[MarkRow] = []
        if self.settled_ns is not None:
            past = [(begin_ns, NOTE, _OTHER_THREAD, 0, 0.0)]  # an edge, and nothing else
            past += [(begin_ns, PHASE_BEGIN, name, 0, 0.0) for name in self._open]
        columns = list(zip(*(past + rows), strict=True)) or [()] * 5
        return Marks(
            np.array(columns[0], dtype=np.int64),
            np.array(columns[1], dtype=np.uint8),
            np.array(columns[2], dtype=np.uint16),
            np.array(columns[3], dtype=np.int64),
            np.array(columns[4], dtype=np.float64),
            self._names,
        )

    def _book(self, cut: Timeline, series: list[Series]) -> list[SettledStep]:
        """Add the energy of the newly settled segments to phases, steps and the open step."""
        count = len(cut.steps.index)
        edges_ns = cut.edges_ns
        lengths_ns = np.diff(edges_ns).astype(np.float64)
        owned, free = cut.step >= 0, cut.step < 0
        waits = owned & (cut.phase == DATA_WAIT)
        trains = owned & ~waits
        unknown = np.zeros(count + 1, dtype=bool)
        train_j = np.zeros((len(series), count + 1))
        wait_j = np.zeros((len(series), count + 1))
        breaks_ns = np.maximum.accumulate(np.array(self._breaks_ns, dtype=np.int64))
        for place, one in enumerate(series):
            run = course(one, breaks_ns)
            late_j, segment_j = self._booked[place].book(one, run, edges_ns)
            phases = np.bincount(cut.phase[free], segment_j[free], minlength=len(PHASES))
            self.phase_j[place] += phases
            self.phase_j[place, UNATTRIBUTED] += late_j
            train_j[place] = np.bincount(cut.step[trains], segment_j[trains], minlength=count + 1)
            wait_j[place] = np.bincount(cut.step[waits], segment_j[waits], minlength=count + 1)
            covered = is_covered(one, edges_ns[:-1], edges_ns[1:])
            self.covered_ns[place] += lengths_ns[covered].sum()
            hidden = owned & ~covered & (lengths_ns > 0)
            unknown |= np.bincount(cut.step[hidden], minlength=count + 1) > 0
        own_ns = np.zeros(count + 1)
        own_ns += np.bincount(cut.step[owned], lengths_ns[owned], minlength=count + 1)
        unknown[:count] |= cut.steps.broken
        self._join_pending(train_j, wait_j, own_ns, unknown)
        steps = self._close_steps(
            cut, train_j[:, :count], wait_j[:, :count], own_ns[:count], unknown[:count]
        )
        self._pending.train_j, self._pending.wait_j = train_j[:, count], wait_j[:, count]
        self._pending.duration_ns = float(own_ns[count])
        self._pending.known = not unknown[count]
        return steps

    def _join_pending(
        self,
        train_j: Floats,
        wait_j: Floats,
        own_ns: Floats,
        unknown: npt.NDArray[np.bool_],
    ) -> None:
        """The step that ends first, or else the open one, began before this tail."""
        train_j[:, 0] += self._pending.train_j
        wait_j[:, 0] += self._pending.wait_j
        own_ns[0] += self._pending.duration_ns
        unknown[0] |= not self._pending.known

    def _close_steps(
        self,
        cut: Timeline,
        train_j: Floats,
        wait_j: Floats,
        own_ns: Floats,
        unknown: npt.NDArray[np.bool_],
    ) -> list[SettledStep]:
        """Book the steps that ended; all at once, because a long record has millions."""
        whole_j = train_j + wait_j
        self.phase_j[:, UNATTRIBUTED] += whole_j[:, unknown].sum(axis=1)
        self.phase_j[:, TRAIN_STEP] += train_j[:, ~unknown].sum(axis=1)
        self.phase_j[:, DATA_WAIT] += wait_j[:, ~unknown].sum(axis=1)
        steps = cut.steps
        known = ~unknown if self.channels else np.zeros(len(unknown), dtype=bool)
        told = np.where(np.isnan(steps.epoch), 0, np.arange(1, len(steps.epoch) + 1))
        epoch = np.append(self._epoch, steps.epoch)[np.maximum.accumulate(told)]
        self._epoch = float(epoch[-1]) if len(epoch) else self._epoch
        columns = (
            steps.index,
            epoch,
            np.where(known, whole_j.sum(axis=0), np.nan),
            own_ns / NS_PER_S,
            steps.batches,
            steps.tokens,
            steps.samples,
            steps.flops,
        )
        return list(map(SettledStep, *(column.tolist() for column in columns)))

    def _give_up_pending(self, phase: int) -> None:
        """Time that was open led to no step; what it used belongs to a phase."""
        self.phase_j[:, phase] += self._pending.train_j + self._pending.wait_j
        self._pending = PendingStep(len(self.channels))

    def _follow(self, rows: list[MarkRow]) -> None:
        """Remember what is open at the end of the tail."""
        for _, kind, name, _, value in rows:
            if kind == PHASE_BEGIN:
                self._open.append(name)
            elif kind == PHASE_END and name in self._open:
                del self._open[len(self._open) - 1 - self._open[::-1].index(name)]
            elif kind == STEP_END or (kind == NOTE and name == _TRAIN_START):
                self._trained = True
            elif kind == VALUE and name == _EPOCH:
                self._epoch = value
        begins = [at for at, row in enumerate(rows) if row[1] == STEP_END or _is_start(row)]
        open_step = rows[begins[-1] + 1 if begins else 0 :]
        if any(kind == NOTE and name == _DROPPED for _, kind, name, _, _ in open_step):
            self._pending.known = False

    def _forget(self, settled_ns: int) -> None:
        """Keep of each channel the last settled knots, which shape the course of what follows."""
        kept_ns = settled_ns
        for rows, booked in zip(self._rows, self._booked, strict=True):
            settled = sum(1 for row in rows if row[2] <= settled_ns)
            dropped = rows[: max(0, settled - CONTEXT)]
            booked.forget(sum(1 for row in dropped if math.isfinite(row[3])))
            del rows[: len(dropped)]
            kept_ns = min(kept_ns, rows[0][1]) if rows else kept_ns
        del self._breaks_ns[: bisect.bisect_left(self._breaks_ns, kept_ns)]


def _starts_before_a_step(rows: list[MarkRow]) -> bool:
    """Whether training starts (again) before any step ends."""
    for row in rows:
        if row[1] == STEP_END:
            return False
        if _is_start(row):
            return True
    return False


def _is_start(row: MarkRow) -> bool:
    return row[1] == NOTE and row[2] == _TRAIN_START
