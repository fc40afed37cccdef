"""The frame file: an append-only sequence of payloads in which damage is found and located.

A frame is 12 bytes of header (magic, length u32, CRC-32 of the payload u32, little-endian) and a
payload of 1 byte to 16 MiB. There is no index and no end mark: a file is good at every moment.

Which damage is harmless is decided by what follows it. A bad frame behind which no good frame can
be found is a *torn tail*: the write that was under way when a process was killed. It is cut, and
the cut is reported. A bad frame behind which a good frame begins (its magic, length and CRC are
looked for at every byte) cannot come from a killed writer, because a writer appends and cuts a
torn tail before it appends: it is *damage*, a RecordError with its offset.

A reader takes the size of the file once, when it opens it, and never looks further: a file that is
being written gives a correct prefix.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from greenai.errors import OrderError, RecordError
from greenai.record.files import append_bytes, open_to_append, open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"\xa7GF\x01"
"""Begins every frame; its first byte is no ASCII, so that no text is taken for a frame."""
PAYLOAD_BYTES_MAX = 16 * 2**20

_HEADER = struct.Struct("<4sII")
HEADER_BYTES = _HEADER.size

_WINDOW_BYTES = 2**20
_CHECKED_BYTES_MAX = 256 * 2**20
"""Payloads checked in one search for a good frame; only a made-up file comes near it."""


class TornTail(NamedTuple):
    """An incomplete last frame that is not read.

    Attributes:
        offset: Where it begins.
        size_bytes: What is cut.
    """

    offset: int
    size_bytes: int


class Frame(NamedTuple):
    """A good frame.

    Attributes:
        offset: Where its header begins.
        payload: Its content; the CRC fits.
    """

    offset: int
    payload: bytes


def frame_bytes(payload: bytes) -> bytes:
    """Header and payload as they stand in the file.

    Raises:
        OrderError: The payload is empty or larger than 16 MiB.

    Example:
        >>> len(frame_bytes(b"abc"))
        15
    """
    if not 0 < len(payload) <= PAYLOAD_BYTES_MAX:
        raise OrderError(f"A frame's payload has {len(payload)} bytes, not 1 to 16 MiB.")
    return _HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def append_frame(descriptor: int, payload: bytes) -> int:
    """Append one frame, whole or not at all; return its offset.

    Raises:
        OSError: The disk refused; the file is as it was before.
    """
    return append_bytes(descriptor, frame_bytes(payload))


def open_for_append(path: Path) -> tuple[int, TornTail | None]:
    """Open a frame file for a writer, cutting what an earlier writer left torn.

    Args:
        path: The file; created where it is missing.

    Returns:
        The descriptor, open for appending, and what was cut. Good frames are never cut, even
        where there is damage before them: that is for the reader to say.

    Raises:
        OSError: The file cannot be opened, or is a link.
    """
    descriptor = open_to_append(path)
    try:
        size = os.fstat(descriptor).st_size
        end = _good_end(descriptor, size)
        if end < size:
            os.ftruncate(descriptor, end)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, TornTail(end, size - end) if end < size else None


class FrameReader:
    """Reads the good frames of a file in order, one in memory at a time.

    Args:
        path: The file.
        partial: Whether damage ends the reading instead of raising.
        start: Where to begin: 0, or behind a frame that was read before.

    Attributes:
        tail: The torn tail; known once the frames have been read.
        damage: With ``partial``, the damage that ended the reading.
        size_bytes: Size of the file when the reading began.
    """

    def __init__(self, path: Path, *, partial: bool = False, start: int = 0) -> None:
        self.path = path
        self.partial = partial
        self.start = start
        self.tail: TornTail | None = None
        self.damage: RecordError | None = None
        self.size_bytes = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the good frames.

        Raises:
            RecordError: There is damage before the last good frame; ``path`` and ``offset`` say
                where. Or the file cannot be read.
        """
        descriptor = open_to_read(self.path)
        try:
            self.size_bytes = os.fstat(descriptor).st_size
            yield from self._frames(descriptor, self.size_bytes)
        except OSError as error:
            raise RecordError(
                f"{self.path} cannot be read: {error.strerror}.", path=self.path
            ) from error
        finally:
            os.close(descriptor)

    def _frames(self, descriptor: int, size: int) -> Iterator[Frame]:
        offset = self.start
        while offset < size:
            payload = _payload_at(descriptor, offset, size)
            if payload is None:
                later = _next_good(descriptor, offset + 1, size)
                if later is None:
                    self.tail = TornTail(offset, size - offset)
                    return
                # A writer whose disk was full may just have replaced what it had begun.
                payload = _payload_at(descriptor, offset, size)
            if payload is None:
                self.damage = self._damaged(offset, size)
                if self.partial:
                    return
                raise self.damage
            yield Frame(offset, payload)
            offset += HEADER_BYTES + len(payload)

    def _damaged(self, offset: int, size: int) -> RecordError:
        share = offset / size
        return RecordError(
            f"{self.path} is damaged at byte {offset} of {size}.",
            f"There are good data behind it; the {share:.0%} of the file before it can be read.",
            "copy the record again, or read what lies before the damage with partial=True "
            "(--partial)",
            path=self.path,
            offset=offset,
        )


def read_frames(path: Path, *, partial: bool = False) -> tuple[list[bytes], TornTail | None]:
    """Read all payloads of a frame file.

    Args:
        path: The file.
        partial: Whether to return the frames before damage instead of raising.

    Returns:
        The payloads in order, and the torn tail that was left out, if there was one.

    Raises:
        RecordError: There is damage before the last good frame, or the file cannot be read.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "readings.frames"
        >>> _ = path.write_bytes(frame_bytes(b"one") + frame_bytes(b"two")[:-1])
        >>> read_frames(path)
        ([b'one'], TornTail(offset=15, size_bytes=14))
    """
    reader = FrameReader(path, partial=partial)
    return [frame.payload for frame in reader], reader.tail


def _payload_at(descriptor: int, offset: int, size: int) -> bytes | None:
    """Payload of the frame at ``offset``; None where no good frame stands within ``size``."""
    length = _length_at(os.pread(descriptor, HEADER_BYTES, offset), offset, size)
    if not length:
        return None
    whole = os.pread(descriptor, HEADER_BYTES + length, offset)
    payload = whole[HEADER_BYTES:]
    # The header is looked at again: only what one read returned belongs together.
    if len(payload) != length or whole != frame_bytes(payload):
        return None
    return payload


def _length_at(header: bytes, offset: int, size: int) -> int:
    """Length of the payload that a header announces; 0 where it is no header."""
    if len(header) < HEADER_BYTES:
        return 0
    magic, length, _ = _HEADER.unpack(header)
    fits = magic == MAGIC and 0 < length <= PAYLOAD_BYTES_MAX
    return length if fits and offset + HEADER_BYTES + length <= size else 0


def _next_good(descriptor: int, start: int, size: int) -> int | None:
    """Offset of the first good frame at or behind ``start``; None where there is none.

    A file made up to be expensive (headers without end that announce much) ends the search:
    then the place reached counts as good, so that the file is refused rather than cut.
    """
    checked_bytes = 0
    while start < size:
        window = os.pread(descriptor, min(_WINDOW_BYTES, size - start), start)
        if not window:
            return None
        found = window.find(MAGIC)
        while found >= 0:
            offset = start + found
            header = os.pread(descriptor, HEADER_BYTES, offset)
            checked_bytes += _length_at(header, offset, size)
            if checked_bytes > _CHECKED_BYTES_MAX or _payload_at(descriptor, offset, size):
                return offset
            found = window.find(MAGIC, found + 1)
        # A magic may lie across the border of two windows.
        start += max(1, len(window) - len(MAGIC) + 1)
    return None


def _good_end(descriptor: int, size: int) -> int:
    """End of the last good frame."""
    end = 0
    start: int | None = 0
    while start is not None:
        payload = _payload_at(descriptor, start, size)
        if payload is not None:
            start = end = start + HEADER_BYTES + len(payload)
        elif start >= size:
            return end
        else:
            start = _next_good(descriptor, start + 1, size)
            if start is not None and _payload_at(descriptor, start, size) is None:
                return size  # the search was given up: nothing is cut
    return end
