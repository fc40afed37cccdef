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
