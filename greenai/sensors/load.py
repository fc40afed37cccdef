"""The share of time in which this machine's CPUs were busy."""

from __future__ import annotations

import contextlib
import os
import sys
from time import monotonic_ns
from typing import NamedTuple

from greenai.units import NS_PER_MS

SHORTEST_NS = 50 * NS_PER_MS
"""Kernels count CPU time in ticks of 10 ms: a shorter span would be rounding alone."""
LINE_BYTES = 512
IDLE, IOWAIT, GUEST = 3, 4, 8


class Load(NamedTuple):
    """Busy share of all CPUs over a span.

    Attributes:
        t0_ns: Start of the span on the monotonic clock; the end of the span before.
        t1_ns: Its end.
        ratio: Between 0 and 1.
    """

    t0_ns: int
    t1_ns: int
    ratio: float


class LoadMeter:
    """Busy share between one call and the next, from the first moment on.

    Args:
        proc: Root of the proc file system.

    Raises:
        OSError: The machine does not tell its load.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._descriptor = -1
        if sys.platform != "darwin":
            self._descriptor = os.open(f"{proc}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._last = (monotonic_ns(), *self._times())
        except OSError:
            self.close()
            raise
        self._before = self._last

    def read(self) -> Load | None:
        """Busy share since the last call; None where that is too short to tell.

        A span too short for itself takes the busy share from the start of the one before it.

        Raises:
            OSError: The machine no longer tells its load.
        """
        t0_ns, t1_ns = self._last[0], monotonic_ns()
        now = (t1_ns, *self._times())
        since = self._last if t1_ns - t0_ns >= SHORTEST_NS else self._before
        total = now[2] - since[2]
        if t1_ns - since[0] < SHORTEST_NS or total <= 0:
            return None
        self._before, self._last = since, now
        return Load(t0_ns, t1_ns, min(1.0, max(0.0, (now[1] - since[1]) / total)))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def _times(self) -> tuple[float, float]:
        """Busy and total time of all CPUs; guests are contained in user time, waiting is idle."""
        if self._descriptor < 0:
            return _times_of_psutil()
        line = os.pread(self._descriptor, LINE_BYTES, 0).partition(b"\n")[0]
        fields = [int(field) for field in line.split()[1:] if field.isdigit()]
        if len(fields) <= IOWAIT:
            raise OSError(f"/proc/stat begins with {line[:40]!r}")
        total = sum(fields[:GUEST])
        return float(total - fields[IDLE] - fields[IOWAIT]), float(total)


def _times_of_psutil() -> tuple[float, float]:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    times = psutil.cpu_times()
    total = float(sum(times))
    return total - float(times.idle), total
