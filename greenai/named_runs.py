"""Which run folders a path or a pattern on the command line means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from greenai.errors import ComparisonError

if TYPE_CHECKING:
    import os


def run_folders(pattern: str | os.PathLike[str]) -> list[Path]:
    """Run folders that a path means: itself, the runs in it, or those that a pattern matches.

    Raises:
        ComparisonError: There are none.
    """
    path = Path(pattern)
    if any(sign in str(pattern) for sign in "*?[") and not path.exists():
        root = Path(path.anchor or ".")
        matches = sorted(root.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        found = [match for match in matches if _is_run(match)]
    elif path.is_dir() and not _is_run(path):
        found = sorted(inner for inner in path.iterdir() if _is_run(inner))
    else:
        return [path]
    if not found:
        raise ComparisonError(
            f"No run lies at {pattern}.",
            "There is nothing to compare.",
            "name run folders, or a folder that holds some",
        )
    return found


def _is_run(path: Path) -> bool:
    return (path / "manifest.json").is_file()
