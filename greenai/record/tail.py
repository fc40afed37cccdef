"""The growing end of a record: what has been written since the last look, and nothing twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenai.errors import RecordError
from greenai.record.files import open_to_read
from greenai.record.frames import HEADER_BYTES, FrameReader

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX = 2**18
"""Of frames that one look takes: some 20,000 steps with tokens, samples and loss."""
LINES_BYTES_MAX = 4 * 2**20
"""Of a file of lines that one look reads."""


class ReplacedError(RecordError):
    """The file is not the one that was read before: it is shorter, or another one."""


class FrameTail:
    """Reads a frame file as it grows; a frame that is not finished yet is none.

    Args:
        path: The file; it need not be there yet.

    Attributes:
        damage: What is wrong, where reading has ended for good; None while all is well.
        more: Whether the last look left frames for the next one.

    Example:
        >>> import tempfile, pathlib
        >>> from greenai.record.frames import frame_bytes
        >>> tail = FrameTail(pathlib.Path(tempfile.mkdtemp()) / "marks.frames")
        >>> tail.read()
        []
        >>> _ = tail.path.write_bytes(frame_bytes(b"one") + frame_bytes(b"two")[:-1])
        >>> tail.read(), tail.read()
        ([b'one'], [])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: RecordError | None = None
        self.more = False
        self._offset = 0
        self._last: tuple[int, bytes] = (0, b"")
        self._file: tuple[int, int] | None = None

    def read(self, bytes_max: int = BYTES_MAX) -> list[bytes]:
        """Payloads of the frames that are new, some ``bytes_max`` of them at most.

        Raises:
            ReplacedError: The file is another one than before, or is gone.
            RecordError: It cannot be read.
        """
        self.more = False
        if self.damage is not None or not self._has_more():
            return []
        reader = FrameReader(self.path, partial=True, start=self._offset)
        payloads: list[bytes] = []
        taken = 0
        for frame in reader:
            self._offset = frame.offset + HEADER_BYTES + len(frame.payload)
            self._last = (frame.offset, frame.payload[:HEADER_BYTES])
            payloads.append(frame.payload)
            taken += len(frame.payload)
            if taken >= bytes_max:
                self.more = True
                break
        self.damage = reader.damage
        return payloads

    def share_read(self) -> float:
        """How much of the file has been read, 0 to 1; 1 for a file that is not there."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return 1.0
        return min(1.0, self._offset / size) if size else 1.0

    def _has_more(self) -> bool:
        """Whether the file has grown; it must be the one that was read before."""
        try:
            descriptor = open_to_read(self.path)
        except RecordError:
            if self._file is None and not os.path.lexists(self.path):
                return False
            if self._file is not None:
                raise ReplacedError(f"{self.path} is gone.", path=self.path) from None
            raise
        try:
            found = os.fstat(descriptor)
            offset, begin = self._last
            same = self._file in {None, (found.st_dev, found.st_ino)}
            same = same and found.st_size >= self._offset
            if same and begin:
                same = os.pread(descriptor, len(begin), offset + HEADER_BYTES) == begin
        finally:
            os.close(descriptor)
        if not same:
            raise ReplacedError(f"{self.path} is another file than before.", path=self.path)
        self._file = (found.st_dev, found.st_ino)
        return found.st_size > self._offset


class LineTail:
    """Reads a file of lines as it grows; a line that is not finished yet is none.

    Args:
        path: The file; it need not be there yet.

    Example:
        >>> import tempfile, pathlib
        >>> tail = LineTail(pathlib.Path(tempfile.mkdtemp()) / "events.jsonl")
        >>> _ = tail.path.write_bytes(b"one" + bytes([10]) + b"tw")
        >>> tail.read(), tail.read()
        ([b'one'], [])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[bytes]:
        """The lines that are new; none where there is no such file.

        Raises:
            RecordError: It cannot be read.
        """
        if not os.path.lexists(self.path):
            return []
        descriptor = open_to_read(self.path)
        try:
            data = os.pread(descriptor, LINES_BYTES_MAX, self._offset)
        finally:
            os.close(descriptor)
        *lines, _ = data.split(b"\n")
        self._offset += sum(len(line) + 1 for line in lines)
        if not lines and len(data) == LINES_BYTES_MAX:
            self._offset += len(data)  # no line of ours is as long: it is passed over
        return lines
