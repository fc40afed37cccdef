"""Known answers from the counter's file to the joules: what others have got wrong stays right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from greenai.analysis.series import BRIDGED, COVERED, LOST, series_from
from greenai.live.sensing import ChangePoints
from greenai.record.types import ChannelReadings
from greenai.sensors.rapl import open_rapl

if TYPE_CHECKING:
    from simulation.powercap import PowercapTree

    from greenai.analysis.series import Series

RANGE_UJ = 262_143_328_850
BROKEN = -1


def metered(tree: PowercapTree, counters_uj: list[int], range_uj: int | None) -> Series:
    """Turn one package's counter, read it each time a second later, and make its series."""
    tree.zone("intel-rapl:0", "package-0", counters_uj[0], range_uj)
    (sensor,), _ = open_rapl(tree.sys_root)
    points = ChangePoints(sensor.channels[0], 0)
    rows = []
    for second, counter_uj in enumerate(counters_uj):
        if counter_uj == BROKEN:
            tree.break_("intel-rapl:0")
        else:
            tree.turn("intel-rapl:0", counter_uj)
        (reading,) = sensor.read()
        if reading.reason:
            points.break_()
        elif row := points.feed(second * 10**9, second * 10**9 + 1000, reading.value):
            rows.append(row)
    sensor.close()
    columns = list(zip(*rows, strict=True))
    return series_from(
        ChannelReadings(
            sensor.channels[0],
            np.array(columns[1], dtype=np.int64),
            np.array(columns[2], dtype=np.int64),
            np.array(columns[3], dtype=np.float64),
            np.array(columns[4], dtype=np.uint8),
        )
    )


def test_a_wrap_adds_the_range_of_its_file(powercap_tree: PowercapTree) -> None:
    counters = [RANGE_UJ - 50_000_000, RANGE_UJ - 10_000_000, 30_000_000, 70_000_000]
    series = metered(powercap_tree, counters, RANGE_UJ)
    assert np.diff(series.energy_j) == pytest.approx([40, 40, 40])
    assert series.state.tolist() == [COVERED] * 3


def test_a_drop_with_an_unknown_range_is_a_reset_and_no_guess(powercap_tree: PowercapTree) -> None:
    series = metered(powercap_tree, [900_000_000, 940_000_000, 20_000_000, 60_000_000], None)
    assert np.diff(series.energy_j) == pytest.approx([40, 0, 40])
    assert series.state.tolist() == [COVERED, LOST, COVERED]


def test_a_read_that_fails_is_neither_zero_nor_a_wrap(powercap_tree: PowercapTree) -> None:
    counters = [900_000_000, 940_000_000, BROKEN, 1_020_000_000, 1_060_000_000]
    series = metered(powercap_tree, counters, RANGE_UJ)
    assert np.diff(series.energy_j) == pytest.approx([40, 80, 40])
    assert series.state.tolist() == [COVERED, BRIDGED, COVERED]


@pytest.mark.parametrize("range_uj", [None, RANGE_UJ])
def test_energy_is_never_negative_whatever_the_counter_shows(
    powercap_tree: PowercapTree, range_uj: int | None
) -> None:
    counters = [940_000_000, 20_000_000, BROKEN, 0, 940_000_000, 10, BROKEN, 5, RANGE_UJ - 1, 0]
    series = metered(powercap_tree, counters, range_uj)
    assert (np.diff(series.energy_j) >= 0).all()


def test_a_closed_counter_is_refused_and_never_zero(powercap_tree: PowercapTree) -> None:
    powercap_tree.zone("intel-rapl:0", "package-0")
    powercap_tree.deny("intel-rapl:0")
    sensors, (refusal,) = open_rapl(powercap_tree.sys_root)
    assert sensors == []
    assert "Permission denied" in refusal.reason


def test_sockets_dram_mirrors_and_the_platform_make_one_sum(powercap_tree: PowercapTree) -> None:
    for socket in range(12):
        powercap_tree.zone(f"intel-rapl:{socket}", f"package-{socket}", 1_000_000 * (socket + 1))
        powercap_tree.zone(f"intel-rapl:{socket}:0", "core", 700_000)
        powercap_tree.zone(f"intel-rapl:{socket}:1", "dram", 10_000)
        powercap_tree.zone(f"intel-rapl-mmio:{socket}", f"package-{socket}", 999_000_000)
    powercap_tree.zone("intel-rapl:12", "psys", 500_000_000)
    (sensor,), _ = open_rapl(powercap_tree.sys_root)
    readings = [one for one in sensor.read() if sensor.channels[one.channel].primary]
    sensor.close()
    by_device = {sensor.channels[one.channel].device: one.value for one in readings}
    assert sum(by_device.values()) == pytest.approx(sum(range(1, 13)) + 12 * 0.01)
    assert (by_device["cpu-package-1"], by_device["cpu-package-10"]) == (2.0, 11.0)


def test_two_files_of_a_die_count_once(powercap_tree: PowercapTree) -> None:
    powercap_tree.vendor("AuthenticAMD")
    powercap_tree.zone("intel-rapl:0", "package-0-die-0", 68_000_000)
    powercap_tree.zone("intel-rapl:0:0", "core", 5_000_000)
    powercap_tree.zone("intel-rapl:1", "package-0-die-1", 68_000_000)
    (sensor,), _ = open_rapl(powercap_tree.sys_root, powercap_tree.proc)
    readings = [one for one in sensor.read() if sensor.channels[one.channel].primary]
    sensor.close()
    assert [one.value for one in readings] == [68.0]
