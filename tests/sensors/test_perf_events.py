"""Laws of RAPL's perf events: closed files are counted through them, nothing twice, no wrap."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from simulation.perf_power import PMU_TYPE

from greenai.analysis.series import LOST, series_from
from greenai.live.sensing import ChangePoints
from greenai.record.types import ChannelReadings
from greenai.sensors.codecarbon import open_codecarbon
from greenai.sensors.perf_events import count_of, perf_event_open, perf_events
from greenai.sensors.rapl import (
    REMEDY,
    REMEDY_IN_CONTAINER,
    REMEDY_OF_EVENTS,
    open_rapl,
    readable_kinds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulation.perf_power import PerfPower
    from simulation.powercap import PowercapTree

    from greenai.sensors.base import Sensor

BOTH = ["energy-pkg", "energy-ram"]
TWO_SOCKETS = {0: (0, 0), 24: (1, 0)}
SOFTWARE, CPU_CLOCK = 1, 0
"""PERF_TYPE_SOFTWARE and PERF_COUNT_SW_CPU_CLOCK of the kernel: they need no hardware."""


@pytest.fixture
def closed(powercap_tree: PowercapTree) -> PowercapTree:
    """Two sockets whose summed counters nobody may open."""
    powercap_tree.server(2)
    powercap_tree.vendor("GenuineIntel")
    for zone in ("intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1", "intel-rapl:1:1"):
        powercap_tree.deny(zone)
    return powercap_tree


@contextlib.contextmanager
def opened(tree: PowercapTree, perf: PerfPower) -> Iterator[Sensor]:
    (sensor,), refusals = open_rapl(tree.sys_root, tree.proc, perf.syscall)
    assert refusals == []
    yield sensor
    sensor.close()


def summed(sensor: Sensor) -> dict[str, float]:
    return {
        sensor.channels[reading.channel].device: reading.value
        for reading in sensor.read()
        if sensor.channels[reading.channel].primary
    }


def test_closed_files_are_counted_as_perf_events(
    closed: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(BOTH, TWO_SOCKETS)
    with opened(closed, perf_power) as sensor:
        before = summed(sensor)
        perf_power.use("energy-pkg", 0, 120.5)
        perf_power.use("energy-pkg", 24, 80.25)
        perf_power.use("energy-ram", 24, 3.125)
        after = summed(sensor)
    used = {device: round(after[device] - before[device], 5) for device in before}
    assert used == {"cpu-package-0": 120.5, "dram-0": 0, "cpu-package-1": 80.25, "dram-1": 3.125}
    methods = {one.device: one.method for one in sensor.channels}
    assert methods == {
        "cpu-package-0": "rapl_perf", "dram-0": "rapl_perf", "core-0": "rapl",
        "cpu-package-1": "rapl_perf", "dram-1": "rapl_perf", "core-1": "rapl",
    }  # fmt: skip


def test_each_package_is_opened_on_its_own_cpu_once(
    closed: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(BOTH, TWO_SOCKETS)
    with opened(closed, perf_power):
        assert sorted(perf_power.calls) == [
            (PMU_TYPE, 2, 0), (PMU_TYPE, 2, 24), (PMU_TYPE, 3, 0), (PMU_TYPE, 3, 24),
        ]  # fmt: skip


def test_a_package_may_be_a_file_and_its_dram_a_perf_event(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    powercap_tree.server(1)
    powercap_tree.deny("intel-rapl:0:1")
    perf_power.add(BOTH, {0: (0, 0)})
    with opened(powercap_tree, perf_power) as sensor:
        methods = {one.device: one.method for one in sensor.channels if one.primary}
        assert methods == {"cpu-package-0": "rapl", "dram-0": "rapl_perf"}


def test_files_that_open_need_no_perf_event(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    powercap_tree.server(2)
    perf_power.add(BOTH, TWO_SOCKETS)
    with opened(powercap_tree, perf_power):
        assert perf_power.calls == []


def test_perf_events_serve_where_there_is_no_tree(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(BOTH, TWO_SOCKETS)
    with opened(powercap_tree, perf_power) as sensor:
        assert len(summed(sensor)) == 4


def test_the_platform_is_opened_once_and_never_summed(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add([*BOTH, "energy-psys", "energy-cores", "energy-gpu"], TWO_SOCKETS)
    with opened(powercap_tree, perf_power) as sensor:
        informing = sorted(one.device for one in sensor.channels if not one.primary)
        assert informing == ["core-0", "core-1", "psys", "uncore-0", "uncore-1"]


def test_a_64_bit_counter_neither_wraps_nor_loses_its_microjoules(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0)})
    with opened(powercap_tree, perf_power) as sensor:
        before = summed(sensor)["cpu-package-0"]
        perf_power.use("energy-pkg", 0, 3e6)  # eleven ranges of a 32-bit register
        perf_power.use("energy-pkg", 0, 0.000_061)
        assert summed(sensor)["cpu-package-0"] - before == pytest.approx(3e6 + 0.000_061, abs=2e-6)
        assert sensor.channels[0].wrap_j is None
        assert sensor.channels[0].scope == ""


def test_a_counter_that_is_opened_again_is_a_reset_and_no_energy(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0)})
    rows = []
    for used_j in (5.0, 20.0):  # the second is further than the first when it is first read
        with opened(powercap_tree, perf_power) as sensor:
            points = ChangePoints(sensor.channels[0], 0)
            for _ in range(2):
                perf_power.use("energy-pkg", 0, used_j)
                (reading,) = sensor.read()
                row = points.feed(reading.t0_ns, reading.t1_ns, reading.value)
                rows += [] if row is None else [row]
        time.sleep(0.3)
        perf_power.use("energy-pkg", 0, 1_000.0)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    readings = ChannelReadings(
        sensor.channels[0], columns[1], columns[2], columns[3], columns[4].astype(np.uint8)
    )
    series = series_from(readings)
    assert np.diff(series.energy_j) == pytest.approx([5, 0, 20])
    assert series.state.tolist()[1] == LOST


def test_dies_of_intel_are_devices_and_those_of_amd_one_package(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0), 8: (0, 1)})
    for vendor, devices in (
        ("GenuineIntel", ["cpu-package-0-die-0", "cpu-package-0-die-1"]),
        ("AuthenticAMD", ["cpu-package-0"]),
    ):
        powercap_tree.vendor(vendor)
        with opened(powercap_tree, perf_power) as sensor:
            assert [one.device for one in sensor.channels] == devices


def test_a_package_that_is_open_as_a_whole_is_not_opened_by_dies(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0", 1_000_000)
    perf_power.add(["energy-pkg"], {0: (0, 0), 8: (0, 1)})
    with opened(powercap_tree, perf_power) as sensor:
        assert summed(sensor) == {"cpu-package-0": 1.0}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_where_neither_opens_one_command_mends_it_and_the_rights_are_named(
    code: int, closed: PowercapTree, perf_power: PerfPower, tmp_path: Path
) -> None:
    perf_power.add(BOTH, TWO_SOCKETS)
    perf_power.refused = dict.fromkeys(BOTH, code)
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/perf_event_paranoid").write_text("4\n")
    sensors, refusals = open_rapl(closed.sys_root, closed.proc, perf_power.syscall)
    assert not any(channel.primary for sensor in sensors for channel in sensor.channels)
    for sensor in sensors:
        sensor.close()
    (refusal,) = refusals
    assert refusal.hint == REMEDY
    assert os.strerror(code) in refusal.reason
    assert "CAP_PERFMON" in refusal.reason
    assert "perf_event_paranoid at most 0; it is 4" in refusal.reason
    assert "and 3 more" in refusal.reason


def test_a_refused_event_without_any_file_is_mended_by_the_kernels_setting(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0)})
    perf_power.refused = {"energy-pkg": errno.EACCES}
    sensors, (refusal,) = open_rapl(powercap_tree.sys_root, powercap_tree.proc, perf_power.syscall)
    assert (sensors, refusal.hint) == ([], REMEDY_OF_EVENTS)


def test_zones_that_a_container_hides_are_no_absence(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    (powercap_tree.root / "intel-rapl:0").symlink_to("/nonexistent/powercap")
    sensors, (refusal,) = open_rapl(powercap_tree.sys_root, powercap_tree.proc, perf_power.syscall)
    assert (sensors, refusal.hint) == ([], REMEDY_IN_CONTAINER)
    assert "hidden" in refusal.reason
    perf_power.add(["energy-pkg"], {0: (0, 0)})
    perf_power.refused = {"energy-pkg": errno.EPERM}
    _, (refusal,) = open_rapl(powercap_tree.sys_root, powercap_tree.proc, perf_power.syscall)
    assert refusal.hint == REMEDY_IN_CONTAINER


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENODEV, errno.ENOSYS])
def test_an_event_that_the_machine_lacks_has_a_reason_and_no_remedy(
    code: int, powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0)})
    perf_power.refused = {"energy-pkg": code}
    sensors, (refusal,) = open_rapl(powercap_tree.sys_root, powercap_tree.proc, perf_power.syscall)
    assert (sensors, refusal.hint) == ([], "")
    assert os.strerror(code) in refusal.reason
    assert "CAP_PERFMON" not in refusal.reason


def test_an_event_in_another_unit_is_no_energy(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0)}, unit="Watts")
    assert perf_events(powercap_tree.sys_root) == []


def test_a_counter_that_died_reads_nothing_and_not_zero(
    powercap_tree: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(["energy-pkg"], {0: (0, 0)})
    with opened(powercap_tree, perf_power) as sensor:
        perf_power.die()
        (reading,) = sensor.read()
        assert np.isnan(reading.value)
        assert "0 bytes" in reading.reason


def test_a_model_never_stands_beside_a_counter_that_perf_opened(
    closed: PowercapTree, perf_power: PerfPower
) -> None:
    perf_power.add(BOTH, TWO_SOCKETS)
    assert readable_kinds(closed.sys_root, closed.proc, perf_power.syscall) == {"cpu", "dram"}
    assert open_codecarbon(closed.sys_root, closed.proc, syscall=perf_power.syscall) == ([], [])
    perf_power.refused = {"energy-ram": errno.EACCES}
    assert readable_kinds(closed.sys_root, closed.proc, perf_power.syscall) == {"cpu"}


def test_the_real_call_counts_a_software_event() -> None:
    try:
        descriptor = perf_event_open(SOFTWARE, CPU_CLOCK, 0)
    except OSError as error:
        pytest.skip(f"the kernel opens no perf event here: {error.strerror}")
    try:
        first, reason = count_of(descriptor)
        assert reason == ""
        time.sleep(0.05)
        second, _ = count_of(descriptor)
        assert second - first > 20_000_000  # nanoseconds of a CPU's clock
    finally:
        os.close(descriptor)


def test_the_real_call_says_why_it_refuses() -> None:
    with pytest.raises(OSError, match=r"\[Errno \d+\] [A-Z]") as caught:
        perf_event_open(PMU_TYPE + 1_000_000, 2, 0)
    assert caught.value.errno in {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSYS}
