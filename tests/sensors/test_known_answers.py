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
    (sensor,), _ = open_rapl(str(tree.root))
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
