"""Where runs lie: a folder of this machine, or a URL; both list, read and write the same way."""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greenai.errors import RecordError
from greenai.exporters.files import replacing
from greenai.fleet.walking import run_folders
from greenai.record.files import open_to_read
from greenai.record.written import newest_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

SUMMARY_FILE = "summary.json"
INDEX_FILE = "index.parquet"
SUMMARY_BYTES_MAX = 2**20
INDEX_BYTES_MAX = 2**30
COPY_BYTES = 2**20
"""That are in memory at a time."""


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most ``size`` bytes."""


class Place(Protocol):
    """A root below which runs lie, or a run; names are relative to it, ``.`` is the root itself.

    Every method raises RecordError where the place cannot be read or written.
    """

    def names(self) -> list[str]:
        """Every run by name, sorted."""

    def summaries(self) -> dict[str, bytes | None]:
        """Every run by name, sorted, with its summary.json if not older than the record."""

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below the root, by name; none where there is no root."""

    def at_hand(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Give the run as a folder of this machine, for as long as it is needed."""

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Read a file; None where it is missing, an error where it is larger or a link."""

    def tail(self, name: str, count: int) -> bytes:
        """Read the last bytes of a file."""

    def put(self, name: str, file: Readable) -> None:
        """Put what is left in ``file`` in the place of a file, whole or not at all."""


class Folder:
    """A folder of this machine.

    Args:
        root: It, or a run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def names(self) -> list[str]:
        """See ``Place``."""
        return [folder.relative_to(self.root).as_posix() for folder in run_folders(self.root)]

    def summaries(self) -> dict[str, bytes | None]:
        """See ``Place``."""
        return {name: _summary(self.root / name) for name in self.names()}

    def sizes(self) -> dict[str, int]:
        """See ``Place``."""
        found = {}
        for folder, _, files in os.walk(self.root):
            for name in files:
                path = Path(folder, name)
                found[path.relative_to(self.root).as_posix()] = path.lstat().st_size
        return found

    @contextlib.contextmanager
    def at_hand(self, name: str) -> Iterator[Path]:
        """See ``Place``; it is where it lies."""
        yield self.root / name

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """See ``Place``."""
        path = self.root / name
        if not path.is_symlink() and not path.exists():
            return None
        with os.fdopen(open_to_read(path), "rb") as file:
            return within(path, file.read(bytes_max + 1), bytes_max)

    def tail(self, name: str, count: int) -> bytes:
        """See ``Place``."""
        with os.fdopen(open_to_read(self.root / name), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - count))
            return file.read(count)

    def put(self, name: str, file: Readable) -> None:
        """See ``Place``."""
        with replacing(self.root / name) as copy:
            shutil.copyfileobj(file, copy, COPY_BYTES)


def place_of(root: str | os.PathLike[str], *, new: bool = False) -> Place:
    """The place that a path or a URL names.

    Args:
        root: A path, or a URL that fsspec knows.
        new: Whether it may still have to be made.

    Raises:
        RecordError: There is no such folder, or nothing that can read the URL.
    """
    text = os.fspath(root)
    if text.startswith("file://"):
        text = urllib.parse.unquote(urllib.parse.urlsplit(text).path)
    elif is_url(text):
        from greenai.fleet.store import Store  # noqa: PLC0415 - an extra, for URLs only

        return Store(text)
    path = Path(text)
    if path.is_dir() or (new and not path.exists()):
        return Folder(path)
    raise RecordError(
        f"{root} is no folder.",
        "There are no runs to read.",
        "name a folder that holds run folders",
        path=path,
    )


@contextlib.contextmanager
def at_hand(run: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a run as a folder of this machine: where it lies, or a copy for as long as needed.

    Args:
        run: A path, which is not looked at, or a URL.

    Raises:
        RecordError: The URL cannot be reached, or is of no run.
    """
    if not is_url(run):
        yield Path(run)
        return
    with place_of(run).at_hand(".") as folder:
        yield folder


def is_url(root: str | os.PathLike[str]) -> bool:
    """Whether a text names something that is not a path of this machine.

    Example:
        >>> is_url("s3://bucket/runs"), is_url("runs/dense")
        (True, False)
    """
    return "://" in os.fspath(root)


def within(where: Path | str, data: bytes, bytes_max: int) -> bytes:
    """Give ``data`` back where it is not larger than it may be.

    Raises:
        RecordError: It is.
    """
    if len(data) > bytes_max:
        raise RecordError(f"{where} has more than {bytes_max} bytes.", "It is not read.")
    return data


def _summary(folder: Path) -> bytes | None:
    """The summary of a run; None where it is missing, odd, or older than the record."""
    path = folder / SUMMARY_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if facts.st_size > SUMMARY_BYTES_MAX or facts.st_mtime_ns < newest_ns(folder):
            return None
        try:
            return file.read(SUMMARY_BYTES_MAX)
        except OSError:  # a folder in its place
            return None
