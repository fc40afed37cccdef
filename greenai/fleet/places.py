"""Where runs lie: a folder of this machine, or a URL; both list, read and write the same way."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greenai.errors import RecordError
from greenai.exporters.files import replacing
from greenai.fleet.walking import newest_ns, run_folders
from greenai.record.files import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator

SUMMARY_FILE = "summary.json"
INDEX_FILE = "index.parquet"
SUMMARY_BYTES_MAX = 2**20
INDEX_BYTES_MAX = 2**30


class Place(Protocol):
    """A root below which runs lie; names of runs are relative to it, ``.`` is the root itself."""

    def names(self) -> list[str]:
        """Every run by name, sorted.

        Raises:
            RecordError: The place cannot be read.
        """

    def summaries(self) -> dict[str, bytes | None]:
        """Every run by name, sorted, with its summary.json where it is not older than the record.

        Raises:
            RecordError: The place cannot be read.
        """

    def at_hand(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Give the run as a folder of this machine, for as long as it is needed."""

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Read a file below the root; None where it is missing.

        Raises:
            RecordError: It is larger, a link, or cannot be read.
        """

    def write(self, name: str, data: bytes) -> None:
        """Put a file below the root, whole or not at all.

        Raises:
            RecordError: It cannot be written.
        """


class Folder:
    """A folder of this machine.

    Args:
        root: It, or a run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """See ``Place``."""
        return [folder.relative_to(self.root).as_posix() for folder in run_folders(self.root)]

    def summaries(self) -> dict[str, bytes | None]:
        """See ``Place``."""
        return {name: _summary(self.root / name) for name in self.names()}

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
            data = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise RecordError(
                f"{path} has more than {bytes_max} bytes.", "It is not read.", path=path
            )
        return data

    def write(self, name: str, data: bytes) -> None:
        """See ``Place``."""
        with replacing(self.root / name) as file:
            file.write(data)


def place_of(root: str | os.PathLike[str]) -> Place:
    """The place that a path or a URL names.

    Raises:
        RecordError: There is no such folder.
    """
    path = Path(root)
    if not path.is_dir():
        raise RecordError(
            f"{root} is no folder.",
            "There are no runs to read.",
            "name a folder that holds run folders",
            path=path,
        )
    return Folder(path)


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
