"""Rows of an attempt as its files grow: readings and marks in step, and the clock to date them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.errors import RecordError
from greenai.record.columns import decode_marks, decode_readings
from greenai.record.tail import FrameTail
from greenai.record.writer import MARKS_FILE, READINGS_FILE
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.record.columns import MarkColumns, Readings
    from greenai.record.types import Anchor
    from greenai.units import Floats, Ns

ANCHORS_KEPT = 4_096
FOREVER_NS = 2**62


class GrowingRows:
    """Reads both frame files of an attempt so that neither gets ahead of the other.

    Args:
        folder: The attempt's folder.

    Attributes:
        more: Whether the last look left something for the next one.
        first_ns: Time of the first anchor; None before there is one.
        problems: What could not be read, in sentences.
    """

    def __init__(self, folder: Path) -> None:
        self.more = False
        self.first_ns: int | None = None
        self.problems: list[str] = []
        self._readings_tail = FrameTail(folder / READINGS_FILE)
        self._marks_tail = FrameTail(folder / MARKS_FILE)
        self._readings: list[tuple[Readings, Anchor]] = []
        self._marks: list[tuple[MarkColumns, Anchor]] = []
        self._last_marks: MarkColumns | None = None
        self._unsure_ns = 0
        self._known_ns = np.empty(0, np.int64)
        self._offset_ns = np.empty(0, np.int64)

    @property
    def share_read(self) -> float:
        """How much of the files has been read, 0 to 1; 1 where only the newest is to come."""
        tails = (self._readings_tail, self._marks_tail)
        return min(tail.share_read() if tail.more else 1.0 for tail in tails)

    def read(self) -> bool:
        """Read what is new: readings first, so that no mark of their time is missing.

        Returns:
            Whether there was anything.

        Raises:
            ReplacedError: A file is another one than before.
            RecordError: A file cannot be read.
        """
        # A file that is ahead of the other waits, lest its rows pile up here.
        readings_ns, marks_ns = self._newest_ns()
        ahead = readings_ns > marks_ns and self._marks_tail.more
        readings = [] if ahead else self._readings_tail.read()
        behind = marks_ns > readings_ns and self._readings_tail.more
        marks = [] if behind else self._marks_tail.read()
        anchors = self._take_readings(readings) + self._take_marks(marks)
        if anchors:
            self._date(anchors)
        self.more = self._readings_tail.more or self._marks_tail.more
        damages = (self._readings_tail.damage, self._marks_tail.damage)
        self.problems = [f"{one.what} What lies behind is not shown." for one in damages if one]
        return bool(readings or marks)

    def take(self, *, final: bool) -> tuple[list[Readings], list[MarkColumns]]:
        """Rows that can be attributed.

        The newest readings wait one look for the marks that the sampler writes beside them a
        moment later.

        Args:
            final: Whether nothing more is to come.
        """
        limit_ns = FOREVER_NS if final else self._limit_ns()
        readings = [rows for rows, anchor in self._readings if anchor.monotonic_ns <= limit_ns]
        marks = [rows for rows, anchor in self._marks if anchor.monotonic_ns <= limit_ns]
        del self._readings[: len(readings)], self._marks[: len(marks)]
        return readings, marks

    def utc_s(self, t_ns: Ns) -> Floats:
        """Moments in UTC seconds, by the latest anchor before each."""
        latest = np.searchsorted(self._known_ns, t_ns, side="right") - 1
        offset_ns = self._offset_ns[np.clip(latest, 0, len(self._known_ns) - 1)]
        return np.asarray((t_ns + offset_ns) / NS_PER_S, dtype=np.float64)

    def _newest_ns(self) -> tuple[int, int]:
        """Anchors of the newest readings and marks that have been read and not been taken."""
        readings_ns = self._readings[-1][1].monotonic_ns if self._readings else 0
        return readings_ns, self._marks[-1][1].monotonic_ns if self._marks else 0

    def _limit_ns(self) -> int:
        """Up to which anchor frames can be taken: both files go on together."""
        readings_ns, marks_ns = self._newest_ns()
        limit_ns = max(marks_ns, self._unsure_ns)
        self._unsure_ns = readings_ns or self._unsure_ns
        if self._readings_tail.more:
            limit_ns = min(limit_ns, readings_ns)
        if self._marks_tail.more:
            limit_ns = min(limit_ns, marks_ns)
        return limit_ns

    def _take_readings(self, payloads: list[bytes]) -> list[Anchor]:
        anchors = []
        for payload in payloads:
            try:
                self._readings.append(decode_readings(payload))
            except RecordError as error:
                self._readings_tail.damage = error
                break
            anchors.append(self._readings[-1][1])
        return anchors

    def _take_marks(self, payloads: list[bytes]) -> list[Anchor]:
        anchors = []
        for payload in payloads:
            try:
                columns, anchor = decode_marks(payload)
            except RecordError as error:
                self._marks_tail.damage = error
                break
            self._marks.append((self._without_repeats(columns), anchor))
            self._last_marks = columns
            anchors.append(anchor)
        return anchors

    def _without_repeats(self, columns: MarkColumns) -> MarkColumns:
        """Leave out what the frame before held already: a restarted sampler writes it once more."""
        last = self._last_marks
        size = 0 if last is None else len(last.kind)
        if last is None or size > len(columns.kind):
            return columns
        names = ("t_ns", "kind", "name", "index")
        if not all(np.array_equal(getattr(last, n), getattr(columns, n)[:size]) for n in names):
            return columns
        parts = {f.name: getattr(columns, f.name)[size:] for f in dataclasses.fields(columns)}
        return dataclasses.replace(columns, **parts)

    def _date(self, anchors: list[Anchor]) -> None:
        """Take in the anchors of new frames; the oldest are let go of."""
        offsets_ns = dict(zip(self._known_ns.tolist(), self._offset_ns.tolist(), strict=True))
        offsets_ns |= {one.monotonic_ns: one.utc_ns - one.monotonic_ns for one in anchors}
        known_ns = sorted(offsets_ns)[-ANCHORS_KEPT - len(anchors) :]
        self.first_ns = known_ns[0] if self.first_ns is None else self.first_ns
        self._known_ns = np.array(known_ns, dtype=np.int64)
        self._offset_ns = np.array([offsets_ns[t_ns] for t_ns in known_ns], dtype=np.int64)


def plain_rows(columns: Any) -> list[Any]:
    """Rows of the columns, in plain numbers."""
    names = [field.name for field in dataclasses.fields(columns)]
    return list(zip(*(getattr(columns, name).tolist() for name in names), strict=True))
