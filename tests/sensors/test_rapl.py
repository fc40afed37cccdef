"""Laws of RAPL: each counter once, packages beside DRAM, a failed read is no value and no wrap."""

from __future__ import annotations

import errno
import math
import os
from typing import TYPE_CHECKING

import pytest

from greenai.sensors.host import host_id
from greenai.sensors.rapl import REMEDY, RaplSensor, open_rapl, readable_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulation.powercap import PowercapTree

    from greenai.sensors.base import Sensor


@pytest.fixture
def server(powercap_tree: PowercapTree) -> PowercapTree:
    powercap_tree.server()
    powercap_tree.vendor("GenuineIntel")
    return powercap_tree


def opened(tree: PowercapTree) -> RaplSensor:
    sensors, _ = open_rapl(tree.sys_root, tree.proc)
    assert len(sensors) == 1
    assert isinstance(sensors[0], RaplSensor)
    return sensors[0]


@pytest.fixture
def sensor(server: PowercapTree) -> Iterator[RaplSensor]:
    sensor = opened(server)
    yield sensor
    sensor.close()


def summed(sensor: Sensor) -> dict[str, float]:
    """What is read now of the channels that are summed."""
    return {
        sensor.channels[reading.channel].device: reading.value
        for reading in sensor.read()
        if sensor.channels[reading.channel].primary
    }


def test_packages_and_dram_are_summed_over_all_sockets(sensor: RaplSensor) -> None:
    assert summed(sensor) == {
        "cpu-package-0": 1.0,
        "dram-0": 0.2,
        "cpu-package-1": 2.0,
        "dram-1": 0.2,
    }
    kinds = {one.device: one.kind for one in sensor.channels}
    assert (kinds["cpu-package-0"], kinds["dram-0"]) == ("cpu", "dram")


def test_cores_and_uncore_are_parts_of_a_package_and_never_summed(server: PowercapTree) -> None:
    server.zone("intel-rapl:0:2", "uncore", 100_000)
    sensor = opened(server)
    values = {sensor.channels[one.channel].device: one.value for one in sensor.read()}
    assert (values["core-0"], values["uncore-0"]) == (0.5, 0.1)
    informing = {one.device for one in sensor.channels if not one.primary}
    assert informing == {"core-0", "core-1", "uncore-0"}
    assert len(sensor.read()) == 4  # what informs is read once a second
    sensor.close()


def test_a_device_is_its_package_on_this_host(server: PowercapTree, sensor: RaplSensor) -> None:
    host = host_id(server.proc)
    counted = [(one.device_key, one.kind) for one in sensor.channels if one.primary]
    assert [key for key, _ in counted] == [f"{host}/package-{package}" for package in (0, 0, 1, 1)]
    assert len(set(counted)) == 4


def test_a_counter_wraps_where_its_file_says(sensor: RaplSensor) -> None:
    assert sensor.channels[0].wrap_j == pytest.approx(262_143.328850)
    assert sensor.channels[1].wrap_j == pytest.approx(65_712.999613)
    assert sensor.channels[0].scope == ""


def test_an_unknown_range_is_no_wrap_and_is_said(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0", range_uj=None)
    sensor = opened(powercap_tree)
    assert sensor.channels[0].wrap_j is None
    assert "reset" in sensor.channels[0].scope
    sensor.close()


def test_the_greatest_power_is_the_highest_limit_or_unknown(sensor: RaplSensor) -> None:
    assert sensor.channels[0].power_max_w == 420.0
    assert math.isnan(sensor.channels[1].power_max_w)


def test_the_platform_is_recorded_and_not_summed(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0")
    powercap_tree.zone("intel-rapl:1", "psys")
    sensor = opened(powercap_tree)
    assert [(one.device, one.kind, one.primary) for one in sensor.channels] == [
        ("cpu-package-0", "cpu", True),
        ("psys", "other", False),
    ]
    sensor.close()


def test_a_package_seen_through_two_registers_counts_once(server: PowercapTree) -> None:
    server.zone("intel-rapl-mmio:0", "package-0", 1_000_000)
    sensor = opened(server)
    assert [one.device for one in sensor.channels].count("cpu-package-0") == 1
    sensor.close()


def test_the_second_register_serves_where_the_first_is_denied(server: PowercapTree) -> None:
    server.zone("intel-rapl-mmio:0", "package-0", 7_000_000)
    server.deny("intel-rapl:0")
    sensors, refusals = open_rapl(server.sys_root)
    values = {
        sensors[0].channels[reading.channel].device: reading.value for reading in sensors[0].read()
    }
    assert values["cpu-package-0"] == 7.0
    assert refusals == []
    sensors[0].close()


def test_dies_of_intel_are_devices_of_their_own(powercap_tree: PowercapTree) -> None:
    powercap_tree.vendor("GenuineIntel")
    for die in range(2):
        powercap_tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}")
    sensor = opened(powercap_tree)
    assert [one.device for one in sensor.channels] == [
        "cpu-package-0-die-0",
        "cpu-package-0-die-1",
    ]
    assert len({one.device_key for one in sensor.channels}) == 2
    sensor.close()


def test_dies_of_amd_show_their_package_and_count_once(powercap_tree: PowercapTree) -> None:
    powercap_tree.vendor("AuthenticAMD")
    for die in range(4):
        package = die // 2
        name = f"package-{package}-die-{die % 2}"
        powercap_tree.zone(f"intel-rapl:{die}", name, 68_000_000 * (package + 1))
        powercap_tree.zone(f"intel-rapl:{die}:0", "core", 5_000_000)
    sensor = opened(powercap_tree)
    assert summed(sensor) == {"cpu-package-0": 68.0, "cpu-package-1": 136.0}
    sensor.close()


def test_ten_packages_are_in_order(powercap_tree: PowercapTree) -> None:
    for package in range(11):
        powercap_tree.zone(f"intel-rapl:{package}", f"package-{package}")
    sensor = opened(powercap_tree)
    assert [one.device for one in sensor.channels] == [f"cpu-package-{k}" for k in range(11)]
    sensor.close()


def test_a_counter_is_read_anew_each_time(server: PowercapTree, sensor: RaplSensor) -> None:
    server.turn("intel-rapl:0", 123_456_789)
    reading = sensor.read()[0]
    assert reading.value == 123.456789
    assert reading.t0_ns <= reading.t1_ns


@pytest.mark.parametrize("how", ["empty", "error"])
def test_a_read_that_fails_is_no_value(
    how: str, server: PowercapTree, sensor: RaplSensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "empty":
        server.break_("intel-rapl:0")
    else:
        first = sensor._counters[0].descriptor
        real_pread = os.pread

        def pread(descriptor: int, size: int, offset: int) -> bytes:
            if descriptor == first:
                raise OSError(errno.EIO, "Input/output error")
            return real_pread(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", pread)
    readings = {sensor.channels[one.channel].device: one for one in sensor.read()}
    failed = readings.pop("cpu-package-0")
    assert math.isnan(failed.value)
    assert "counter" in failed.reason
    assert all(reading.value > 0 for reading in readings.values())


def test_a_denied_counter_is_refused_with_one_remedy(server: PowercapTree) -> None:
    for zone in ("intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1", "intel-rapl:1:1"):
        server.deny(zone)
    sensors, refusals = open_rapl(server.sys_root)
    assert not any(channel.primary for sensor in sensors for channel in sensor.channels)
    for sensor in sensors:
        sensor.close()
    assert [refusal.hint for refusal in refusals] == [REMEDY]
    assert "Permission denied" in refusals[0].reason
    assert "3 more" in refusals[0].reason
    assert readable_kinds(server.sys_root) == set()


def test_what_can_be_read_is_read_although_the_rest_is_denied(server: PowercapTree) -> None:
    server.deny("intel-rapl:1")
    sensors, refusals = open_rapl(server.sys_root)
    assert set(summed(sensors[0])) == {"cpu-package-0", "dram-0", "dram-1"}
    assert len(refusals) == 1
    sensors[0].close()


def test_a_machine_without_counters_is_said(tmp_path: Path) -> None:
    sensors, refusals = open_rapl(str(tmp_path / "none"))
    assert sensors == []
    assert "no RAPL counter" in refusals[0].reason
    assert refusals[0].hint == ""


def test_readable_kinds_are_what_could_be_read_now(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0")
    assert readable_kinds(powercap_tree.sys_root) == {"cpu"}
    powercap_tree.zone("intel-rapl:0:0", "dram")
    assert readable_kinds(powercap_tree.sys_root) == {"cpu", "dram"}
    powercap_tree.break_("intel-rapl:0")
    assert readable_kinds(powercap_tree.sys_root) == {"dram"}


def test_closing_twice_closes_once(server: PowercapTree) -> None:
    sensor = opened(server)
    sensor.close()
    sensor.close()
    assert sensor.read() == []


def test_a_host_is_its_boot(tmp_path: Path) -> None:
    folder = tmp_path / "sys/kernel/random"
    folder.mkdir(parents=True)
    (folder / "boot_id").write_text("b1c3ff8e-0000-4000-8000-000000000000\n")
    first = host_id(str(tmp_path))
    assert len(first) == 16
    assert int(first, 16) >= 0
    (folder / "boot_id").write_text("b1c3ff8e-0000-4000-8000-000000000001\n")
    assert host_id(str(tmp_path)) != first
