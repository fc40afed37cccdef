"""Who started this process: rank, launch and restarts from the launcher's variables; git commit."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping

DATE = "%Y%m%dT%H%M%SZ"
"""How ``{date}`` is written."""
MEETING = ("MASTER_ADDR", "MASTER_PORT", "SLURM_CLUSTER_NAME")
DIGITS = 8
"""Of the hashes in launch ids."""
GIT_FILE_BYTES_MAX = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """One start of one process of a job.

    Attributes:
        launch_id: Equal in all ranks of one launch where a launcher gives it, else unique.
        rank: Global rank.
        local_rank: Rank on this host; 0 meters the host.
        world_size: Number of ranks.
        restarts: How often the launcher has restarted the job.
        shared: Whether ``launch_id`` comes from a launcher, so that other ranks know it too.
        earlier: Pattern of the launch ids of earlier starts of the same job; empty where there
            were none.
        date: What ``{date}`` in a folder's name stands for: equal in all ranks and, as far as
            can be, in all starts of the job. Empty takes the time of now.
        node_rank: Number of this host in the job; None where nobody says.
        array_task: Job and task of a job array, as ``1234_7``; empty where there is none.
        meeting: Where the ranks meet, and the cluster: tells launches apart whose ids are equal.
    """

    launch_id: str
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    restarts: int = 0
    shared: bool = False
    earlier: str = ""
    date: str = ""
    node_rank: int | None = None
    array_task: str = ""
    meeting: str = ""

    def new_run_id(self, folder: Path) -> str:
        """Identity of the next run of this process.

        Ranks of one launch, which begin their runs in the same order, have the same one, so that
        what nodes without a shared file system have written can be put together.

        Args:
            folder: Of the run; its name counts.
        """
        if not self.shared or self.world_size == 1:
            return uuid4().hex
        text = "/".join([self.launch_id, self.date, self.meeting, folder.name, str(next(_RUNS))])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


_RUNS = itertools.count()
"""Runs that this process has begun."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    """What a launcher says of a start: its id, how often it was restarted, and its time."""

    launch_id: str
    restarts: int
    earlier: str
    date: str


def launch(
    environment: Mapping[str, str] = os.environ,
    *,
    rank: int | None = None,
    local_rank: int | None = None,
    world_size: int | None = None,
) -> Launch:
    """Read torchrun's and SLURM's variables; arguments of the framework go before them.

    The environment is read and nothing is asked of other processes.

    Example:
        >>> slurm = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8"}
        >>> made = launch({**slurm, "SLURM_PROCID": "3", "SLURM_LOCALID": "1"})
        >>> made.launch_id, made.rank, made.local_rank, made.world_size
        ('slurm-77-0-0', 3, 1, 8)
    """
    job = _torchrun(environment) or _slurm(environment)
    in_step = "SLURM_STEP_ID" in environment  # a batch script is one process, of however many tasks
    ranks = ("SLURM_PROCID",) if in_step else ()
    locals_ = ("SLURM_LOCALID",) if in_step else ()
    tasks = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if in_step else ()
    started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    own = f"{started}-{time.time_ns() % 1_000_000_000:09d}-{os.getpid()}"
    node = _first(None, environment, "GROUP_RANK", "NODE_RANK", "SLURM_NODEID", default=-1)
    array = (environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID"))
    return Launch(
        launch_id=job.launch_id if job else own,
        rank=_first(rank, environment, "RANK", *ranks, default=0),
        local_rank=_first(local_rank, environment, "LOCAL_RANK", *locals_, default=0),
        world_size=_first(world_size, environment, "WORLD_SIZE", *tasks, default=1),
        restarts=job.restarts if job else 0,
        shared=job is not None,
        earlier=job.earlier if job else "",
        date=job.date if job else "",
        node_rank=node if node >= 0 else None,
        array_task=_safe(f"{array[0]}_{array[1]}") if all(array) else "",
        meeting="/".join(environment.get(name, "") for name in MEETING),
    )


def lightning_launch(own: Launch, address: str, port: int, nodes: int) -> Launch:
    """The launch of ranks that Lightning's own launcher started, which gives them no common id.

    They have the address and the port in common at which they meet. On one machine, Lightning
    takes any free port; where the user gave it, a later launch may have the same one, and then
    goes to a folder of its own, because its ranks' places are taken.

    Args:
        own: What the environment says.
        address: Of the main process.
        port: Of the main process.
        nodes: Number of machines.
    """
    launch_id = f"lightning-{_digest(address)}-{port}"
    date = (_group_started() if nodes == 1 else "") or launch_id
    return dataclasses.replace(own, launch_id=launch_id, shared=True, date=date)


def _torchrun(environment: Mapping[str, str]) -> _Job | None:
    """Torchrun gives its workers an id of the job, and counts how often it restarted them.

    The id may be used again (``--rdzv-id``) or be the word ``none``. On one machine a launch is
    told from others by the agent's folder of error files, which is new for each; its first
    attempt's folder also has the time of the launch, which restarts do not change. On several
    machines the id is all that the agents share.
    """
    run = environment.get("TORCHELASTIC_RUN_ID")
    if run is None:
        return None
    error_file = Path(environment.get("TORCHELASTIC_ERROR_FILE", ""))
    agent = error_file.parents[2] if len(error_file.parents) > 2 else None  # noqa: PLR2004 - of it
    one_node = environment.get("GROUP_WORLD_SIZE") == "1" and agent is not None
    common = [environment.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT")]
    token = _digest(str(agent) if one_node else "/".join([run, *(common if run == "none" else [])]))
    slurm = _slurm(environment)
    base = slurm.launch_id if slurm else _safe(run)
    restarts = _count(environment, "TORCHELASTIC_RESTART_COUNT")
    patterns = [rf"{re.escape(base)}-{token}-\d+"] if restarts else []
    if slurm and slurm.earlier:
        patterns.append(slurm.earlier)
    date = _time_of(agent / "attempt_0") if one_node and agent is not None else ""
    return _Job(
        launch_id=f"{base}-{token}-{restarts}",
        restarts=restarts + (slurm.restarts if slurm else 0),
        earlier="|".join(patterns),
        date=slurm.date if slurm else date or f"{base}-{token}",
    )


def _slurm(environment: Mapping[str, str]) -> _Job | None:
    """SLURM gives a job an id, which a requeue keeps, and its steps numbers.

    A shell inside an allocation has a job but no process id: each start there is its own.
    """
    job = environment.get("SLURM_JOB_ID")
    if not job or "SLURM_PROCID" not in environment:
        return None
    base = _safe(f"slurm-{job}-{environment.get('SLURM_STEP_ID', '0')}")
    restarts = _count(environment, "SLURM_RESTART_COUNT")
    earlier = rf"{re.escape(base)}-\d+(-[0-9a-f]{{{DIGITS}}}-\d+)?" if restarts else ""
    return _Job(f"{base}-{restarts}", restarts, earlier, _safe(f"slurm-{job}"))


def _time_of(folder: Path) -> str:
    try:
        return time.strftime(DATE, time.gmtime(folder.stat().st_mtime))
    except OSError:
        return ""


def _group_started() -> str:
    """When the leader of this process's group started: the same for all that it started."""
    import psutil  # noqa: PLC0415 - for ranks of Lightning alone

    try:
        return time.strftime(DATE, time.gmtime(psutil.Process(os.getpgrp()).create_time()))
    except (OSError, psutil.Error):
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def git_commit(folder: Path) -> str | None:
    """Commit checked out at or above ``folder``, read from the files; None where there is none."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.exists():
            return _head(git)
    return None


def _head(git: Path) -> str | None:
    try:
        if git.is_file():  # a worktree or a submodule names its real folder
            git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        reference = head.removeprefix("ref:").strip()
        common = git / "commondir"
        home = (git / common.read_text().strip()).resolve() if common.exists() else git
        if (home / reference).exists():
            return (home / reference).read_text().strip()
        packed = home / "packed-refs"
        if packed.exists() and packed.stat().st_size <= GIT_FILE_BYTES_MAX:
            for line in packed.read_text().splitlines():
                if line.endswith(f" {reference}"):
                    return line.split()[0]
    except (OSError, UnicodeDecodeError):
        return None
    return None


def _first(given: int | None, environment: Mapping[str, str], *variables: str, default: int) -> int:
    if given is not None:
        return given
    for variable in variables:
        if environment.get(variable, "").isdigit():
            return int(environment[variable])
    return default


def _count(environment: Mapping[str, str], variable: str) -> int:
    text = environment.get(variable, "")
    return int(text) if text.isdigit() else 0


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:80]
