"""The job's share of the CPU time of its host: what part of a shared machine's energy is ours.

CPU time of the job over the busy CPU time of the whole machine, once a second. The job is its
control group where that is clearly the job's own: a container's, a SLURM step's, a transient unit
of systemd-run. A login session or a service holds other things too, so there it is the process
tree: the training, its data workers, and the launcher with all ranks on this host. The sampler
is no part of the job. Wherever CPU time misleads (clock rates, vector units, hyper-threads,
memory-bound or polling neighbours), so does the share: it stands beside the whole machine's
energy, never in its place.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import time
from pathlib import Path
from time import monotonic_ns
from typing import Protocol

from greenai.sensors.base import Channel, Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.job_processes import ProcessTree, job_root
from greenai.units import NS_PER_MS

PERIOD_NS = 1_125 * NS_PER_MS
"""Values that inform are kept once a second; a dithered period stays above that."""
SHORTEST_NS = 250 * NS_PER_MS
"""Kernels count busy time in ticks of 10 ms: a shorter span would be rounding alone."""
LINE_BYTES = 512
IDLE, IOWAIT, STEAL = 3, 4, 7
US_PER_S = 1_000_000

OWN_GROUPS = (
    re.compile(r"/job_\d+/step_[^/]+"),  # a step of SLURM
    re.compile(r"/job_\d+(?=/|$)"),  # a job of SLURM
    re.compile(r"/[^/]*[0-9a-f]{64}[^/]*"),  # a container of docker, containerd, CRI-O or podman
    re.compile(r"/run-[^/]+\.(?:scope|service)"),  # a unit of systemd-run
)
"""Control groups that were made for one job; the part of the path that matches is the job's."""


class JobTime(Protocol):
    """CPU time of the job."""

    method: str

    def read_s(self) -> float:
        """Seconds since some moment; never falls."""

    def close(self) -> None:
        """Close the files."""


class GroupTime:
    """CPU time of a control group, less what this process has used.

    Args:
        folder: The group's folder.

    Raises:
        OSError: It has no CPU time to read.
    """

    method = "cgroup_cpu_time"

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "cpu.stat", os.O_RDONLY | os.O_CLOEXEC)

    def read_s(self) -> float:
        """Seconds since the group was made."""
        words = os.pread(self._descriptor, LINE_BYTES, 0).split()
        usage_us = dict(zip(words[::2], words[1::2], strict=False)).get(b"usage_usec", b"")
        if not usage_us.isdigit():
            raise OSError("the control group's cpu.stat tells no usage_usec")
        return int(usage_us) / US_PER_S - time.process_time()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class TreeTime:
    """CPU time of the job's process tree.

    Args:
        pid: The training process.
        proc: Root of the proc file system.

    Raises:
        OSError: The process cannot be read.
    """

    method = "process_tree_cpu_time"

    def __init__(self, pid: int, proc: str) -> None:
        sampler = os.getpid()
        self._tree = ProcessTree(job_root(pid, proc), 0 if pid == sampler else sampler, proc)
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")

    def read_s(self) -> float:
        """Seconds since the tree was made."""
        return self._tree.read_ticks() / self._ticks_per_s

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._tree.close()


class ShareSensor:
    """The job's share between one read and the next.

    Args:
        job: CPU time of the job.
        host: Identity of the host.
        proc: Root of the proc file system.

    Raises:
        OSError: The machine does not tell its busy time.
    """

    name = "share"
    period_ns = PERIOD_NS

    def __init__(self, job: JobTime, host: str, proc: str = "/proc") -> None:
        self.channels: tuple[Channel, ...] = (_channel(job.method, host),)
        self._job = job
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._descriptor = os.open(f"{proc}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._last = self._now()
        except OSError:
            os.close(self._descriptor)
            raise

    def read(self) -> list[Reading]:
        """Share since the last one; nothing where that is too short a time or no CPU was busy.

        A reading's two times are the span whose mean it is.
        """
        last_ns, last_job_s, last_busy_s = self._last
        t_ns = monotonic_ns()
        if t_ns - last_ns < SHORTEST_NS:
            return []
        try:
            now = self._now()
        except OSError as error:
            failed = f"the job's CPU time cannot be read: {error.strerror or error}"
            return [Reading(0, last_ns, t_ns, math.nan, failed)]
        ratio = share_of(now[1] - last_job_s, now[2] - last_busy_s)
        if math.isnan(ratio):
            return []  # the span goes on until some CPU is busy
        self._last = now
        return [Reading(0, last_ns, now[0], ratio)]

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._job.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _now(self) -> tuple[int, float, float]:
        """Moment, CPU seconds of the job and busy CPU seconds of the machine."""
        line = os.pread(self._descriptor, LINE_BYTES, 0).partition(b"\n")[0]
        busy_s = busy_ticks(line) / self._ticks_per_s
        return monotonic_ns(), self._job.read_s(), busy_s


def open_share(
    pid: int, proc: str = "/proc", sys_root: str = "/sys"
) -> tuple[list[Sensor], list[Refusal]]:
    """Open the job's share of this host's CPU time.

    Args:
        pid: The training process.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.

    Returns:
        One sensor, or the reason why there is none.
    """
    if sys.platform == "darwin":
        return [], [Refusal("share", "The job's share of the CPU is known on Linux alone.")]
    job: JobTime | None = None
    try:
        folder = own_group(pid, proc, f"{sys_root}/fs/cgroup")
        if folder is not None:
            with contextlib.suppress(OSError):
                job = GroupTime(folder)
                job.read_s()
        job = job or TreeTime(pid, proc)
        return [ShareSensor(job, host_id(proc), proc)], []
    except OSError as error:
        if job is not None:
            job.close()
        return [], [Refusal("share", f"The job's CPU time cannot be read: {error}.")]


def own_group(pid: int, proc: str, groups: str) -> Path | None:
    """Folder of the control group (version 2) that is clearly the job's own; None where none is.

    Args:
        pid: The training process.
        proc: Root of the proc file system.
        groups: Root of the control groups.
    """
    try:
        lines = Path(proc, str(pid), "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    if not path.startswith("/") or ".." in path.split("/"):
        return None
    if path == "/":
        # A container in a namespace of its own sees its group as the root; the machine's root,
        # unlike every other group, has no cgroup.events.
        return Path(groups) if Path(groups, "cgroup.events").exists() else None
    for pattern in OWN_GROUPS:
        found = pattern.search(path)
        if found:
            return Path(groups, path[1 : found.end()])
    return None


def share_of(job_s: float, busy_s: float) -> float:
    """Share of busy CPU time that is the job's, between 0 and 1; NaN where nothing was busy.

    The two are counted by different clocks of the kernel, so the job may seem to have used more.

    Example:
        >>> share_of(0.5, 2.0), share_of(1.03, 1.0), share_of(0.0, 0.0)
        (0.25, 1.0, nan)
    """
    return min(1.0, max(0.0, job_s) / busy_s) if busy_s > 0 else math.nan


def busy_ticks(line: bytes) -> int:
    """Ticks in which some CPU worked, of the first line of /proc/stat.

    Waiting for a disk is no work, time that the hypervisor gave to others is none of ours, and
    guests are contained in user time.

    Raises:
        OSError: It is no such line.

    Example:
        >>> busy_ticks(b"cpu  10 20 30 1000 500 4 6 70 8 0")
        70
    """
    fields = [int(field) for field in line.split()[1:] if field.isdigit()]
    if len(fields) <= IOWAIT:
        raise OSError(f"/proc/stat begins with {line[:40]!r}")
    return sum(fields[:STEAL]) - fields[IDLE] - fields[IOWAIT]


def _channel(method: str, host: str) -> Channel:
    return Channel(
        quantity="job_share_ratio",
        kind="cpu",
        device="job",
        device_key=f"{host}/job",
        method=method,
        trust="measured",
        primary=False,
        refresh_ns=PERIOD_NS,
        scope="CPU time of the job / busy CPU time of this host",
    )
