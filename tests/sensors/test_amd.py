"""Laws of AMD GPUs: a lying counter is not believed, a board is counted once, order is HIP's."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from simulation.fake_amdsmi import FakeDie, fake_amdsmi
from simulation.systree import SysTree

from greenai.sensors.amd import INSTALL, open_amd

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.sensors.base import Reading, Refusal, Sensor

Open = Any


@pytest.fixture
def open_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens simulated GPUs: ``open_dies(FakeDie(), devices=None, HIP_VISIBLE_DEVICES="1")``."""
    tree = SysTree(tmp_path)
    tree.driver("class/kfd/kfd")

    def open_(
        *dies: FakeDie, devices: list[str] | None = None, **environment: str
    ) -> tuple[list[Sensor], list[Refusal]]:
        monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi(list(dies)))
        return open_amd(str(tree.sys), devices, environment)

    return open_


def four() -> list[FakeDie]:
    """In amdsmi's order; HIP's is the other way round."""
    return [
        FakeDie(100.0 * (at + 1), f"0000:{at + 1:02x}:00.0", hip_id=3 - at, serial=f"0xaa0{at}")
        for at in range(4)
    ]


def metered(sensors: list[Sensor]) -> list[str]:
    return [one.device_key for sensor in sensors for one in sensor.channels if one.primary]


def power_of(sensor: Sensor, at: int = 0) -> float:
    """Mean power that the energy of a channel says, over the readings' own times."""
    readings: list[Reading] = []
    for _ in range(4):
        readings += [one for one in sensor.read() if one.channel == at]
        time.sleep(0.05)
    first, last = readings[0], readings[-1]
    return (last.value - first.value) / (last.t1_ns - first.t1_ns) * 1e9


def test_energy_is_exact_on_the_accumulators_own_times(open_dies: Open) -> None:
    """The reported unit of 15.3 µJ would be wrong by 0.27 %, the call's ends by milliseconds."""
    sensors, refusals = open_dies(FakeDie(power_w=300.0))
    assert refusals == []
    assert power_of(sensors[0]) == pytest.approx(300.0, rel=1e-4)


def test_a_reading_is_dated_by_the_accumulator(open_dies: Open) -> None:
    sensors, _ = open_dies(FakeDie())
    sensors[0].read()
    start_ns = time.monotonic_ns()
    (energy, *_) = sensors[0].read()
    assert energy.t0_ns == energy.t1_ns
    assert start_ns - 2_000_000 <= energy.t1_ns <= time.monotonic_ns()


def test_a_timestamp_of_another_clock_is_not_used(open_dies: Open) -> None:
    sensors, _ = open_dies(FakeDie(other_clock=True))
    sensors[0].read()
    start_ns = time.monotonic_ns()
    (energy, *_) = sensors[0].read()
    assert start_ns <= energy.t0_ns < energy.t1_ns <= time.monotonic_ns()


def test_the_half_second_of_opening_is_not_lost(open_dies: Open) -> None:
    start_ns = time.monotonic_ns()
    sensors, _ = open_dies(FakeDie())
    opened_ns = time.monotonic_ns()
    first = sensors[0].read()[0]
    assert start_ns - 2_000_000 <= first.t1_ns < opened_ns - 400_000_000


@pytest.mark.parametrize("fault", [{"frozen": True}, {"factor": 0.1}, {"factor": 50.0}])
def test_a_counter_that_cannot_be_is_replaced_by_power_and_said(
    open_dies: Open, fault: dict[str, Any]
) -> None:
    sensors, refusals = open_dies(FakeDie(power_w=300.0, **fault))
    (channel,) = [one for one in sensors[0].channels if one.primary]
    assert (channel.quantity, channel.method) == ("power_w", "amdsmi_power")
    assert "energy counter" in channel.scope
    assert sensors[0].read()[0].value == 300.0
    (refusal,) = refusals
    assert "power is integrated" in refusal.reason
    assert refusal.hint


def test_the_silent_die_of_a_module_is_neither_zero_nor_counted(open_dies: Open) -> None:
    first = FakeDie(500.0, "0000:c1:00.0", hip_id=0, serial="0xa1")
    second = FakeDie(0.0, "0000:c6:00.0", hip_id=1, serial="0xa2", silent=True)
    sensors, refusals = open_dies(first, second)
    assert metered(sensors) == [first.uuid]
    assert len(refusals) == 1
    assert "second die" in refusals[0].reason
    alone, refusals = open_dies(first, second, HIP_VISIBLE_DEVICES="1")
    assert alone == []
    assert "missing from this run, not zero" in refusals[0].reason
    assert refusals[0].hint


def test_partitions_of_a_board_are_counted_once(open_dies: Open) -> None:
    parts = [
        FakeDie(700.0, f"0000:c1:00.{part}", hip_id=part, serial=f"0xb{part}") for part in range(4)
    ]
    sensors, refusals = open_dies(*parts)
    assert refusals == []
    assert metered(sensors) == [parts[0].uuid]
    assert sensors[0].channels[0].scope == ""
    some, _ = open_dies(*parts, HIP_VISIBLE_DEVICES="2,3")
    assert metered(some) == [parts[2].uuid]
    assert some[0].channels[0].scope == "shared"


def test_two_partitions_of_one_uuid_are_still_one_board(open_dies: Open) -> None:
    parts = [FakeDie(700.0, f"0000:c1:00.{part}", hip_id=part) for part in range(2)]
    sensors, _ = open_dies(*parts)
    assert metered(sensors) == [parts[0].uuid]


@pytest.mark.parametrize(
    ("environment", "places"),
    [
        ({}, [3, 2, 1, 0]),
        ({"HIP_VISIBLE_DEVICES": "0"}, [3]),
        ({"HIP_VISIBLE_DEVICES": "2,0"}, [1, 3]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [2]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, [3]),
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, [1, 0]),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "1"}, [0]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-aa00"}, [0]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
        ({"HIP_VISIBLE_DEVICES": "-1"}, []),
    ],
)
def test_the_variables_choose_in_hips_order(
    open_dies: Open, environment: dict[str, str], places: list[int]
) -> None:
    dies = four()
    sensors, refusals = open_dies(*dies, **environment)
    assert metered(sensors) == [dies[place].uuid for place in places]
    assert bool(refusals) == (not places)
    assert all(one.hint for one in refusals)


def test_an_older_library_has_an_order_of_its_own_which_is_said(open_dies: Open) -> None:
    dies = [FakeDie(100, f"0000:0{at}:00.0", hip_id=None, serial=f"0xc{at}") for at in (1, 2)]
    sensors, _ = open_dies(*dies, HIP_VISIBLE_DEVICES="1")
    assert metered(sensors) == [dies[1].uuid]
    assert sensors[0].channels[0].scope == "order assumed"


def test_named_devices_are_metered_and_others_refused(open_dies: Open) -> None:
    dies = four()
    sensors, refusals = open_dies(*dies, devices=[dies[2].uuid, "GPU-ffff"])
    assert metered(sensors) == [dies[2].uuid]
    assert not sensors[0].channels[0].assumed_used
    assert open_dies(*dies)[0][0].channels[0].assumed_used  # nobody said that it uses them
    assert "GPU-ffff" in refusals[0].reason
    assert metered(open_dies(*dies, devices=["aa01"])[0]) == [dies[1].uuid]
    assert open_dies(*dies, devices=[])[0] == []


def test_a_gpu_that_is_lost_before_the_start_leaves_the_others(open_dies: Open) -> None:
    dies = [FakeDie(100, "0000:01:00.0", 0, "0xc1"), FakeDie(200, "0000:02:00.0", 1, "0xc2")]
    dies[0].lost = True
    sensors, refusals = open_dies(*dies)
    assert metered(sensors) == [dies[1].uuid]
    assert len(refusals) == 1
    assert "NOT_INIT" in refusals[0].reason


def test_one_failed_call_at_the_start_is_no_fault_of_the_counter(
    open_dies: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    die = FakeDie()
    smi = fake_amdsmi([die])
    real, calls = smi.amdsmi_get_energy_count, []

    def busy_at_first(handle: object) -> dict[str, Any]:
        calls.append(handle)
        if len(calls) == 1:
            raise smi.AmdSmiLibraryException(30, "AMDSMI_STATUS_BUSY - Device busy")
        return dict(real(handle))

    smi.amdsmi_get_energy_count = busy_at_first
    monkeypatch.setitem(globals(), "fake_amdsmi", lambda _: smi)
    sensors, refusals = open_dies(die)
    assert refusals == []
    assert sensors[0].channels[0].quantity == "energy_j"


def test_facts_come_once_a_second_in_base_units(open_dies: Open) -> None:
    sensors, _ = open_dies(FakeDie(power_w=300.0))
    channels = sensors[0].channels
    values = {channels[one.channel].quantity: one.value for one in sensors[0].read()[1:]}
    assert {name: values[name] for name in values if name != "energy_j"} == {
        "power_w": 300.0,
        "temperature_c": 55.0,
        "power_limit_w": 750.0,
        "utilization_ratio": 0.8,
        "memory_used_bytes": 2.0**30,
    }
    assert channels[0].power_max_w == pytest.approx(900.0)
    assert [channels[one.channel].quantity for one in sensors[0].read()] == ["energy_j"]


def test_the_socket_of_an_apu_contains_its_cpu(open_dies: Open) -> None:
    sensors, _ = open_dies(FakeDie(model="AMD Instinct MI300A"))
    assert sensors[0].channels[0].scope == "module"
    assert math.isnan(sensors[0].channels[0].power_max_w)


def test_a_driver_that_does_not_start_has_a_reason_and_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = SysTree(tmp_path)
    tree.driver("class/kfd/kfd")
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi([], init_fails=True))
    _, refusals = open_amd(str(tree.sys), None, {})
    assert "DRIVER_NOT_LOADED" in refusals[0].reason
    smi = fake_amdsmi([])
    monkeypatch.setitem(sys.modules, "amdsmi", smi)
    assert open_amd(str(tree.sys), None, {})[0] == []
    assert smi.open == 0


def test_bindings_without_their_library_are_refused_and_print_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the real package does it: a line on standard output, then a KeyError."""
    package = tmp_path / "packages" / "amdsmi"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "print('Unable to find libamd_smi.so')\n{}['libamd_smi']\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    tree = SysTree(tmp_path)
    tree.driver("class/kfd/kfd")
    sensors, refusals = open_amd(str(tree.sys), None, {})
    assert sensors == []
    assert "its library does not load" in refusals[0].reason
    assert refusals[0].hint == INSTALL
    assert capsys.readouterr().out == ""
