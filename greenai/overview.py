"""All runs below a folder, those included that failed or cannot be read, with their digests."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from typing import TYPE_CHECKING, Any

from greenai import api
from greenai.errors import GreenAIError, RecordError
from greenai.exporters.portfolio import Entry
from greenai.fleet.places import place_of
from greenai.fleet.walking import MANIFEST, OF_A_RUN
from greenai.record.files import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.fleet.places import Place

BLOCK_BYTES = 2**20


def entries_of(
    root: str | os.PathLike[str],
    first: dt.date | None = None,
    last: dt.date | None = None,
    **factors: Any,
) -> list[Entry]:
    """Every run below a folder that started within some days.

    Args:
        root: A folder or URL below which runs lie, at any depth.
        first: First day, in UTC; None is no bound.
        last: Last day, included.
        **factors: As for ``greenai.load``.

    Returns:
        One entry a run, by folder. A run that cannot be read, or whose start nobody knows, is in
        it whatever the days: left out, it would read as if it had cost nothing.

    Raises:
        RecordError: No run lies below the folder.
    """
    place = place_of(root)
    names = place.names()
    if not names:
        raise RecordError(
            f"No run lies below {root}.",
            "There is nothing to report.",
            "name a folder that holds run folders",
        )
    entries = (_entry(place, name, factors) for name in names)
    return [entry for entry in entries if _within(entry, first, last)]


def record_sha256(folder: Path) -> str:
    """Digest of what the record of a run consists of; files derived from it do not enter.

    It is the digest of the lines that ``sha256sum`` prints for manifest.json and what every attempt
    recorded (manifest.json, *.frames, events.jsonl), sorted by name; a copy has the same.

    Args:
        folder: The run folder.

    Returns:
        Hexadecimal digits; empty where a file cannot be read.
    """
    lines = []
    try:
        found = {path.relative_to(folder).as_posix(): path for path in folder.glob("rank-*/*/*")}
        ranks = [path for name, path in sorted(found.items()) if OF_A_RUN.fullmatch(name)]
        for path in [folder / MANIFEST, *ranks]:
            digest = hashlib.sha256()
            with os.fdopen(open_to_read(path), "rb") as file:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
            lines.append(f"{digest.hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    except (OSError, RecordError):  # missing, or a link
        return ""
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _entry(place: Place, name: str, factors: dict[str, Any]) -> Entry:
    folder = None
    try:
        with place.at_hand(name) as folder:
            shown = folder.resolve().name if name == "." else name
            digest = record_sha256(folder)
            summary, problem = api.load(folder, partial=True, **factors).summary(), ""
    except GreenAIError as error:
        if folder is None:
            return Entry(name, None, error.what, "")
        problem = error.what.replace(str(folder), shown)
        return Entry(shown, None, problem, digest)
    return Entry(shown, summary, problem, digest)


def _within(entry: Entry, first: dt.date | None, last: dt.date | None) -> bool:
    try:
        text = str((entry.summary or {}).get("started_utc"))
        started = dt.datetime.fromisoformat(text).astimezone(dt.UTC).date()
    except ValueError:
        return True
    return (first is None or started >= first) and (last is None or started <= last)
