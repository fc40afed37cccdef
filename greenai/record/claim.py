"""Choosing and claiming a run folder, so that no run is ever overwritten or mixed with another.

A folder that is taken holds a folder ``launches``, with one entry a launch and the run's id::

    <run>/launches/run_id.txt
    <run>/launches/<launch_id>/of-N/            one a launch, made by whichever rank comes first
    <run>/rank-R/attempt-<launch_id>/           one a process, made by that process

Nobody waits for anybody. ``launches`` is made beside its place, complete with the run's id and the
launch, and renamed to it: a rename on to a folder that holds something fails, so of several
processes one takes the folder, and the others find at once whose it is. Ranks of one launch share
a launch id that their launcher gave (torchrun, SLURM): whoever comes first takes the folder, and
the others find their own launch in it and join. An attempt's folder is made with ``mkdir``, which
of two processes lets one through. There is no other lock; a killed process leaves none behind.

A run that is there is joined on evidence only: its launches hold an earlier start of this job (the
launcher has restarted it), its id is that of a restored checkpoint, or the user said resume=True.
Else the run goes into a sibling, ``<run>-2``, ``<run>-3`` …, and a notice says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import shutil
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from greenai.errors import OrderError, RecordError
from greenai.record.documents import read_json
from greenai.record.files import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESUME_ASKED = "resume=True"
"""The evidence that joins the named folder, whatever run is in it."""

LAUNCHES = "launches"
RUN_ID_FILE = "run_id.txt"
_OF = "of-"
_SIBLINGS_MAX = 10_000
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Launch(Protocol):
    """What is needed of greenai.live.launch.Launch."""

    @property
    def launch_id(self) -> str:
        """Equal in all ranks of one launch where ``shared``, else unique."""

    @property
    def rank(self) -> int:
        """Global rank."""

    @property
    def world_size(self) -> int:
        """Number of ranks of the launch."""

    @property
    def earlier(self) -> str:
        """Pattern of the ids of earlier starts of the same job; empty where there were none."""

    @property
    def shared(self) -> bool:
        """Whether a launcher gave the id, so that the other ranks know it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A run folder and a place in it that belong to this process.

    Attributes:
        folder: The run folder.
        run_id: The run's id; that of an earlier attempt or rank where there was one.
        attempt_folder: Made by this process, empty.
        created: Whether this process is to write the run's manifest: it is global rank 0, or a
            run of its own, and there is no manifest.
        notice: A sentence for people; None where the wish was simply fulfilled.
    """

    folder: Path
    run_id: str
    attempt_folder: Path
    created: bool
    notice: str | None


def claim_run(folder: Path, run_id: str, launch: Launch, *, evidence: str | None = None) -> Claim:
    """Claim a run folder and an attempt in it for this process.

    Args:
        folder: The folder wished for.
        run_id: Identity of the run, unless the folder's run is joined; that of the restored
            checkpoint where there is one.
        launch: Who starts.
        evidence: Why an existing run may be joined; None joins none. The run joined is the one
            that the evidence fits (see the module), not just any run that lies there.

    Returns:
        The claim; its folder is ``folder`` or a sibling.

    Raises:
        OrderError: The run's or the launch's id is no plain word.
        RecordError: The folder cannot be used.

    Example:
        >>> import tempfile, pathlib
        >>> from greenai.live.launch import launch
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "dense"
        >>> [claim_run(folder, name, launch({})).folder.name for name in "abc"]
        ['dense', 'dense-2', 'dense-3']
    """
    for word in (run_id, launch.launch_id):
        if not _WORD.fullmatch(word):
            raise OrderError(f"{word!r} cannot be an id: letters, digits, '.', '_' and '-' only.")
    alone = launch.rank > 0 and not launch.shared
    if folder.name in {"", ".."}:
        folder = folder.resolve()
    named = folder.with_name(f"{folder.name}-rank-{launch.rank}") if alone else folder
    try:
        again = evidence is not None
        claim = _joined(named, run_id, launch, evidence) or _new(named, run_id, launch, again=again)
    except OSError as error:
        raise RecordError(
            f"{folder} cannot be used: {error.strerror or error}.",
            "The run would not be recorded.",
            "give a folder on a disk that has room and that you may write to: folder=..., "
            "or GREENAI_FOLDER",
            path=folder,
        ) from error
    if alone:
        notice = (
            f"Rank {launch.rank} was started without a launcher's id, so it cannot tell which run "
            f"it belongs to: it is recorded as a run of its own in {claim.folder}."
        )
        return dataclasses.replace(claim, notice=notice)
    return claim


def run_id_of(folder: Path) -> str | None:
    """Identity of the run that a folder holds; None where it holds none.

    It is what the claim left there, else what the run's manifest says; empty where ranks are
    there and nothing says whose they are.

    Raises:
        RecordError: It is no plain word, or the manifest is damaged.
    """
    path = folder / LAUNCHES / RUN_ID_FILE
    if path.is_file() and not path.parent.is_symlink():
        with os.fdopen(open_to_read(path), "rb") as file:
            text = file.read(256).decode("ascii", errors="replace").strip()
    elif (folder / "manifest.json").exists():
        path = folder / "manifest.json"
        text = str(read_json(path).get("run_id"))
    else:
        return "" if any(folder.glob("rank-*")) else None
    if not _WORD.fullmatch(text):
        raise RecordError(f"{path} holds no run's id.", "It is unclear whose run it is.", path=path)
    return text


def _joined(folder: Path, run_id: str, launch: Launch, evidence: str | None) -> Claim | None:
    """Claim an attempt in the existing run that the evidence fits; None where none does."""
    if evidence is None:
        return None
    for candidate in _candidates(folder):
        known = run_id_of(candidate)
        if known is None:
            return None
        if not known:
            continue
        own = known == run_id or (evidence == RESUME_ASKED and candidate == folder)
        if own or _holds(candidate, launch) or _holds_earlier_start(candidate, launch):
            attempt = _attempt(candidate, launch, again=own)
            if attempt is None and not own:
                continue  # this process began another run there: its restart belongs to that one
            _enter(candidate / LAUNCHES, launch)
            notice = f"Continues run {known} in {candidate}, because of {evidence}."
            return _claim(candidate, known, attempt, launch, notice)
    return None


def _new(folder: Path, run_id: str, launch: Launch, *, again: bool) -> Claim:
    """Take the first folder that is free, or that another rank of this launch has taken.

    Ranks of a launch name their run alike. Where they run several in turn in one folder, each as
    a process of its own, they name all of them alike: from the second on a number is added.
    """
    runs = 1
    for candidate in _candidates(folder):
        number = f"-{runs}" if runs > 1 and not again else ""
        _take(candidate, f"{run_id}{number}", launch)
        known = run_id_of(candidate)
        if known is None or not _holds(candidate, launch):
            continue
        attempt = _attempt(candidate, launch, again=False)
        if attempt is None:
            runs += 1
            continue
        notice = None
        if candidate != folder:
            notice = (
                f"{folder} already holds a run, which is left as it is: this one is recorded in "
                f"{candidate}. To continue the earlier run give resume=True."
            )
        return _claim(candidate, known, attempt, launch, notice)
    raise OSError(f"it and {_SIBLINGS_MAX} siblings hold a run each")


def _claim(
    folder: Path, run_id: str, attempt: Path | None, launch: Launch, notice: str | None
) -> Claim:
    if attempt is None:
        raise OSError(f"{folder.name} holds too many attempts of this launch")
    writes = launch.rank == 0 or not launch.shared
    created = writes and not (folder / "manifest.json").exists()
    return Claim(folder, run_id, attempt, created, notice)


def _candidates(folder: Path) -> Iterator[Path]:
    yield folder
    for number in range(2, _SIBLINGS_MAX):
        yield folder.with_name(f"{folder.name}-{number}")


def _enter(launches: Path, launch: Launch) -> None:
    """Leave the launch, and of how many ranks it is, among the launches of a run.

    Raises:
        OSError: The launches are a link, which could lead anywhere.
    """
    if launches.is_symlink():
        raise OSError(f"{launches.name} is a link")
    (launches / launch.launch_id / f"{_OF}{launch.world_size}").mkdir(parents=True, exist_ok=True)


def _holds(folder: Path, launch: Launch) -> bool:
    """Whether the launch has begun in a folder.

    An id that is used once more by a launch of another size is not this launch: its ranks must
    not fill the places that an earlier one left free.
    """
    entry = folder / LAUNCHES / launch.launch_id
    if not entry.is_dir():
        return False
    sizes = [one.name for one in entry.glob(f"{_OF}*")]
    return not sizes or f"{_OF}{launch.world_size}" in sizes


def _holds_earlier_start(folder: Path, launch: Launch) -> bool:
    """Whether an earlier start of the same job is among the launches."""
    if not launch.earlier or not launch.shared:
        return False
    pattern = re.compile(launch.earlier)
    entries = (folder / LAUNCHES).glob("*/")
    return any(one.name != launch.launch_id and pattern.fullmatch(one.name) for one in entries)


def _take(folder: Path, run_id: str, launch: Launch) -> None:
    """Take a folder that holds no run; of several processes one succeeds, the others do nothing."""
    if folder.exists() and not folder.is_dir():
        raise OSError("it is a file")
    folder.mkdir(parents=True, exist_ok=True)
    if run_id_of(folder) is not None:
        return
    beside = folder / f".{LAUNCHES}-{uuid4().hex}"
    beside.mkdir()
    try:
        _enter(beside, launch)
        (beside / RUN_ID_FILE).write_text(f"{run_id}\n", encoding="ascii")
        beside.rename(folder / LAUNCHES)
    except OSError as error:
        # Another process was first; whose the folder is, is looked up next.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _attempt(folder: Path, launch: Launch, *, again: bool) -> Path | None:
    """Make this process's attempt; None where it is there already (and ``again`` is not asked)."""
    rank = folder / f"rank-{launch.rank}"
    rank.mkdir(exist_ok=True)
    if rank.is_symlink():
        raise OSError(f"{rank.name} is a link")
    for number in range(1, 1000 if again else 2):
        suffix = f"-again-{number}" if number > 1 else ""
        attempt = rank / f"attempt-{launch.launch_id}{suffix}"
        with contextlib.suppress(FileExistsError):
            attempt.mkdir()
            return attempt
    return None
