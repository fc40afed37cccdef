"""Opening a record: everything that is on disk of a run, checked, or an error that says where."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.errors import RecordError
from greenai.record.attempts import open_attempt
from greenai.record.claim import run_id_of
from greenai.record.manifest import MANIFEST, read_run_manifest
from greenai.record.types import SCHEMA_VERSION, Record

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from greenai.record.types import Attempt

_RANK = re.compile(r"rank-(\d{1,6})")
_ATTEMPT = re.compile(r"attempt-[A-Za-z0-9._-]{1,160}")
_ATTEMPTS_MAX = 100_000
_LEVELS_UP = 3


def open_record(path: str | os.PathLike[str], *, partial: bool = False) -> Record:
    """Read a run folder, finished or still being written.

    What a killed process left torn is left out and said in ``problems``. Nothing is changed on
    disk, no link is followed, and what is read cannot take more memory than it has rows.

    Args:
        path: The run folder, or anything in it.
        partial: Whether to read what lies before damage, and to leave out attempts whose manifest
            is damaged, instead of raising; ``problems`` says what is missing.

    Returns:
        The record, its attempts ordered by launch, then rank.

    Raises:
        RecordError: There is no run, it is empty, of another schema version, or damaged. ``path``
            and ``offset`` say where.
    """
    folder = _run_folder(Path(path))
    problems: list[str] = []
    manifest = _run_manifest(folder, problems)
    found = []
    for rank, attempt_folder in attempt_folders(folder):
        try:
            attempt = open_attempt(attempt_folder, partial=partial)
            if attempt is not None:
                _check_belongs(attempt, rank, manifest)
        except RecordError as error:
            if not partial:
                raise
            problems.append(f"rank-{rank}/{attempt_folder.name} is left out: {error.what}")
            continue
        if attempt is None:
            name = f"rank-{rank}/{attempt_folder.name}"
            problems.append(f"{name} is left out: it was ended before anything was recorded.")
        else:
            found.append(attempt)
    if not found:
        raise RecordError(
            f"{folder} holds a run, but nothing was recorded in it.",
            " ".join(problems) or "It has no attempts.",
            "a run that has just begun has its first data after a second",
            path=folder,
        )
    return Record(folder, manifest, tuple(_ordered(found)), tuple(problems))


def _run_folder(path: Path) -> Path:
    """The run folder that ``path`` is or lies in."""
    if not path.exists():
        raise RecordError(
            f"{path} does not exist.",
            "There is no run to read.",
            "give the folder that the run was recorded in",
            path=path,
        )
    inner = not path.is_dir() or path.name.startswith(("rank-", "attempt-"))
    outer = path.absolute().parents[:_LEVELS_UP] if inner else ()
    for candidate in (path, *outer):
        if candidate.is_dir() and _is_run(candidate):
            return candidate
    inside = [one for one in path.glob("*/") if _is_run(one)]
    names = ", ".join(str(one) for one in sorted(inside)[:5])
    raise RecordError(
        f"{path} holds no run.",
        "It has neither a manifest.json nor the folder of a rank.",
        f"there are runs in it: {names}"
        if inside
        else "give the folder that a run was recorded in",
        path=path,
    )


def _is_run(folder: Path) -> bool:
    if _RANK.fullmatch(folder.parent.name) and _ATTEMPT.fullmatch(folder.name):
        return False
    return (folder / MANIFEST).exists() or any(
        _RANK.fullmatch(one.name) for one in folder.glob("rank-*")
    )


def _run_manifest(folder: Path, problems: list[str]) -> dict[str, Any]:
    """The run's manifest; where rank 0 was ended before it wrote one, what is known without it."""
    if (folder / MANIFEST).exists():
        return read_run_manifest(folder)
    run_id = run_id_of(folder)
    if not run_id:
        raise RecordError(
            f"{folder / MANIFEST} is missing.",
            "It is unclear which run the ranks belong to.",
            "copy the record whole",
            path=folder / MANIFEST,
        )
    problems.append("The run's manifest is missing: its variant and configuration are unknown.")
    return {"schema_version": SCHEMA_VERSION, "run_id": run_id, "variant": "", "config": {}}


def attempt_folders(folder: Path) -> Iterator[tuple[int, Path]]:
    """Rank and folder of every attempt; a link in the place of a folder is refused."""
    count = 0
    for rank_folder in sorted(folder.glob("rank-*")):
        rank = _RANK.fullmatch(rank_folder.name)
        if rank is None:
            continue
        _require_folder(rank_folder)
        for attempt in sorted(rank_folder.glob("attempt-*")):
            if _ATTEMPT.fullmatch(attempt.name) is None:
                continue
            _require_folder(attempt)
            count += 1
            if count > _ATTEMPTS_MAX:
                raise RecordError(
                    f"{folder} holds more than {_ATTEMPTS_MAX} attempts.", path=folder
                )
            yield int(rank[1]), attempt


def _require_folder(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise RecordError(
            f"{folder} is no folder of its own.",
            "A record lies in one folder; what a link leads to is not read.",
            "copy what the link leads to into the record",
            path=folder,
        )


def _check_belongs(attempt: Attempt, rank: int, manifest: dict[str, Any]) -> None:
    for key, expected in (("rank", rank), ("run_id", manifest["run_id"])):
        found = attempt.manifest[key]
        if found != expected:
            raise RecordError(
                f"{attempt.folder / MANIFEST} is of {key} {found!r}, not {expected!r}.",
                "It belongs to another run or rank; their numbers must not be mixed.",
                "copy the record again",
                path=attempt.folder / MANIFEST,
            )


def _ordered(attempts: list[Attempt]) -> list[Attempt]:
    """Number the launches by their start and sort by launch, then rank."""
    starts: dict[str, tuple[str, int]] = {}
    for attempt in attempts:
        launch = attempt.folder.name
        start = (str(attempt.manifest.get("started_utc") or ""), attempt.anchors[0].utc_ns)
        starts[launch] = min(start, starts.get(launch, start))
    order = {launch: n for n, launch in enumerate(sorted(starts, key=lambda name: starts[name]))}
    numbered = [
        dataclasses.replace(attempt, attempt=order[attempt.folder.name]) for attempt in attempts
    ]
    return sorted(numbered, key=lambda one: (one.attempt, one.rank))
