"""Copying a record to where others can read it: whole, again and again, deleting nothing."""

from __future__ import annotations

import io
import json
import os
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenai.errors import GreenAIError, RecordError
from greenai.exporters.files import strict
from greenai.fleet.places import SUMMARY_FILE, Folder, place_of
from greenai.fleet.walking import DERIVED, MANIFEST, OF_A_RUN, RANK
from greenai.record.claim import run_id_of
from greenai.record.documents import OBJECT_BYTES_MAX, parse_object
from greenai.record.files import open_to_read
from greenai.record.written import newest_ns

if TYPE_CHECKING:
    from typing import BinaryIO

    from greenai.fleet.places import Place

RUN_ID = "launches/run_id.txt"
COMPARED_BYTES = 65_536
"""At the end of a large file: as long and with the same end, it is the same."""
_ORDER = {"manifest.json": 0, "codecarbon_check.json": 1, "events.jsonl": 2}
"""Of the files of an attempt; frames, which refer to the manifest, come last."""
GROWS = (".frames", ".jsonl")


class Pushed(NamedTuple):
    """What a push did.

    Attributes:
        copied: Files that were copied, in order.
        kept: How many were there already.
        size_bytes: Of what was copied.
        notices: What is missing there, in sentences.
    """

    copied: tuple[str, ...]
    kept: int
    size_bytes: int
    notices: tuple[str, ...]


def push(run: Path, url: str) -> Pushed:
    """Copy the record of a run, finished or not, to a URL or a folder.

    The run's identity goes first, then per attempt the manifest and what refers to it, then derived
    tables, the run's manifest, and its summary last: where that is, all is. A push that was broken
    off is repeated; what is there already is not copied again. Nothing is deleted, no other run is
    overwritten, and what is longer there than here stays. Ranks that share no disk are pushed to
    the same URL, one after another; together they are the run.

    Args:
        run: The run folder.
        url: Where the run's folder shall be; with a ``/`` at its end, the folder that it shall be
            in.

    Returns:
        What was copied.

    Raises:
        RecordError: It is no run, another one is there, or the place cannot be reached.
    """
    run_id = _identity(run)
    target = place_of(target_of(run, url), new=True)
    there = target.sizes()
    _require_same(target, there, run_id)
    local = _record_files(run)
    notices = []
    copied: list[str] = []
    size_bytes = 0
    for name, size in local.items():
        with os.fdopen(open_to_read(run / name), "rb") as file:
            if _is_there(target, there, name, file, size):
                continue
            file.seek(0)
            target.put(name, _First(file, size))
        copied.append(name)
        size_bytes += size
    if _ranks(there) <= _ranks(local):
        try:
            summary = _summary_of(run)
        except GreenAIError as error:
            notices.append(f"No summary.json was put there: {error.what}")
        else:
            if target.read(SUMMARY_FILE, OBJECT_BYTES_MAX) != summary:
                target.put(SUMMARY_FILE, io.BytesIO(summary))
                copied.append(SUMMARY_FILE)
                size_bytes += len(summary)
    else:
        notices.append("Other ranks are there too: the summary is made of all when they are read.")
    return Pushed(tuple(copied), len(local) + 1 - len(copied), size_bytes, tuple(notices))


def target_of(run: Path, url: str) -> str:
    """Where a run's folder shall be.

    Example:
        >>> target_of(Path("runs/dense"), "s3://bucket/all/")
        's3://bucket/all/dense'
        >>> target_of(Path("runs/dense"), "s3://bucket/other-name")
        's3://bucket/other-name'
    """
    if not url.endswith("/"):
        return url
    name = run.resolve().name
    return url + (urllib.parse.quote(name) if url.startswith("file://") else name)


class _First:
    """The first bytes of a file: what is appended meanwhile is for the next push."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes of what is left."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _identity(run: Path) -> str:
    run_id = run_id_of(run) if run.is_dir() else None
    if not run_id:
        raise RecordError(
            f"{run} holds no run." if run_id is None else f"{run} does not say whose ranks it has.",
            "Nothing was copied.",
            "name a run folder of this machine",
            path=run,
        )
    return run_id


def _record_files(run: Path) -> dict[str, int]:
    """Files in the order in which they are copied, with the size that each has now."""
    links = [one for one in (*run.glob("rank-*"), *run.glob("rank-*/*")) if one.is_symlink()]
    if links:
        raise RecordError(
            f"{links[0]} is a link.",
            "What a link leads to is not copied; nothing was.",
            "copy what it leads to into the record",
            path=links[0],
        )
    sizes = Folder(run).sizes()
    newest = newest_ns(run)
    attempts = sorted(
        (name.rpartition("/")[0], _ORDER.get(name.rpartition("/")[2], len(_ORDER)), name)
        for name in sizes
        if OF_A_RUN.fullmatch(name) and name not in {RUN_ID, MANIFEST}
    )
    derived = [name for name in DERIVED if name in sizes and _is_fresh(run / name, newest)]
    ordered = [RUN_ID, *(name for *_, name in attempts), *derived, MANIFEST]
    return {name: sizes[name] for name in ordered if name in sizes}


def _is_fresh(path: Path, newest: int) -> bool:
    return not path.is_symlink() and path.lstat().st_mtime_ns >= newest


def _require_same(target: Place, there: dict[str, int], run_id: str) -> None:
    """Refuse to mix two runs."""
    found = None
    if RUN_ID in there:
        found = (target.read(RUN_ID, COMPARED_BYTES) or b"").decode("ascii", "replace").strip()
    elif MANIFEST in there:
        manifest = parse_object(target.read(MANIFEST, OBJECT_BYTES_MAX) or b"", Path(MANIFEST))
        found = str(manifest.get("run_id"))
    elif _ranks(there):
        found = "unknown"
    if found not in {None, run_id}:
        raise RecordError(
            f"Run {found!r} is there already, and this is run {run_id!r}.",
            "Nothing was copied: their numbers must not be mixed.",
            "give another URL, or end it with / to put the run below it",
        )


def _is_there(target: Place, there: dict[str, int], name: str, file: BinaryIO, size: int) -> bool:
    """Whether a file is there already, as it is here."""
    if name not in there:
        return False
    if name.endswith(GROWS) and there[name] > size:
        raise RecordError(
            f"{name} has {there[name]} bytes there and {size} here.",
            "What is there is newer, so it was left as it is.",
            "push from where the run was recorded, or give another URL",
        )
    if there[name] != size:
        return False
    if size <= OBJECT_BYTES_MAX:
        return target.read(name, size) == file.read(size)
    file.seek(size - COMPARED_BYTES)
    return target.tail(name, COMPARED_BYTES) == file.read(COMPARED_BYTES)


def _ranks(names: dict[str, int]) -> set[str]:
    return {first for name in names if RANK.fullmatch(first := name.partition("/")[0])}


def _summary_of(run: Path) -> bytes:
    """The summary as it is now, in the words of summary.json."""
    from greenai.api import load  # noqa: PLC0415 - loads pandas

    summary = strict(load(run, partial=True).summary())
    return (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode()
