"""A power distribution unit's readings, as something else appends them to a CSV file.

The file's first line names its columns; ``utc`` and ``watts`` are read, others left alone. ``utc``
is ISO 8601 (without a zone it is UTC) or seconds since 1970, ``watts`` the mean power since the row
before. Only what is appended after the sensor has opened is read, whole lines alone.
"""

from __future__ import annotations

import csv
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors.base import Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.node import node_channel, running_w
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.sensors.base import Channel

PREFIX = "pdu:"
PERIOD_NS = NS_PER_S
AHEAD_NS = 5 * NS_PER_S
"""A row whose time lies further ahead than this has another clock."""
READ_BYTES = 1 << 20
COLUMNS = ("utc", "watts")
FORM = "its first line must be: utc,watts"


class Columns(NamedTuple):
    """Where the two columns stand."""

    utc: int
    watts: int


class PduSensor:
    """A growing file of readings.

    Args:
        path: The file.
        columns: Where its columns stand.
        channel: What its watts mean.
        offset: Position from which it is read.
    """

    name = "pdu"
    period_ns = PERIOD_NS

    def __init__(self, path: Path, columns: Columns, channel: Channel, offset: int) -> None:
        self.channels: tuple[Channel, ...] = (channel,)
        self._path = path
        self._columns = columns
        self._offset = offset
        self._last_ns = 0

    def read(self) -> list[Reading]:
        """Rows appended since the last call, each at its own time."""
        now_ns = monotonic_ns()
        try:
            rows = self._appended()
        except OSError as error:
            reason = f"{self._path.name} cannot be read: {error.strerror or error}"
            return [Reading(0, now_ns, now_ns, math.nan, reason)]
        return [self._reading(row, now_ns) for row in rows]

    def close(self) -> None:
        """Nothing to let go of: the file is opened for every read."""

    def _appended(self) -> list[list[str]]:
        with self._path.open("rb") as file:
            if file.seek(0, 2) < self._offset:  # begun anew
                self._offset = 0
            file.seek(self._offset)
            whole, newline, _ = file.read(READ_BYTES).rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        rows = csv.reader(whole.decode("utf-8", "replace").splitlines())
        return [row for row in rows if row and _columns_of(row) is None]

    def _reading(self, row: list[str], now_ns: int) -> Reading:
        try:
            utc_ns = _utc_ns(row[self._columns.utc])
            power_w = running_w(float(row[self._columns.watts]))
            t_ns = now_ns + utc_ns - time.time_ns()
            if t_ns > now_ns + AHEAD_NS:
                raise ValueError("its time lies ahead of this machine's")  # noqa: TRY301 - one way for all that is wrong
            if t_ns <= self._last_ns:
                raise ValueError("it is not later than the row before")  # noqa: TRY301 - as above
        except (ValueError, IndexError, OverflowError) as error:
            reason = f"{self._path.name}: the row {','.join(row)[:60]!r} is not used: {error}"
            return Reading(0, now_ns, now_ns, math.nan, reason)
        self._last_ns = t_ns
        t_ns = min(t_ns, now_ns)
        return Reading(0, t_ns, t_ns, power_w)


def open_pdu(name: str, proc: str = "/proc", number: int = 1) -> tuple[list[Sensor], list[Refusal]]:
    """Open a file of a power distribution unit's readings.

    Args:
        name: ``pdu:PATH``.
        proc: Root of the proc file system, for the host's identity.
        number: Which of several files it is.

    Returns:
        One sensor, or none; and why the file is refused.
    """
    path = Path(name.removeprefix(PREFIX)).expanduser()
    try:
        with path.open("rb") as file:
            head = file.readline().decode("utf-8", "replace")
            end = file.seek(0, 2)
            file.seek(max(0, end - READ_BYTES))
            rest = len(file.read().rpartition(b"\n")[2])  # of a line that is still being written
    except OSError as error:
        reason = f"The readings of the PDU cannot be read: {path.name} ({error.strerror or error})."
        return [], [Refusal("pdu", reason, f"let it be written to the file named: {FORM}")]
    columns = _columns_of(next(csv.reader([head]), []))
    if columns is None:
        reason = (
            f"{path.name} begins with {head.strip()[:60]!r}, which names no columns utc and watts."
        )
        return [], [Refusal("pdu", reason, FORM)]
    device = f"pdu-{path.stem}" if number == 1 else f"pdu-{path.stem}-{number}"
    key = f"{host_id(proc)}/{device}"
    channel = node_channel("pdu_csv", device, key, "power_w", PERIOD_NS)
    return [PduSensor(path, columns, channel, end - rest)], []


def _columns_of(row: list[str]) -> Columns | None:
    names = [name.strip().lower().lstrip("\ufeff") for name in row]
    if not all(column in names for column in COLUMNS):
        return None
    return Columns(names.index("utc"), names.index("watts"))


def _utc_ns(text: str) -> int:
    try:
        return int(float(text) * NS_PER_S)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * NS_PER_S)
