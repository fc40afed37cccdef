"""Live figures of every run below a folder, for one endpoint a node or a cluster."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from greenai.errors import RecordError
from greenai.exporters.live_file import read_live
from greenai.following.attempt import RECENT_S, SILENT_S
from greenai.record.documents import LIVE_FILE
from greenai.record.reader import attempt_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from greenai.exporters.figures import Figures

Stamp = tuple[int, int, int]


class _Seen:
    """One live.json as it was last read."""

    def __init__(self) -> None:
        self.stamp: Stamp | None = None
        self.changed_s = -math.inf
        self.figures: Figures | None = None


class LiveFigures:
    """Reads what the samplers below a folder write; those that write no more disappear.

    An attempt is live while its live.json is not closed and changes: whether it does is seen by
    this process's own clock, so that hosts whose clocks differ are no matter. Only where a file is
    first seen does its age count.

    Args:
        clock: Monotonic seconds; a parameter so that a test need not wait.

    Example:
        >>> LiveFigures().collect()
        []
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Path, _Seen] = {}
        self._lock = threading.Lock()

    def find(self, runs: Iterable[Path]) -> None:
        """Look which attempts of these runs may be live; called now and then, and not at a scrape.

        Args:
            runs: Folders of all runs.
        """
        found: set[Path] = set()
        for run in runs:
            try:
                folders = [folder for _, folder in attempt_folders(run)]
            except (RecordError, OSError):
                continue
            found.update(folder / LIVE_FILE for folder in folders)
        recent = {path for path in found if _age_s(path) < RECENT_S}
        with self._lock:
            kept = {path: one for path, one in self._seen.items() if path in found}
            self._seen = {path: kept.get(path) or _Seen() for path in recent | set(kept)}

    def collect(self) -> list[Figures]:
        """Latest figures of all live attempts; a file is read again only where it has changed."""
        with self._lock:
            now_s = self._clock()
            for path, seen in self._seen.items():
                _refresh(path, seen, now_s)
            return [
                one.figures
                for one in self._seen.values()
                if one.figures is not None and now_s - one.changed_s < SILENT_S
            ]


def _refresh(path: Path, seen: _Seen, now_s: float) -> None:
    stamp = _stamp(path)
    if stamp == seen.stamp:
        return
    seen.stamp, seen.changed_s, seen.figures = stamp, now_s, None
    if stamp is None:
        return
    try:
        live = read_live(path)
    except RecordError:
        return
    seen.figures = None if live.closed else live.figures


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _age_s(path: Path) -> float:
    stamp = _stamp(path)
    return math.inf if stamp is None else time.time() - stamp[1] / 1e9
