"""Which folders below a root are runs; decided here for reports, index and list."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "manifest.json"
RANK = re.compile(r"rank-\d{1,6}")
OF_A_RUN = re.compile(
    r"launches/run_id\.txt|manifest\.json|"
    r"rank-\d{1,6}/attempt-[A-Za-z0-9._-]{1,160}/"
    r"(manifest\.json|events\.jsonl|marks\.frames|readings\.frames|codecarbon_check\.json)"
)
"""Files that a record consists of, as seen from its folder; nothing else is copied as such."""
DERIVED = ("steps.csv", "steps.parquet", "phases.csv", "subphases.csv")
"""Files worked out from a record that are copied with it; summary.json comes after them."""


def run_folders(root: Path) -> Iterator[Path]:
    """Folders that hold a run, sorted; what lies within a run is no run, links are not followed.

    A run whose rank 0 was ended before it wrote a manifest is a run too. A folder that cannot be
    looked into is given as well, so that it does not vanish.

    Args:
        root: A folder that is a run or holds some, at any depth.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "deep" / "dense" / "rank-0").mkdir(parents=True)
        >>> [folder.name for folder in run_folders(root)]
        ['dense']
    """
    waiting = [os.fspath(root)]
    while waiting:
        folder = waiting.pop()
        if os.path.lexists(f"{folder}/{MANIFEST}"):  # one call where a listing takes several
            yield Path(folder)
            continue
        try:
            with os.scandir(folder) as inner:
                below = [one.path for one in inner if one.is_dir(follow_symlinks=False)]
        except OSError:
            yield Path(folder)  # whoever reads it says why it cannot be read
            continue
        if any(RANK.fullmatch(path.rpartition("/")[2]) for path in below):
            yield Path(folder)
        else:
            waiting.extend(sorted(below, reverse=True))


def newest_ns(folder: Path) -> int:
    """When the record of a run was last written, in Unix nanoseconds; derived files do not count.

    What was written meanwhile is missing from a summary of before.
    """
    newest = _written_ns(folder / MANIFEST)
    for rank in _folders(folder, "rank-"):
        for attempt in _folders(rank, "attempt-"):
            for name in (MANIFEST, "marks.frames", "readings.frames"):
                newest = max(newest, _written_ns(attempt / name))
    return newest


def _folders(folder: Path, start: str) -> list[Path]:
    with os.scandir(folder) as inner:
        return [
            Path(one.path)
            for one in inner
            if one.name.startswith(start) and one.is_dir(follow_symlinks=False)
        ]


def _written_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0
