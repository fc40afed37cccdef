"""The job's part of the energy of shared CPUs: its share of CPU time, weighted by their power."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import SILENCE_NS, covered_energy
from greenai.record.types import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenai.analysis.series import Series
    from greenai.record.types import ChannelReadings
    from greenai.units import Ns

KNOWN_MIN = 0.9
"""The mean share may stand for at most a tenth of the energy whose own share is not known."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobEnergy:
    """What is known of the job's part of the CPUs' energy.

    Attributes:
        shared_j: Energy of the CPUs, times the job's share, over the time in which both are known.
        known_j: Energy of the CPUs over that time.
        cpu_j: Energy of the CPUs over the run.
    """

    shared_j: float
    known_j: float
    cpu_j: float

    @property
    def share(self) -> float:
        """Mean of the job's share, weighted by energy; NaN where too little of it is known.

        Example:
            >>> JobEnergy(30.0, 100.0, 100.0).share, JobEnergy(30.0, 80.0, 100.0).share
            (0.3, nan)
        """
        known = self.known_j > 0 and self.known_j >= KNOWN_MIN * self.cpu_j
        return self.shared_j / self.known_j if known else math.nan

    @property
    def energy_j(self) -> float:
        """Estimate of the job's part of the CPUs' energy, in joules; NaN where unknown."""
        return self.share * self.cpu_j


def job_energy(
    shares: Sequence[ChannelReadings],
    cpus: Sequence[Series],
    start_ns: int,
    end_ns: int,
    cpu_j: float,
) -> JobEnergy:
    """Integrate the job's share times the power of the CPUs of one host.

    A share is the mean over the span between two reads. With E(t) the energy of all
    CPUs, the job's part is the sum over spans of ``share * (E(end) - E(start))``.

    Args:
        shares: Readings of ``job_share_ratio``; none or one. Dimensionless, 0 to 1.
        cpus: Cumulative energies of the host's CPUs, in joules.
        start_ns: Start of the run on the monotonic clock.
        end_ns: Its end.
        cpu_j: Energy of the CPUs over the run, as its total has it, in joules.

    Returns:
        Joules; ``share`` and ``energy_j`` of the result are NaN where the share of more than a
        tenth of the energy is not known.

    Example:
        >>> job_energy([], [], 0, 10**9, 50.0)
        JobEnergy(shared_j=0.0, known_j=0.0, cpu_j=50.0)

    Source: docs/method.md, "The job's share of a shared host".
    """
    shared_j = known_j = 0.0
    for readings in shares:
        lo_ns, hi_ns = _spans(readings, start_ns, end_ns)
        ratio = np.nan_to_num(readings.value)
        weight = np.isfinite(readings.value)
        for one in cpus:
            span_j = covered_energy(one, hi_ns) - covered_energy(one, lo_ns)
            shared_j += float((span_j * ratio).sum())
            known_j += float(span_j[weight].sum())
    return JobEnergy(shared_j, known_j, cpu_j)


def together(parts: Iterable[JobEnergy]) -> JobEnergy:
    """Sum over hosts and attempts.

    Example:
        >>> together([JobEnergy(1.0, 2.0, 2.0), JobEnergy(3.0, 6.0, 6.0)]).share
        0.5
    """
    all_of = list(parts)
    return JobEnergy(
        sum(one.shared_j for one in all_of),
        sum(one.known_j for one in all_of),
        sum(one.cpu_j for one in all_of),
    )


def _spans(readings: ChannelReadings, start_ns: int, end_ns: int) -> tuple[Ns, Ns]:
    """Spans of the readings within the run; one that was not kept belongs to the one after it."""
    lo_ns, hi_ns = readings.t_lo_ns.copy(), readings.t_hi_ns
    if len(lo_ns) > 1:
        follows = (readings.kind[1:] != FIRST) & (lo_ns[1:] - hi_ns[:-1] < SILENCE_NS)
        lo_ns[1:] = np.where(follows, hi_ns[:-1], np.maximum(lo_ns[1:], hi_ns[:-1]))
    lo_ns = np.clip(lo_ns, start_ns, end_ns)
    return lo_ns, np.maximum(lo_ns, np.clip(hi_ns, start_ns, end_ns))
