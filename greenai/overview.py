"""All runs below a folder, those included that failed or cannot be read, with their digests."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from typing import TYPE_CHECKING, Any

from greenai import api
from greenai.errors import GreenAIError, RecordError
from greenai.exporters.portfolio import Entry
from greenai.fleet.walking import MANIFEST, run_folders

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 2**20


def entries_of(
    root: Path,
    first: dt.date | None = None,
    last: dt.date | None = None,
    **factors: Any,
) -> list[Entry]:
    """Every run below a folder that started within some days.

    Args:
        root: A folder that holds runs, at any depth.
        first: First day, in UTC; None is no bound.
        last: Last day, included.
        **factors: As for ``greenai.load``.

    Returns:
        One entry a run, by folder. A run that cannot be read, or whose start nobody knows, is in
        it whatever the days: left out, it would read as if it had cost nothing.

    Raises:
        RecordError: No run lies below the folder.
    """
    folders = list(run_folders(root))
    if not folders:
        raise RecordError(
            f"No run lies below {root}.",
            "There is nothing to report.",
            "name a folder that holds run folders",
            path=root,
        )
    entries = (_entry(folder, root, factors) for folder in folders)
    return [entry for entry in entries if _within(entry, first, last)]


def record_sha256(folder: Path) -> str:
    """Digest of what the record of a run consists of; files derived from it do not enter.

    It is the digest of the lines that ``sha256sum`` prints for manifest.json and every file below
    the folders of the ranks, sorted by name.

    Args:
        folder: The run folder.

    Returns:
        Hexadecimal digits; empty where a file cannot be read.
    """
    ranks = (path for path in folder.glob("rank-*/**/*") if path.is_file())
    lines = []
    try:
        for path in [folder / MANIFEST, *sorted(ranks)]:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
            lines.append(f"{digest.hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    except OSError:
        return ""
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _entry(folder: Path, root: Path, factors: dict[str, Any]) -> Entry:
    name = folder.relative_to(root).as_posix()
    name = folder.resolve().name if name == "." else name
    try:
        summary, problem = api.load(folder, partial=True, **factors).summary(), ""
    except GreenAIError as error:
        summary, problem = None, error.what.replace(f"{root}{os.sep}", "")
    return Entry(name, summary, problem, record_sha256(folder))


def _within(entry: Entry, first: dt.date | None, last: dt.date | None) -> bool:
    try:
        text = str((entry.summary or {}).get("started_utc"))
        started = dt.datetime.fromisoformat(text).astimezone(dt.UTC).date()
    except ValueError:
        return True
    return (first is None or started >= first) and (last is None or started <= last)
