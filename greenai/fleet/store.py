"""Runs behind a URL, through fsspec: listed in one go, copied with care, credentials its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec

from greenai.errors import RecordError
from greenai.fleet.places import COPY_BYTES, SUMMARY_BYTES_MAX, SUMMARY_FILE, within
from greenai.fleet.walking import MANIFEST, OF_A_RUN, RANK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.fleet.places import Readable

FILES_MAX = 500_000
"""Of one run."""
RUN_BYTES_MAX = 64 * 2**30
"""Of one run; a year of eight GPUs takes as much."""

_CREDENTIALS = re.compile(r"//[^/@]*:[^/@]*@")
_FAILURES = (
    ("botocore.exceptions", "BotoCoreError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("aiohttp.client_exceptions", "ClientError"),
)
"""Looked up only where a file system has loaded them."""
_WRITTEN = ("LastModified", "last_modified", "mtime", "updated", "created")
"""Where file systems say when a file was written."""


class Store:
    """A place behind a URL.

    Args:
        url: As fsspec takes it, such as ``s3://bucket/runs``; credentials come from the
            environment, as the file system takes them there.

    Raises:
        RecordError: Nothing that is installed reads such a URL, or it holds a password.
    """

    def __init__(self, url: str) -> None:
        if _CREDENTIALS.search(url):
            raise RecordError(
                "The URL holds a user name and a password.",
                "It would stand in histories and logs; nothing was read or written.",
                "give the credentials by the environment, as fsspec's file system takes them",
            )
        self.url = url.rstrip("/")
        with _reached(self.url):
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        self._root = self._root.rstrip("/")

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        """See ``Place``; one listing of everything: a request takes as long as 1000 names."""
        return sorted(_by_run(self._files()))

    def summaries(self) -> dict[str, bytes | None]:
        """See ``Place``; where nobody knows when files were written, a summary is believed."""
        runs = _by_run(self._files())
        fresh = {name: path for name in sorted(runs) if (path := _fresh_summary(runs[name]))}
        with _reached(self.url):
            found = self._fs.cat(list(fresh.values()), on_error="omit") if fresh else {}
        if not isinstance(found, dict):  # of a single path some give the bytes alone
            found = dict.fromkeys(fresh.values(), found)
        data = {name: found.get(path) for name, path in fresh.items()}
        return {name: data.get(name) for name in sorted(runs)}

    def sizes(self) -> dict[str, int]:
        """See ``Place``."""
        return {name: int(info.get("size") or 0) for name, info in self._files().items()}

    @contextlib.contextmanager
    def at_hand(self, name: str) -> Iterator[Path]:
        """See ``Place``; a copy that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="greenai-") as folder:
            yield self.fetch(Path(folder), name)

    def fetch(self, into: Path, name: str = ".") -> Path:
        """Copy a run to this machine: files that a record consists of, and no others.

        Args:
            into: An empty folder.
            name: The run.

        Returns:
            The run folder, named as there.

        Raises:
            RecordError: It is no run, larger than it may be, or than there is room.
        """
        prefix = "" if name == "." else f"{name}/"
        files = {
            path.removeprefix(prefix): info
            for path, info in self._files(prefix).items()
            if OF_A_RUN.fullmatch(path.removeprefix(prefix))
        }
        total = sum(int(info.get("size") or 0) for info in files.values())
        room = min(RUN_BYTES_MAX, shutil.disk_usage(into).free)
        if not files or len(files) > FILES_MAX or total > room:
            raise RecordError(
                f"{self.url}/{prefix} holds no run."
                if not files
                else f"{self.url}/{prefix} has {len(files)} files of {total} bytes; "
                f"{FILES_MAX} of {room} can be taken.",
                "It is not read.",
                "give the URL of a run folder" if not files else "make room, or copy it yourself",
            )
        last = f"{self._root}/{prefix}".rstrip("/").rpartition("/")[2]
        folder = into / (re.sub(r"[^\w.+=@-]", "_", last).lstrip(".") or "run")
        for path, info in sorted(files.items()):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with _reached(self.url), self._fs.open(info["name"], "rb") as file:
                size = info.get("size")  # which a web server's listing does not tell
                _copy(file, target, room if size is None else int(size))
            room -= target.stat().st_size
            if room <= 0:
                raise RecordError(
                    f"{self.url}/{prefix} has more bytes than the {RUN_BYTES_MAX} that a run may "
                    "have, or than there is room.",
                    "It is not read.",
                    "make room, or copy it yourself",
                )
        return folder

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """See ``Place``."""
        try:
            with self._fs.open(self._path(name), "rb") as file:
                data: bytes = file.read(bytes_max + 1)
        except FileNotFoundError:
            return None
        except _failures() as error:
            raise _refused(self.url, error) from error
        return within(name, data, bytes_max)

    def tail(self, name: str, count: int) -> bytes:
        """See ``Place``."""
        with _reached(self.url):
            size = int(self._fs.info(self._path(name))["size"])
            start = max(0, size - count)
            data: bytes = self._fs.cat_file(self._path(name), start=start, end=size)
        return data

    def put(self, name: str, file: Readable) -> None:
        """See ``Place``; an object appears when it is whole."""
        with _reached(self.url), self._fs.open(self._path(name), "wb") as copy:
            shutil.copyfileobj(file, copy, COPY_BYTES)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _files(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """What is known of every file, by name below the root."""
        with _reached(self.url):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self._path(prefix).rstrip("/"), detail=True)
                if not found:  # walks pass over what cannot be listed; this says it
                    self._fs.ls(self._path(prefix).rstrip("/"), detail=False)
            except FileNotFoundError:
                return {}
        start = f"{self._root}/"
        return {
            str(path).removeprefix(start): info
            for path, info in found.items()
            if str(path).startswith(start)
        }


def _by_run(files: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Files by run, as seen from the run's folder; those of no run are left out."""
    runs: dict[str, dict[str, dict[str, Any]]] = {}
    known: set[str] = set()
    for name in files:
        parts = name.split("/")
        for depth, part in enumerate(parts):
            if RANK.fullmatch(part) or (part == MANIFEST and depth == len(parts) - 1):
                known.add("/".join(parts[:depth]) or ".")
                break
    for name, info in files.items():
        parts = name.split("/")
        for depth in range(len(parts)):
            run = "/".join(parts[:depth]) or "."
            if run in known:
                runs.setdefault(run, {})["/".join(parts[depth:])] = info
                break
    return runs


def _fresh_summary(files: dict[str, dict[str, Any]]) -> str | None:
    """Path of a summary that is not older than the record; None where there is none."""
    info = files.get(SUMMARY_FILE)
    if info is None or int(info.get("size") or 0) > SUMMARY_BYTES_MAX:
        return None
    written = _written(info)
    others = (_written(other) for name, other in files.items() if OF_A_RUN.fullmatch(name))
    if written is not None and any(one is not None and one > written for one in others):
        return None
    return str(info["name"])


def _written(info: dict[str, Any]) -> float | None:
    """When a file was written, in Unix seconds; None where nobody knows."""
    for name in _WRITTEN:
        value = info.get(name)
        if isinstance(value, dt.datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


def _copy(file: Any, target: Path, size: int) -> None:
    """Copy as many bytes as were announced; a file that has more is a running one."""
    left = size
    with target.open("xb") as copy:
        while left > 0 and (block := file.read(min(COPY_BYTES, left))):
            copy.write(block)
            left -= len(block)


@contextlib.contextmanager
def _reached(url: str) -> Iterator[None]:
    """Say in three parts why a URL cannot be reached."""
    try:
        yield
    except _failures() as error:
        raise _refused(url, error) from error
    except ImportError as error:
        raise RecordError(
            f"{url} cannot be reached: {error}.",
            "Nothing was read or written.",
            f"pip install {str(error.name or '').partition('.')[0] or 'what it names'}",
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What file systems raise: OSError as a rule, and their own where credentials are missing."""
    own = (getattr(sys.modules.get(module), name, None) for module, name in _FAILURES)
    return (OSError, ValueError, *(one for one in own if one is not None))


def _refused(url: str, error: Exception) -> RecordError:
    return RecordError(
        f"{url} cannot be reached: {str(error) or type(error).__name__}.",
        "Nothing was read, or what is there is not complete.",
        "check the URL and the credentials in the environment, then repeat the command",
    )
