"""When a record was last written: what was worked out from it before is not believed."""

from __future__ import annotations

import os
from pathlib import Path

from greenai.record.manifest import MANIFEST


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
