"""Laws of the job's energy: share times power over the run, beside the whole and never a zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel

from greenai.analysis.series import Series, series_from
from greenai.analysis.share import JobEnergy, job_energy, together
from greenai.record.types import CHANGE, FIRST, ChannelReadings
from greenai.sensors.base import Channel

S = 1000 * MS


def cpu(watts: float, seconds: float = 20.0, package: int = 0) -> Series:
    channel = a_channel(
        kind="cpu", device=f"cpu-package-{package}", device_key=f"host/package-{package}",
        refresh_ns=MS,
    )  # fmt: skip
    return series_from(
        SimulatedCounter(lambda t: watts * t, refresh_ms=20).readings(seconds, channel)
    )


def shares(
    rows: list[tuple[float, float, float]], kinds: list[int] | None = None
) -> ChannelReadings:
    channel = Channel(
        "job_share_ratio", "cpu", "job", "host/job", "cgroup_cpu_time", "measured", False, S
    )
    lo_s, hi_s, value = (np.array(column) for column in zip(*rows, strict=True))
    return ChannelReadings(
        channel,
        (START_NS + lo_s * S).astype(np.int64),
        (START_NS + hi_s * S).astype(np.int64),
        value,
        np.array(kinds or [FIRST] + [CHANGE] * (len(rows) - 1), dtype=np.uint8),
    )


def at(seconds: float) -> int:
    return START_NS + int(seconds * S)


def test_a_constant_share_of_constant_power_is_their_product_over_all_sockets() -> None:
    rows = [(second, second + 1.0, 0.25) for second in range(19)]
    job = job_energy([shares(rows)], [cpu(100), cpu(60, package=1)], at(1), at(18), 160 * 17)
    assert job.share == pytest.approx(0.25)
    assert job.energy_j == pytest.approx(0.25 * 160 * 17, rel=0.01)
    assert job.known_j == pytest.approx(160 * 17, rel=0.01)


def test_the_share_is_weighted_by_the_power_of_its_time() -> None:
    def used_j(t: float) -> float:
        return 100 * t if t < 10 else 1000 + 300 * (t - 10)

    channel = a_channel(kind="cpu", device_key="host/package-0", refresh_ns=MS)
    series = series_from(SimulatedCounter(used_j, refresh_ms=20).readings(20.0, channel))
    rows = [(0.0, 10.0, 0.1), (10.0, 20.0, 0.9)]
    job = job_energy([shares(rows)], [series], at(0.5), at(19.5), 3800.0)
    assert job.share == pytest.approx((0.1 * 950 + 0.9 * 2850) / 3800, rel=0.02)


def test_a_value_that_was_not_kept_belongs_to_the_next_one() -> None:
    rows = [(0.0, 1.0, 0.2), (2.0, 3.0, 0.6)]  # the span from 1 to 2 s was too soon to be kept
    job = job_energy([shares(rows)], [cpu(100)], at(0.5), at(3), 250.0)
    assert job.share == pytest.approx((0.2 * 0.5 + 0.6 * 2) / 2.5, rel=0.02)


def test_an_unknown_share_is_unknown_and_never_zero() -> None:
    for known in ([], [shares([(0.0, 4.0, 0.5)])], [shares([(0.0, 18.0, math.nan)])]):
        job = job_energy(known, [cpu(100)], at(0.5), at(18), 1750.0)
        assert math.isnan(job.share)
        assert math.isnan(job.energy_j)
        assert job.cpu_j > 0


def test_a_break_in_the_share_is_not_bridged() -> None:
    rows = [(0.0, 1.0, 0.5), (2.5, 10.0, 0.5)]
    job = job_energy([shares(rows, [FIRST, FIRST])], [cpu(100)], at(0.5), at(10), 950.0)
    assert job.known_j == pytest.approx(100 * 8, rel=0.02)
    assert math.isnan(job.share)


def test_a_little_that_is_unknown_takes_the_mean() -> None:
    job = job_energy([shares([(1.0, 17.5, 0.5)])], [cpu(100)], at(0.5), at(18), 1750.0)
    assert job.share == pytest.approx(0.5)
    assert job.energy_j == pytest.approx(0.5 * 100 * 17.5, rel=0.02)


def test_no_cpu_has_no_share() -> None:
    job = job_energy([shares([(0.0, 20.0, 0.5)])], [], at(0), at(20), 0.0)
    assert math.isnan(job.share)
    assert math.isnan(together([]).energy_j)


def test_hosts_add_up_and_one_that_is_unknown_lowers_what_is_known() -> None:
    known = JobEnergy(50.0, 100.0, 100.0)
    assert together([known, JobEnergy(10.0, 100.0, 100.0)]).share == pytest.approx(0.3)
    assert math.isnan(together([known, JobEnergy(0.0, 0.0, 100.0)]).share)
