"""Folders of one run, written where there was no shared file system, copied into one run folder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from greenai.errors import RecordError
from greenai.record.claim import LAUNCHES, RUN_ID_FILE, run_id_of
from greenai.record.files import FILE_MODE, open_to_read
from greenai.record.manifest import MANIFEST, read_attempt_manifest, read_run_manifest
from greenai.record.reader import attempt_folders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILES_MAX = 64
"""In the folder of one attempt; a record has some ten."""
LAUNCHES_MAX = 10_000
NOT_WRITTEN = "Nothing was written."


class Piece(NamedTuple):
    """The folder of one attempt of one rank."""

    rank: int
    folder: Path


def gather(sources: Sequence[Path], out: Path) -> list[Piece]:
    """Copy the ranks and attempts of one run into one folder.

    The order of the sources changes nothing. Whoever looks at ``out`` sees nothing or the whole;
    the sources stay as they are. Links are refused, never followed. Derived files are not copied:
    they are of a part.

    Args:
        sources: Run folders, each with some ranks or attempts of the same run.
        out: The folder to make; it must not exist, or be empty.

    Returns:
        What was copied, by rank and attempt.

    Raises:
        RecordError: The folders are of several runs, hold the same attempt twice or no run, or
            the disk refuses.
    """
    run_id = _only_run(sources)
    pieces: dict[tuple[int, str], Path] = {}
    for source in sources:
        for rank, folder in attempt_folders(source):
            if (other := pieces.get((rank, folder.name))) is not None:
                raise RecordError(
                    f"{other} and {folder} are the same attempt of rank {rank}.",
                    f"Its energy would be counted twice, or one of the two be lost. {NOT_WRITTEN}",
                    "name each folder once; of two copies name the whole one",
                    path=folder,
                )
            _check_piece(folder, rank, run_id)
            pieces[rank, folder.name] = folder
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise RecordError(
            f"{out} exists already.", NOT_WRITTEN, "name a folder that does not exist yet", path=out
        )
    beside = out.with_name(f".{out.name}.{uuid4().hex}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(beside, sources, pieces, run_id)
        beside.rename(out)
    except OSError as error:
        raise RecordError(
            f"{out} cannot be written: {error.strerror or error}.",
            NOT_WRITTEN,
            "name a folder on a disk that has room and that you may write to",
            path=out,
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return [Piece(rank, out / f"rank-{rank}" / name) for rank, name in sorted(pieces)]


def _only_run(sources: Sequence[Path]) -> str:
    """Identity of the run that all sources are of."""
    found: dict[str, Path] = {}
    for source in sources:
        run_id = run_id_of(source) if source.is_dir() else None
        if not run_id:
            raise RecordError(
                f"{source} holds no run.", NOT_WRITTEN, "name the folders of one run", path=source
            )
        found.setdefault(run_id, source)
    if len(found) != 1:
        names = ", ".join(f"{run_id} in {source}" for run_id, source in found.items())
        raise RecordError(
            f"The folders are of {len(found)} runs: {names}.",
            f"Numbers of different runs must not be mixed. {NOT_WRITTEN}",
            "name folders of one run; to see several together: greenai report FOLDER --by variant",
        )
    return next(iter(found))


def _check_piece(folder: Path, rank: int, run_id: str) -> None:
    """Refuse an attempt whose own manifest says that it is of another run or rank."""
    if not (folder / MANIFEST).exists():
        return  # it was ended before anything was recorded
    manifest = read_attempt_manifest(folder)
    for key, expected in (("rank", rank), ("run_id", run_id)):
        if manifest[key] != expected:
            raise RecordError(
                f"{folder / MANIFEST} is of {key} {manifest[key]!r}, not {expected!r}.",
                f"Numbers of different runs or ranks must not be mixed. {NOT_WRITTEN}",
                "copy the record again from where it was written",
                path=folder / MANIFEST,
            )


def _write(
    beside: Path, sources: Sequence[Path], pieces: dict[tuple[int, str], Path], run_id: str
) -> None:
    launches = beside / LAUNCHES
    launches.mkdir(parents=True)
    for source in sources:
        for entry in sorted((source / LAUNCHES).glob("*/"))[:LAUNCHES_MAX]:
            if entry.is_symlink():
                raise RecordError(f"{entry} is a link.", f"It is not followed. {NOT_WRITTEN}")
            (launches / entry.name).mkdir(exist_ok=True)
            for size in entry.glob("of-*"):
                (launches / entry.name / size.name).mkdir(exist_ok=True)
    (launches / RUN_ID_FILE).write_text(f"{run_id}\n", encoding="ascii")
    manifests = [source for source in sources if (source / MANIFEST).exists()]
    if manifests:  # of several starts the earliest is the run's
        earliest = min(
            manifests,
            key=lambda source: (
                str(read_run_manifest(source).get("started_utc")),
                str(sorted(read_run_manifest(source).items())),
            ),
        )
        _copy(earliest / MANIFEST, beside / MANIFEST)
    for (rank, name), folder in sorted(pieces.items()):
        to = beside / f"rank-{rank}" / name
        to.mkdir(parents=True)
        files = sorted(folder.iterdir())
        if len(files) > FILES_MAX:
            raise RecordError(f"{folder} holds {len(files)} files.", NOT_WRITTEN, path=folder)
        for file in files:
            if not file.name.startswith("."):  # what a killed sampler left half-written
                _copy(file, to / file.name)


def _copy(file: Path, to: Path) -> None:
    """Copy a regular file; ``open_to_read`` refuses everything else."""
    with os.fdopen(open_to_read(file), "rb") as read:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(to, flags, FILE_MODE), "wb") as write:
            shutil.copyfileobj(read, write)
