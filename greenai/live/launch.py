"""Who started this process: rank, launch and restarts from the launcher's variables; git commit."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
    """

    launch_id: str
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    restarts: int = 0
    shared: bool = False


def launch(
    environment: Mapping[str, str] = os.environ,
    *,
    rank: int | None = None,
    local_rank: int | None = None,
    world_size: int | None = None,
) -> Launch:
    """Read torchrun's and SLURM's variables; arguments of the framework go before them.

    Example:
        >>> torchrun = {"TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_RESTART_COUNT": "2"}
        >>> launch({**torchrun, "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8"})
        Launch(launch_id='job-2', rank=3, local_rank=1, world_size=8, restarts=2, shared=True)
    """
    run = environment.get("TORCHELASTIC_RUN_ID")
    restarts = _count(environment, "TORCHELASTIC_RESTART_COUNT")
    if run is None or run == "none":
        job = environment.get("SLURM_JOB_ID")
        # A shell inside an allocation has a job but no process id: each start there is its own.
        run = f"slurm-{job}-{environment.get('SLURM_STEP_ID', '0')}" if job else None
        run = run if "SLURM_PROCID" in environment else None
        restarts = _count(environment, "SLURM_RESTART_COUNT") if run else 0
    shared = run is not None
    started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    own = f"{started}-{time.time_ns() % 1_000_000_000:09d}-{os.getpid()}"
    return Launch(
        launch_id=_safe(f"{run}-{restarts}") if run else own,
        rank=_first(rank, environment, "RANK", "SLURM_PROCID", default=0),
        local_rank=_first(local_rank, environment, "LOCAL_RANK", "SLURM_LOCALID", default=0),
        world_size=_first(world_size, environment, "WORLD_SIZE", "SLURM_NTASKS", default=1),
        restarts=restarts,
        shared=shared,
    )


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
