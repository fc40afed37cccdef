"""The only doors to the disk: a link is never followed, a failed write leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING
from uuid import uuid4

from greenai.errors import RecordError

if TYPE_CHECKING:
    from pathlib import Path

FILE_MODE = 0o666
"""Of new files; the user's umask takes its part away."""


def open_to_read(path: Path) -> int:
    """Open a regular file of a record for reading.

    Args:
        path: The file; a link or a pipe in its place is refused, so that a record from elsewhere
            can neither lead out of its folder nor make the reader wait.

    Returns:
        A file descriptor.

    Raises:
        RecordError: It is missing, not readable, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be read: {error.strerror}.",
            "What it holds is missing from this run, not zero.",
            "a link is not followed; check that the record was copied whole",
            path=path,
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecordError(f"{path} is no regular file.", "It is not read.", path=path)
    return descriptor


def open_to_append(path: Path) -> int:
    """Open or create a file for reading and appending.

    Raises:
        OSError: It cannot be opened, is a link, or is no regular file. The error names no path,
            because its text may be kept in the record.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except OSError as error:
        raise OSError(error.errno, f"{path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path.name} is no regular file")
    return descriptor


def append_bytes(descriptor: int, data: bytes) -> int:
    """Append all of ``data`` or nothing.

    Returns:
        Where the data begins in the file.

    Raises:
        OSError: The disk refused; what had been written of ``data`` is cut off again.
    """
    start = os.fstat(descriptor).st_size
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, start)
        raise
    return start


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file at once: a reader sees the old or the new, whole.

    There is no fsync: a power cut may lose the newest state, a killed process cannot.

    Raises:
        OSError: The disk refused; the old file is untouched. The error names no path, because its
            text may be kept in the record.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, FILE_MODE)
        try:
            append_bytes(descriptor, data)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, f"{path.name}: {error.strerror}") from error
