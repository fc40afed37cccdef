"""The runs below a folder, followed side by side by a thread that tells viewers once a second."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.errors import RecordError
from greenai.following.feed import Feed
from greenai.following.nodes import LiveFigures
from greenai.following.run import RunFollower, follow
from greenai.following.view import RunView
from greenai.record.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator

UPDATE_S = 1.0
SCAN_S = 5.0
"""How often new runs are looked for."""
BUSY_S = 0.3
"""A long record is read in parts; viewers see what is there in between."""
DEPTH_MAX = 4
"""Levels below the folder: {project}/{variant}/{job}/{date}."""
FOLDERS_MAX = 20_000
RUNS_SHOWN_MAX = 16
"""The newest runs are shown; the others are counted."""


def runs_below(folder: Path) -> Iterator[Path]:
    """Folders of the runs in a folder; the folder itself may be one.

    Links are not followed, and nothing is looked for in a run. Unlike the walk of an index, this
    one is bounded: it is repeated every few seconds, wherever somebody let it begin.

    Args:
        folder: Where to look.
    """
    left, looked = [(folder, 0)], 0
    while left and looked < FOLDERS_MAX:
        current, depth = left.pop()
        looked += 1
        if _is_run(current):
            yield current
        elif depth < DEPTH_MAX:
            try:
                with os.scandir(current) as entries:
                    inner = [Path(one.path) for one in entries if one.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            left.extend((one, depth + 1) for one in inner if not one.name.startswith("."))


class Watch:
    """Follows the runs below a folder and feeds viewers.

    Args:
        folder: A run folder, or one that holds runs.

    Attributes:
        feed: What viewers listen to.
        live: Live figures of all runs, also of those that are not shown.

    Raises:
        RecordError: There is no such folder.

    Example:
        >>> import tempfile
        >>> watch = Watch(Path(tempfile.mkdtemp()))
        >>> watch.update(), watch.state()["runs"]
        (False, {})
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise RecordError(
                f"{folder} is no folder.",
                "There is nothing to watch.",
                "give a run folder, or one in which runs are or will be",
                path=folder,
            )
        self.folder = folder.resolve()
        self.feed = Feed(self.state)
        self.live = LiveFigures()
        self._views: dict[Path, RunView] = {}
        self._order: list[Path] = []
        self._hidden = 0
        self._scanned = -SCAN_S
        self._shape: tuple[list[str], int] = ([], 0)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="greenai-watch", daemon=True)

    def start(self) -> None:
        """Follow from a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def followers(self) -> list[tuple[str, RunFollower]]:
        """The runs that are shown, newest first."""
        with self._lock:
            views = [self._views[path] for path in self._order if path in self._views]
        return [(view.name, view.follower) for view in views]

    def state(self) -> dict[str, Any]:
        """All that viewers see."""
        with self._lock:
            views = {path: self._views[path] for path in self._order if path in self._views}
            runs = {_key(path): view.whole() for path, view in views.items()}
        return {
            "title": self.folder.name,
            "order": list(runs),
            "hidden": self._hidden,
            "runs": runs,
        }

    def update(self) -> bool:
        """Read what is new, for some time, and tell viewers.

        Returns:
            Whether there is more to read at once.
        """
        if time.monotonic() - self._scanned >= SCAN_S:
            self._scanned = time.monotonic()
            self._scan()
        more = False
        until = time.monotonic() + BUSY_S
        for path in self._order:
            view = self._views.get(path)
            known = view.follower if view is not None else None
            unfinished = True
            while unfinished and (time.monotonic() < until or known is None):
                with self._lock:
                    follower, unfinished = follow(path, known)
                    if follower is None:
                        break
                    if follower is not known:
                        self._views[path] = RunView(_name(path, self.folder), follower)
                    known = follower
            more |= unfinished and known is not None
        self._tell()
        return more

    def _tell(self) -> None:
        """Publish what has changed."""
        with self._lock:
            shown = [path for path in self._order if path in self._views]
            changes = {_key(path): self._views[path].changes() for path in shown}
        content: dict[str, Any] = {"runs": {key: one for key, one in changes.items() if one}}
        shape = ([_key(path) for path in shown], self._hidden)
        if shape != self._shape:
            self._shape = shape
            content |= {"order": shape[0], "hidden": shape[1]}
        if content["runs"] or "order" in content:
            self.feed.publish(content)

    def _scan(self) -> None:
        """Find the newest runs; one that is shown and gone stays, and says so."""
        found = {path: _age(path) for path in runs_below(self.folder)}
        self.live.find(found)
        newest = sorted(found, key=lambda path: (found[path], str(path)), reverse=True)
        gone = [path for path in self._order if path in self._views and path not in found]
        self._hidden = max(0, len(newest) - RUNS_SHOWN_MAX)
        order = [*newest[:RUNS_SHOWN_MAX], *gone[: max(0, RUNS_SHOWN_MAX - len(newest))]]
        with self._lock:
            self._order = order
            self._views = {path: view for path, view in self._views.items() if path in order}

    def _run(self) -> None:
        while not self._ending.is_set():
            begun = time.monotonic()
            more = self.update()
            took_s = time.monotonic() - begun
            self._ending.wait(0.02 if more else max(0.02, UPDATE_S - took_s))


def _is_run(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or (folder / "rank-0").is_dir()


def _age(folder: Path) -> float:
    """When a run began, by its manifest; what comes later sorts higher."""
    try:
        return (folder / "launches").stat().st_mtime
    except OSError:
        return 0.0


def _name(path: Path, folder: Path) -> str:
    return path.name if path == folder else str(path.relative_to(folder))


def _key(path: Path) -> str:
    """What viewers call a run: says nothing of the disk, and stays the same."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
