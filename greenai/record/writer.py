"""Writing the record of one attempt; used by the sampler alone."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError
from greenai.record.columns import encode_marks, encode_readings
from greenai.record.discretion import discreet, discreet_json
from greenai.record.documents import plain_json
from greenai.record.envelope import ROWS_MAX
from greenai.record.files import append_bytes, open_to_append, replace_file
from greenai.record.frames import frame_bytes, open_for_append
from greenai.record.manifest import MANIFEST, read_attempt_manifest, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from greenai.record.columns import MarkRow, ReadingRow
    from greenai.record.types import Anchor

MARKS_FILE = "marks.frames"
READINGS_FILE = "readings.frames"
EVENTS_FILE = "events.jsonl"
LIVE_FILE = "live.json"

_MEANING = ("quantity", "kind", "device_key", "method", "trust", "primary", "wrap_j", "scope")
"""Keys of a channel that say what its values mean."""
EVENT_BYTES_MAX = 65_536
"""Of a line; longer ones are cut to what happened and when."""


class RecordWriter:
    """Appends what the sampler has gathered to the files of an attempt.

    Every method either does all it says or raises OSError and leaves the files as they were, so
    that the sampler can keep its rows and try again. Files are opened when they are first needed.

    A sampler that was restarted goes on in the same files: what its predecessor left torn is cut
    first (and said in an event), and channels keep the positions that earlier readings have, in
    whatever order the sensors open this time.

    Args:
        folder: The attempt's folder, which exists.

    Raises:
        RecordError: The folder has a manifest of an earlier sampler that cannot be read.

    Example:
        >>> import tempfile, pathlib
        >>> from greenai.record.types import Anchor
        >>> writer = RecordWriter(pathlib.Path(tempfile.mkdtemp()))
        >>> writer.write_marks([(7, 3, 0, 41, 1.0)], Anchor(10, 20, 30))
        >>> writer.close()
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptors: dict[str, int] = {}
        self._cuts: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []
        self._positions: list[int] = []
        self._continued = (folder / MANIFEST).exists()
        if self._continued:
            self._channels = read_attempt_manifest(folder)["channels"]

    def write_readings(self, rows: Sequence[ReadingRow], anchor: Anchor) -> None:
        """Append readings.

        Args:
            rows: ``(channel, t_lo_ns, t_hi_ns, value, kind)``, with the channels' positions of the
                last manifest written.
            anchor: Clocks of this moment.

        Raises:
            OSError: The disk refuses them; none is in the file.
            OrderError: A channel is not in the manifest (which a restarted sampler must write
                before it writes readings).
        """
        if self._continued:
            rows = self._renumbered(rows)
        self._append_frames(READINGS_FILE, rows, anchor, encode_readings)

    def write_marks(self, rows: Sequence[MarkRow], anchor: Anchor) -> None:
        """Append marks.

        Args:
            rows: ``(t_ns, kind, name, index, value)``.
            anchor: Clocks of this moment.

        Raises:
            OSError: The disk refuses them; none is in the file.
        """
        self._append_frames(MARKS_FILE, rows, anchor, encode_marks)

    def write_event(self, t_ns: int, what: str, reason: str, **facts: Any) -> None:
        """Append an event: one line, one write.

        Args:
            t_ns: Monotonic clock.
            what: Word for what happened.
            reason: Why, in a sentence; may be empty.
            **facts: Numbers and words that belong to it.

        Raises:
            OSError: The disk refuses it.
        """
        facts, reason = discreet_json(plain_json(facts)), discreet(reason)
        event = {**facts, "t_ns": int(t_ns), "what": what, "reason": reason}
        line = json.dumps(event, allow_nan=False)
        if len(line) >= EVENT_BYTES_MAX:
            line = json.dumps({"t_ns": int(t_ns), "what": what[:80], "reason": reason[:1000]})
        descriptor = self._descriptors.get(EVENTS_FILE)
        if descriptor is None:
            descriptor = self._descriptors[EVENTS_FILE] = _open_lines(self.folder / EVENTS_FILE)
        append_bytes(descriptor, f"{line}\n".encode())

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the attempt's manifest, as sensors open and names grow.

        Args:
            manifest: Its content; the schema's version is put in.

        Raises:
            OSError: The disk refuses it.
        """
        channels = plain_json(list(manifest.get("channels", ())))
        if self._continued:
            channels, positions = _merged(self._channels, channels)
            self._channels, self._positions = channels, positions
        refused = discreet_json(plain_json(list(manifest.get("refused", ()))))
        write_manifest(self.folder, {**manifest, "channels": channels, "refused": refused})

    def write_live(self, live: Mapping[str, Any]) -> None:
        """Replace live.json; unknown numbers become null.

        Raises:
            OSError: The disk refuses it.
        """
        replace_file(self.folder / LIVE_FILE, json.dumps(plain_json(dict(live))).encode())

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _append_frames(
        self,
        name: str,
        rows: Sequence[Any],
        anchor: Anchor,
        encode: Callable[[Sequence[Any], Anchor], bytes],
    ) -> None:
        """Append all frames that the rows need in one write, so that none is there twice."""
        if not rows:
            return
        data = b"".join(
            frame_bytes(encode(rows[first : first + ROWS_MAX], anchor))
            for first in range(0, len(rows), ROWS_MAX)
        )
        descriptor = self._descriptors.get(name)
        if descriptor is None:
            descriptor, tail = open_for_append(self.folder / name)
            self._descriptors[name] = descriptor
            if tail is not None:
                self._cuts.append({"file": name, **tail._asdict()})
        while self._cuts:
            reason = "an earlier sampler was killed while it wrote"
            self.write_event(time.monotonic_ns(), "torn_tail_cut", reason, **self._cuts[0])
            del self._cuts[0]
        append_bytes(descriptor, data)

    def _renumbered(self, rows: Sequence[ReadingRow]) -> list[ReadingRow]:
        known = len(self._positions)
        if any(row[0] >= known for row in rows):
            raise OrderError("There are readings of a channel that the manifest does not have yet.")
        return [(self._positions[row[0]], *row[1:]) for row in rows]


def _merged(
    known: list[dict[str, Any]], given: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[int]]:
    """Add channels to the known ones; return all, and where the given ones stand among them.

    A channel is known again by what its values mean; what was measured of it anew (its refresh)
    keeps the wider bound, which is right for the readings before and after.
    """
    channels = [*known]
    positions: list[int] = []
    for channel in given:
        meaning = [channel.get(key) for key in _MEANING]
        free = (
            position
            for position, old in enumerate(channels)
            if position not in positions and [old.get(key) for key in _MEANING] == meaning
        )
        position = next(free, len(channels))
        if position == len(channels):
            channels.append(channel)
        else:
            old = channels[position]
            refresh_ns = max(old["refresh_ns"], channel["refresh_ns"])
            channels[position] = {**old, "refresh_ns": refresh_ns}
        positions.append(position)
    return channels, positions


def _open_lines(path: Path) -> int:
    """Open a file of lines for appending; a line that was not finished is cut."""
    descriptor = open_to_append(path)
    try:
        end = os.fstat(descriptor).st_size
        start = max(0, end - 2 * EVENT_BYTES_MAX)
        last = os.pread(descriptor, end - start, start)
        if not last.endswith(b"\n"):
            os.ftruncate(descriptor, start + last.rfind(b"\n") + 1)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
