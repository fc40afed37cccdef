"""Figures of the other ranks of a run on this host, so that one endpoint a node shows all."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from greenai.errors import RecordError
from greenai.exporters.live_file import read_live
from greenai.record.documents import LIVE_FILE
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.exporters.figures import Figures
    from greenai.exporters.live_file import Live

STALE_NS = 15 * NS_PER_S
"""A rank writes every second. One that has not for so long is dead or over: its series end."""
LIST_NS = 5 * NS_PER_S
"""New ranks are looked for this often, at a scrape."""
NEIGHBOURS_MAX = 64
_RANK = re.compile(r"rank-(\d{1,6})")


class LocalRanks:
    """The other ranks of one launch of one run, as far as they are on this host.

    Args:
        attempt_folder: Of the rank that asks, ``<run>/rank-R/attempt-<launch_id>``. Ranks of
            another launch are in folders of another name and are not looked at.
        host: Hash of this host, as in the manifests of its ranks.

    Example:
        >>> import tempfile, pathlib
        >>> alone = pathlib.Path(tempfile.mkdtemp()) / "rank-0" / "attempt-a"
        >>> alone.mkdir(parents=True)
        >>> LocalRanks(alone, "0123456789abcdef").figures()
        []
    """

    def __init__(self, attempt_folder: Path, host: str) -> None:
        self._attempt_folder = attempt_folder
        self._host = host
        self._listed_ns = -LIST_NS
        self._near: dict[int, Path] = {}
        self._elsewhere: set[int] = set()
        self._read: dict[int, tuple[tuple[int, int], Live]] = {}

    def figures(self, now_utc_ns: int | None = None) -> list[Figures]:
        """Latest figures of each rank that still writes; one whose file is damaged is left out."""
        now_utc_ns = time.time_ns() if now_utc_ns is None else now_utc_ns
        if time.monotonic_ns() - self._listed_ns >= LIST_NS:
            self._listed_ns = time.monotonic_ns()
            self._look_around()
        found = []
        for rank, path in list(self._near.items()):
            live = self._latest(rank, path)
            if live is None or live.figures.rank != rank:
                continue
            if live.figures.info.get("host") != self._host:
                self._elsewhere.add(rank)
                del self._near[rank]
            elif now_utc_ns - live.written_utc_ns < STALE_NS:
                found.append(live.figures)
        return found

    def are_closed(self) -> bool:
        """Whether every other rank whose file can be read has closed its totals."""
        lives = [self._latest(rank, path) for rank, path in list(self._near.items())]
        own = [one for one in lives if one and one.figures.info.get("host") == self._host]
        return all(one.closed for one in own)

    def _look_around(self) -> None:
        """Find the folders of ranks of this launch: one listing, however many files they hold."""
        own = self._attempt_folder
        try:
            names = [entry.name for entry in own.parent.parent.iterdir()]
        except OSError:
            return
        ranks = [int(found[1]) for name in names if (found := _RANK.fullmatch(name))]
        mine = _RANK.fullmatch(own.parent.name)
        nearest = int(mine[1]) if mine else 0  # ranks of one host are numbered together
        for rank in sorted(ranks, key=lambda rank: abs(rank - nearest)):
            folder = own.parent.parent / f"rank-{rank}" / own.name
            unknown = rank not in self._elsewhere and rank not in self._near
            if unknown and folder != own and len(self._near) < NEIGHBOURS_MAX:
                self._near[rank] = folder / LIVE_FILE

    def _latest(self, rank: int, path: Path) -> Live | None:
        """The file's content; read again only where it was replaced since."""
        try:
            status = path.stat()
            version = (status.st_ino, status.st_mtime_ns)
            known = self._read.get(rank)
            if known is None or known[0] != version:
                known = self._read[rank] = (version, read_live(path))
        except (OSError, RecordError):
            self._read.pop(rank, None)
            return None
        return known[1]
