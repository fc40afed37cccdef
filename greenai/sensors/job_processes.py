"""The processes of the job on this host, and the CPU time that they have used."""

from __future__ import annotations

import contextlib
import os
from time import monotonic_ns
from typing import NamedTuple

from greenai.units import NS_PER_S

STAT_BYTES = 1024
RANK_VARIABLES = (
    b"LOCAL_WORLD_SIZE=",
    b"SLURM_LOCALID=",
    b"OMPI_COMM_WORLD_LOCAL_RANK=",
    b"MPI_LOCALRANKID=",
)
"""Set by torchrun, SLURM, Open MPI and Intel MPI/Hydra in the processes that they start."""
SCAN_NS = NS_PER_S
SCAN_SHARE = 200
"""All processes are looked through so seldom that it takes at most 1/200 of a core."""
ANCESTORS_MAX = 32
ENVIRONMENT_BYTES = 1 << 20


class Times(NamedTuple):
    """CPU time of one process, in clock ticks.

    Attributes:
        own: User and system time of its threads.
        ended: The same of its children that have ended and been waited for, and of theirs.
        parent: Process id of its parent.
    """

    own: int
    ended: int
    parent: int


class ProcessTree:
    """CPU time of a process and its descendants, those that have ended included.

    Args:
        root: Process id at the top.
        without: Process id of a descendant that is left out with all of its own.
        proc: Root of the proc file system.

    Raises:
        OSError: The root's times cannot be read.
    """

    def __init__(self, root: int, without: int = 0, proc: str = "/proc") -> None:
        self._root, self._without, self._proc = root, without, proc
        self._files: dict[int, int] = {}
        self._last: dict[int, Times] = {}
        self._scan_ns = 0
        self._used_ticks = 0
        try:
            self._last[root] = self._times(root)
            self._look_for_descendants()
        except OSError:
            self.close()
            raise
        for pid in list(self._files):
            self._take(pid, self._last)

    def read_ticks(self) -> int:
        """Clock ticks used since the tree was made; never falls.

        A child that has ended and was waited for is in its parent's time; one that nobody waited
        for keeps what was last seen of it.

        Raises:
            OSError: The root is gone.
        """
        if monotonic_ns() >= self._scan_ns:
            self._look_for_descendants()
        now: dict[int, Times] = {self._root: self._times(self._root)}
        for pid in list(self._files):
            self._take(pid, now)
        last = self._last
        none = Times(0, 0, 0)
        own = sum(times.own - last.get(pid, none).own for pid, times in now.items())
        ended = sum(times.ended - last.get(pid, none).ended for pid, times in now.items())
        known = sum(last[pid].own + last[pid].ended for pid in last.keys() - now.keys())
        self._used_ticks += max(0, own) + max(0, ended - known)
        self._last = now
        return self._used_ticks

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for descriptor in self._files.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._files = {}

    def _take(self, pid: int, into: dict[int, Times]) -> None:
        """Read one process; one that has ended leaves the tree."""
        try:
            into[pid] = self._times(pid)
        except OSError:
            with contextlib.suppress(OSError):
                os.close(self._files.pop(pid))

    def _times(self, pid: int) -> Times:
        if pid not in self._files:
            path = f"{self._proc}/{pid}/stat"
            self._files[pid] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return times_of(os.pread(self._files[pid], STAT_BYTES, 0))

    def _look_for_descendants(self) -> None:
        """Open what has come into the tree; parents are looked up anew for all processes."""
        began_ns = monotonic_ns()
        children: dict[int, list[int]] = {}
        for pid in processes(self._proc):
            with contextlib.suppress(OSError):
                children.setdefault(stat_of(pid, self._proc).parent, []).append(pid)
        waiting, seen = [self._root], {self._root}
        while waiting:
            for pid in children.get(waiting.pop(), []):
                if pid not in seen and pid != self._without:
                    seen.add(pid)
                    waiting.append(pid)
                    with contextlib.suppress(OSError):
                        self._times(pid)
        for pid in self._files.keys() - seen:
            os.close(self._files.pop(pid))
        now_ns = monotonic_ns()
        self._scan_ns = now_ns + max(SCAN_NS, SCAN_SHARE * (now_ns - began_ns))


def job_root(pid: int, proc: str = "/proc") -> int:
    """Process that all ranks of the job on this host descend from.

    A launcher tells its ranks which they are by variables that a process has from its start; the
    first ancestor without them is the launcher. Without a launcher it is the training itself.

    Args:
        pid: The training process.
        proc: Root of the proc file system.

    Returns:
        Its process id, never that of the system's first process.
    """
    root = pid
    for _ in range(ANCESTORS_MAX):
        if not _is_rank(root, proc):
            break
        try:
            parent = stat_of(root, proc).parent
        except OSError:
            break
        if parent <= 1:
            break
        root = parent
    return root


def processes(proc: str = "/proc") -> list[int]:
    """All process ids that can be seen."""
    with os.scandir(proc) as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def stat_of(pid: int, proc: str = "/proc") -> Times:
    """Times and parent of a process.

    Raises:
        OSError: It is gone, or hidden from us.
    """
    descriptor = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return times_of(os.pread(descriptor, STAT_BYTES, 0))
    finally:
        os.close(descriptor)


def times_of(stat: bytes) -> Times:
    """Read a line of /proc/<pid>/stat; the name in it may hold spaces and parentheses.

    Raises:
        OSError: It is no such line.

    Example:
        >>> times_of(b"7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 6 70 8 20 0 1 0 99")
        Times(own=56, ended=78, parent=1)
    """
    fields = stat.rpartition(b")")[2].split()
    try:
        return Times(
            int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14]), int(fields[1])
        )
    except (IndexError, ValueError):
        raise OSError(f"a process's times read {stat[:40]!r}") from None


def _is_rank(pid: int, proc: str) -> bool:
    """Whether a launcher made the process a rank; only the names of variables are looked at."""
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:  # noqa: PTH123 - read once, no Path needed
            variables = file.read(ENVIRONMENT_BYTES).split(b"\0")
    except OSError:
        return False
    return any(variable.startswith(RANK_VARIABLES) for variable in variables)
