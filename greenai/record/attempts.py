"""Reading one attempt: its frames, events and manifest joined to arrays and checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from greenai.errors import RecordError
from greenai.record.columns import decode_marks, decode_readings
from greenai.record.documents import parse_object
from greenai.record.files import open_to_read
from greenai.record.frames import FrameReader
from greenai.record.manifest import MANIFEST, channels_of, read_attempt_manifest
from greenai.record.types import STOP, Attempt, ChannelReadings, Marks
from greenai.record.writer import EVENT_BYTES_MAX, EVENTS_FILE, MARKS_FILE, READINGS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from greenai.record.types import Anchor, Ended
    from greenai.sensors.base import Channel

ROWS_MAX = 500_000_000
"""Of one file; two months of eight GPUs have as many."""
ROWS_FREE = 60_000_000
"""Above that a row takes at least a byte of its file (9 are usual, and a quarter of one where ten
million steps follow each other at once): a file of a few bytes that unpacks to gigabytes was made
up."""
EVENTS_BYTES_MAX = 64 * 2**20
EVENTS_MAX = 500_000

Columns = TypeVar("Columns")


def open_attempt(folder: Path, *, partial: bool = False) -> Attempt | None:
    """Read the folder of an attempt.

    The frames are read before the manifest: a running sampler writes the manifest first, so what
    the frames refer to is in it.

    Args:
        folder: The attempt's folder.
        partial: Whether to read what lies before damage instead of raising.

    Returns:
        The attempt, numbered 0; None where it was ended before anything was recorded.

    Raises:
        RecordError: It is damaged; ``path`` and ``offset`` say where.
    """
    problems: list[str] = []
    anchors: dict[int, Anchor] = {}
    readings = _frames(folder / READINGS_FILE, decode_readings, anchors, problems, partial=partial)
    marks = _frames(folder / MARKS_FILE, decode_marks, anchors, problems, partial=partial)
    events = _events(folder / EVENTS_FILE, problems, partial=partial)
    if not anchors:
        return None
    manifest = read_attempt_manifest(folder)
    channels = channels_of(manifest, folder / MANIFEST)
    joined = _marks(marks, tuple(manifest["names"]), folder / MARKS_FILE)
    return Attempt(
        folder=folder,
        rank=manifest["rank"],
        attempt=0,
        launch_id=manifest["launch_id"],
        manifest=manifest,
        channels=channels,
        readings=_by_channel(readings, channels, folder / READINGS_FILE),
        marks=joined,
        events=tuple(events),
        anchors=tuple(anchors[t_ns] for t_ns in sorted(anchors)),
        ended=_ended(joined, events),
        problems=tuple(problems),
    )


def _frames(
    path: Path,
    decode: Callable[[bytes], tuple[Columns, Anchor]],
    anchors: dict[int, Anchor],
    problems: list[str],
    *,
    partial: bool,
) -> list[Columns]:
    """Decode the frames of a file that may be missing."""
    decoded: list[Columns] = []
    if not path.is_symlink() and not path.exists():
        return decoded
    reader = FrameReader(path, partial=partial)
    damage: RecordError | None = None
    rows = 0
    for frame in reader:
        try:
            columns, anchor = decode(frame.payload)
        except RecordError as error:
            damage = RecordError(
                f"{path} is damaged at byte {frame.offset} of {reader.size_bytes}: {error.what}",
                error.meaning,
                error.hint,
                path=path,
                offset=frame.offset,
            )
            if partial:
                break
            raise damage from error
        anchors[anchor.monotonic_ns] = anchor
        decoded.append(columns)
        rows += _size(columns)
        rows_max = min(ROWS_MAX, max(ROWS_FREE, reader.size_bytes))
        if rows > rows_max:
            raise RecordError(
                f"{path} has more than {rows_max} rows.", "It is not read.", path=path
            )
    damage = damage or reader.damage
    if damage is not None:
        problems.append(f"{damage.what} What lies behind is left out.")
    if reader.tail is not None:
        offset, size = reader.tail
        problems.append(
            f"{path.name} ends in a frame that was not finished: {size} bytes at byte {offset} are "
            "left out, at most what the last flush held."
        )
    return decoded


def _size(columns: Any) -> int:
    return len(columns.kind)


def _joined(parts: list[Any], name: str, type_: type) -> npt.NDArray[Any]:
    if not parts:
        return np.empty(0, type_)
    return np.concatenate([getattr(part, name) for part in parts])


def _by_channel(
    parts: list[Any], channels: tuple[Channel, ...], path: Path
) -> tuple[ChannelReadings, ...]:
    """Rows of all frames, per channel and in time order."""
    channel = _joined(parts, "channel", np.uint16)
    if len(channel) and channel.max() >= len(channels):
        raise _unknown(path, f"channel {channel.max()}", len(channels))
    t_hi = _joined(parts, "t_hi_ns", np.int64)
    order = np.lexsort((t_hi, channel))  # stable: equal times stay in the order of writing
    borders = np.searchsorted(channel[order], np.arange(len(channels) + 1))
    t_lo = _joined(parts, "t_lo_ns", np.int64)
    value = _joined(parts, "value", np.float64)
    kind = _joined(parts, "kind", np.uint8)
    readings = []
    for position, one in enumerate(channels):
        mine = order[borders[position] : borders[position + 1]]
        readings.append(ChannelReadings(one, t_lo[mine], t_hi[mine], value[mine], kind[mine]))
    return tuple(readings)


def _without_repeats(parts: list[Any]) -> list[Any]:
    """Leave out a frame that the next one begins with.

    A sampler that was killed between writing marks and freeing their slots in the ring leaves
    them to its successor, which writes them once more.
    """
    kept = []
    for part, following in zip(parts, [*parts[1:], None], strict=False):
        size = _size(part)
        repeated = following is not None and all(
            np.array_equal(getattr(part, name), getattr(following, name)[:size])
            for name in ("t_ns", "kind", "name", "index")
        )
        if not repeated:
            kept.append(part)
    return kept


def _marks(parts: list[Any], names: tuple[str, ...], path: Path) -> Marks:
    parts = _without_repeats(parts)
    name = _joined(parts, "name", np.uint16)
    if len(name) and name.max() >= len(names):
        raise _unknown(path, f"name {name.max()}", len(names))
    return Marks(
        t_ns=_joined(parts, "t_ns", np.int64),
        kind=_joined(parts, "kind", np.uint8),
        name=name,
        index=_joined(parts, "index", np.int64),
        value=_joined(parts, "value", np.float64),
        names=names,
    )


def _unknown(path: Path, what: str, count: int) -> RecordError:
    return RecordError(
        f"{path} refers to {what}, but the manifest has {count}.",
        "The manifest is not the one of these frames.",
        "copy the record again",
        path=path,
    )


def _events(path: Path, problems: list[str], *, partial: bool) -> list[dict[str, Any]]:
    """Events of a file that may be missing; a last line that was not finished is left out."""
    if not path.is_symlink() and not path.exists():
        return []
    with os.fdopen(open_to_read(path), "rb") as file:
        data = file.read(EVENTS_BYTES_MAX + 1)
    if len(data) > EVENTS_BYTES_MAX:
        raise RecordError(
            f"{path} has more than {EVENTS_BYTES_MAX} bytes.", "It is not read.", path=path
        )
    *lines, rest = data.split(b"\n")
    if rest:
        problems.append(
            f"{path.name} ends in a line that was not finished: {len(rest)} bytes are left out."
        )
    if len(lines) > EVENTS_MAX:
        raise RecordError(f"{path} has more than {EVENTS_MAX} lines.", "It is not read.", path=path)
    events: list[dict[str, Any]] = []
    offset = 0
    for line in lines:
        try:
            events.append(_event(line, path))
        except RecordError as error:
            damage = RecordError(
                f"{path} is damaged at byte {offset} of {len(data)}.",
                "Which gaps and warnings there were is known before that only.",
                "copy the record again, or read what lies before with partial=True (--partial)",
                path=path,
                offset=offset,
            )
            if not partial:
                raise damage from error
            problems.append(f"{damage.what} What lies behind is left out.")
            return events
        offset += len(line) + 1
    return events


def _event(line: bytes, path: Path) -> dict[str, Any]:
    if len(line) > EVENT_BYTES_MAX:
        raise RecordError(f"{path} has a line of {len(line)} bytes.", path=path)
    event = parse_object(line, path)
    if type(event.get("t_ns")) is not int or not isinstance(event.get("what"), str):
        raise RecordError(f"{path} has a line that is no event.", path=path)
    return event


def _ended(marks: Marks, events: list[dict[str, Any]]) -> Ended:
    """How the attempt ended: the training's word goes before the sampler's."""
    said = {event["what"] for event in events}
    if (marks.kind == STOP).any() or "stopped" in said:
        return "stopped"
    return "parent_died" if "parent_died" in said else "unknown"
