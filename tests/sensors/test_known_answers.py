"""Known answers from the counter's file to the joules: what others have got wrong stays right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from simulation.fake_nvml import uuid_of
from simulation.virtual_gpus import VirtualGpus

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


REFRESH_S = 0.1


def energies_j(gpus: VirtualGpus) -> dict[int, float]:
    """Energy of each metered GPU between its first and its last knot."""
    return {gpu: float(series.energy_j[-1]) for gpu, series in gpus.series()}


def assert_true(gpus: VirtualGpus, most_w: float, *, module: bool = False) -> None:
    """The energy of each GPU is the true one, but for what the ends of the series leave open."""
    for gpu, series in gpus.series():
        start_ns, end_ns = int(series.t_ns[0]), int(series.t_ns[-1])
        true_j = gpus.driver.energy_j(gpu, start_ns, end_ns, module=module)
        open_ns = sum(int(series.t_hi_ns[at] - series.t_lo_ns[at]) for at in (0, -1))
        assert series.energy_j[-1] == pytest.approx(true_j, abs=most_w * open_ns / 1e9 + 0.01)


def test_the_energy_of_eight_gpus_is_their_sum_and_not_their_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = VirtualGpus(monkeypatch, gpus=8, low_w=300, stagger_ms=7)
    gpus.meter(20)
    assert sum(energies_j(gpus).values()) == pytest.approx(8 * 300 * 20, rel=0.01)
    assert_true(gpus, 300)


def test_the_same_counters_give_the_same_energy_at_any_phase_and_wave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for phase_ms in (3.0, 41.0, 77.7):
        gpus = VirtualGpus(
            monkeypatch, high_w=700, wave_ms=1300, wave="sine", phase_ms=phase_ms, jitter_ms=1
        )
        gpus.meter(20)
        assert_true(gpus, 700)


@pytest.mark.parametrize("visible", ["GPU-0b0b", uuid_of(10)])
def test_a_uuid_s_prefix_is_a_prefix_and_not_a_set_of_letters(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    gpus = VirtualGpus(monkeypatch, environment={"CUDA_VISIBLE_DEVICES": visible}, gpus=12)
    assert [channel.device_key for channel in gpus.primary] == [uuid_of(10)]


def test_gpu_ten_is_not_gpu_one(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = {"gpus": 12, "step_w": 50}
    gpus = VirtualGpus(monkeypatch, environment={"CUDA_VISIBLE_DEVICES": "10"}, **knobs)
    gpus.meter(5)
    assert list(energies_j(gpus)) == [10]
    assert_true(gpus, 600)


def test_a_gpu_without_a_counter_has_its_power_integrated_and_never_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knobs = {"low_w": 100, "high_w": 400, "wave_ms": 2000}
    gpus = VirtualGpus(monkeypatch, gpus=2, no_counter="1", instant_ms=100, **knobs)
    gpus.meter(20)
    used_j = energies_j(gpus)
    assert used_j[1] == pytest.approx(used_j[0], rel=0.02)
    assert [one.quantity for one in gpus.primary] == ["energy_j", "power_w"]


def test_a_gpu_that_tells_nothing_is_refused_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = VirtualGpus(monkeypatch, gpus=2, fail="1", fail_code=3)
    assert [channel.device for channel in gpus.primary] == ["gpu0"]
    silent = VirtualGpus(monkeypatch, [uuid_of(0), uuid_of(1)], gpus=2, no_permission="1")
    assert [channel.device for channel in silent.primary] == ["gpu0"]
    assert uuid_of(1) in silent.refusals[0].reason


def test_constant_power_is_integrated_though_its_value_never_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = VirtualGpus(monkeypatch, no_counter="all", low_w=250)
    gpus.meter(30)
    assert energies_j(gpus)[0] == pytest.approx(250 * 30, rel=0.04)
    assert_true(gpus, 250)


def test_one_sick_gpu_does_not_zero_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = VirtualGpus(monkeypatch, gpus=4, low_w=300, fail="2", fail_from_s=5)
    gpus.meter(20)
    used_j = energies_j(gpus)
    assert [used_j[gpu] for gpu in (0, 1, 3)] == pytest.approx([6000] * 3, rel=0.01)
    assert used_j[2] == pytest.approx(1500, rel=0.05)
    assert set(gpus.reasons) == {"gpu2"}


def test_no_visible_gpu_is_none_and_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = VirtualGpus(monkeypatch, environment={"CUDA_VISIBLE_DEVICES": ""}, gpus=4)
    assert gpus.channels == ()
    assert "CUDA_VISIBLE_DEVICES" in gpus.refusals[0].reason


def test_the_gpu_of_a_superchip_is_metered_without_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = {"names": "NVIDIA GH200 480GB", "superchip": "all", "cpu_w": 90, "low_w": 400}
    gpus = VirtualGpus(monkeypatch, **chip)
    gpus.meter(10)
    assert [(one.quantity, one.scope) for one in gpus.primary] == [("energy_j", "")]
    assert_true(gpus, 400)
    assert energies_j(gpus)[0] == pytest.approx(4000, rel=0.02)
    older = VirtualGpus(monkeypatch, old_driver=1, **chip)
    older.meter(10)
    assert [(one.quantity, one.scope) for one in older.primary] == [("power_w", "")]
    assert energies_j(older)[0] == pytest.approx(4000, rel=0.02)


def test_a_counter_that_contains_the_cpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = {"names": "NVIDIA GH200 480GB", "superchip": "all", "cpu_w": 90, "low_w": 400}
    gpus = VirtualGpus(monkeypatch, no_gpu_scope="all", **chip)
    gpus.meter(10)
    assert [(one.quantity, one.scope) for one in gpus.primary] == [("energy_j", "module")]
    assert_true(gpus, 490, module=True)
    assert energies_j(gpus)[0] == pytest.approx(4900, rel=0.02)


def test_a_slice_is_neither_refused_nor_charged_with_another_s_board(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visible = {"CUDA_VISIBLE_DEVICES": uuid_of(1, 2)}
    gpus = VirtualGpus(monkeypatch, None, visible, gpus=2, mig="1", slices="3,2,1", step_w=100)
    gpus.meter(10)
    (channel,) = gpus.primary
    assert (channel.device, channel.scope) == ("gpu1", "shared")
    assert channel.slice_share == pytest.approx(2 / 7)
    assert_true(gpus, 200)  # the whole board; the share is an estimate beside it


@pytest.mark.parametrize("factor", [0, 10])
@pytest.mark.parametrize("lasting_s", [0.03, 0.3, 4])
def test_a_glitch_costs_no_energy_and_makes_no_leap(
    monkeypatch: pytest.MonkeyPatch, factor: float, lasting_s: float
) -> None:
    moments = {"glitch_from_s": 5, "glitch_until_s": 5 + lasting_s}
    wave = {"low_w": 100, "high_w": 600, "wave_ms": 1300, "base_j": 1e6}
    gpus = VirtualGpus(monkeypatch, gpus=2, glitch="1", glitch_factor=factor, **moments, **wave)
    gpus.meter(20)
    assert set(gpus.reasons) == {"gpu1"}
    assert all("counter" in reason or "power" in reason for reason in gpus.reasons["gpu1"])
    assert_true(gpus, 600)
    for gpu, series in gpus.series():
        bridged = np.diff(series.t_ns)[series.state == BRIDGED].sum() / 1e9
        assert LOST not in series.state
        assert bridged <= (lasting_s + 3 * REFRESH_S) * gpu


def test_a_glitch_that_looks_like_a_counter_is_lost_time_and_no_leap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = {"glitch_from_s": 5, "glitch_until_s": 9}  # at 10 x 100 W nothing shows it
    gpus = VirtualGpus(
        monkeypatch, low_w=100, base_j=1e6, glitch="all", glitch_factor=10, **moments
    )
    gpus.meter(20)
    (series,) = (series for _, series in gpus.series())
    assert (series.state == LOST).sum() == 2
    assert series.energy_j[-1] <= 20 * 100 + 4 * 900


def test_rare_glitches_of_a_counter_cost_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = VirtualGpus(monkeypatch, low_w=300, base_j=1e6, glitch="all", glitch_every=97)
    gpus.meter(60)
    assert len(gpus.reasons["gpu0"]) > 5
    assert_true(gpus, 300)


def test_a_power_that_misreads_is_a_gap_and_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in (0, 10):
        gpus = VirtualGpus(
            monkeypatch,
            no_counter="all",
            low_w=300,
            glitch="all",
            glitch_factor=factor,
            glitch_every=500,
        )
        gpus.meter(30)
        (series,) = (series for _, series in gpus.series())
        known = series.state == COVERED
        seconds = np.diff(series.t_ns)[known].sum() / 1e9
        assert LOST in series.state
        assert series.energy_j[-1] == pytest.approx(300 * seconds, rel=1e-6)
        assert seconds > 29


def test_after_a_reset_the_run_goes_on_and_says_what_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = VirtualGpus(monkeypatch, gpus=2, low_w=300, base_j=1e6, reset="1", reset_s=10)
    gpus.meter(30)
    whole, reset = (series for _, series in gpus.series())
    assert (reset.state == LOST).sum() == 1
    lost_s = np.diff(reset.t_ns)[reset.state == LOST].sum() / 1e9
    assert 0.9 <= lost_s <= 1.5
    assert reset.energy_j[-1] == pytest.approx(300 * (30 - lost_s), rel=0.01)
    assert whole.energy_j[-1] == pytest.approx(300 * 30, rel=0.01)
    assert BRIDGED not in whole.state
    assert set(gpus.reasons) == {"gpu1"}


def test_a_lost_gpu_that_returns_is_read_on_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = VirtualGpus(monkeypatch, gpus=2, low_w=300, fail="1", fail_from_s=5, fail_until_s=8)
    gpus.meter(30)
    whole, lost = (series for _, series in gpus.series())
    assert (lost.state == BRIDGED).sum() == 1
    bridged_s = np.diff(lost.t_ns)[lost.state == BRIDGED].sum() / 1e9
    assert 2.8 <= bridged_s < 3 + 5  # it is asked again after 1, 2 and 4 s
    assert lost.energy_j[-1] == pytest.approx(300 * 30, rel=0.01)
    assert BRIDGED not in whole.state
    assert set(gpus.reasons["gpu1"]) == {"NVML: GPU is lost"}
    assert "gpu0" not in gpus.reasons


def test_a_lost_gpu_whose_counter_starts_anew_gives_no_negative_energy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = {"fail": "all", "fail_from_s": 5, "fail_until_s": 8, "reset": "all", "reset_s": 7}
    gpus = VirtualGpus(monkeypatch, low_w=300, base_j=1e6, **fault)
    gpus.meter(30)
    (series,) = (series for _, series in gpus.series())
    assert (series.state == LOST).sum() == 1
    lost_s = np.diff(series.t_ns)[series.state == LOST].sum() / 1e9
    assert series.energy_j[-1] == pytest.approx(300 * (30 - lost_s), rel=0.01)


def test_eight_gpus_cost_a_driver_some_hundred_calls_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = VirtualGpus(monkeypatch, gpus=8, low_w=300, latency_us=300, tail_every=50)
    gpus.meter(120)
    assert gpus.driver.calls < 8 * 120 * 75  # the search for a phase in the first seconds included
    assert_true(gpus, 300)
