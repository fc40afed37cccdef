"""Laws of NVML sensing: boards by UUID, each with its own times, faults stay with their board."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from simulation.fake_nvml import FakeNvml

METER = """
import dataclasses, json, sys, time
from greenai.sensors.nvml import open_nvml
devices, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
sensors, refusals = open_nvml(devices)
channels, readings = [], []
for sensor in sensors:
    channels = [dataclasses.asdict(channel) for channel in sensor.channels]
    end = time.monotonic() + seconds
    while True:
        readings.append(sensor.read())
        if time.monotonic() >= end:
            break
        time.sleep(0.02)
    init_ns = sensor.init_ns
    sensor.close()
    sensor.close()
print(json.dumps({"channels": channels, "refusals": refusals, "readings": readings,
                  "init_ns": init_ns if sensors else 0}))
"""


class Metered:
    """What a process saw of the simulated GPUs."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.channels: list[dict[str, Any]] = said["channels"]
        self.refusals: list[list[str]] = said["refusals"]
        self.turns: list[list[list[Any]]] = said["readings"]
        self.init_ns: int = said["init_ns"]

    def where(self, **wanted: object) -> list[int]:
        return [
            position
            for position, channel in enumerate(self.channels)
            if all(channel[key] == value for key, value in wanted.items())
        ]

    def of(self, position: int) -> list[list[Any]]:
        return [reading for turn in self.turns for reading in turn if reading[0] == position]

    @property
    def uuids(self) -> list[str]:
        return [self.channels[position]["device_key"] for position in self.where(primary=True)]


def meter(
    driver: FakeNvml,
    devices: list[str] | None = None,
    seconds: float = 0.0,
    *,
    visible: str | None = None,
    cuda_device_order: str = "",
    **knobs: object,
) -> Metered:
    environment = driver.environment(visible=visible, **knobs)
    if cuda_device_order:
        environment["CUDA_DEVICE_ORDER"] = cuda_device_order
    done = driver.run_in(environment, METER, json.dumps(devices), str(seconds))
    assert done.stderr == ""
    return Metered(json.loads(done.stdout))


def test_the_counters_of_eight_gpus_sum(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, seconds=0.6, gpus=8, low_w=100, step_w=10, refresh_ms=20)
    counters = seen.where(quantity="energy_j", primary=True)
    assert [seen.channels[position]["device"] for position in counters] == [
        f"gpu{k}" for k in range(8)
    ]
    used_j = true_j = 0.0
    for gpu, position in enumerate(counters):
        first, *_, last = seen.of(position)
        used_j += last[3] - first[3]
        true_j += fake_nvml.energy_j(gpu, first[1], last[1])
    refresh_s = 0.02 + 0.005
    assert abs(used_j - true_j) <= refresh_s * sum(100 + 10 * k for k in range(8))


def test_a_counter_shows_the_energy_of_its_latest_refresh(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, seconds=0.4, low_w=100, high_w=600, wave_ms=250, refresh_ms=50)
    (counter,) = seen.where(quantity="energy_j")
    for _, t0_ns, t1_ns, value, _ in seen.of(counter):
        assert fake_nvml.counter_j(0, t0_ns - 51_000_000) - 0.001 <= value
        assert value <= fake_nvml.counter_j(0, t1_ns) + 0.001


def test_each_gpu_is_read_between_its_own_times(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, gpus=3, latency_us=2000)
    times = [seen.of(position)[0][1:3] for position in seen.where(primary=True)]
    assert all(t1 - t0 >= 2_000_000 for t0, t1 in times)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))


def test_facts_that_inform_are_read_once_a_second(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, seconds=0.3, sm_mhz=1410, throttle=4)
    informing = {seen.channels[k]["quantity"]: seen.of(k) for k in seen.where(primary=False)}
    assert {name: [reading[3] for reading in all_] for name, all_ in informing.items()} == {
        "power_w": [100.0],
        "temperature_c": [40.0],
        "power_limit_w": [700.0],
        "utilization_ratio": [0.5],
        "memory_used_bytes": [20.0 * 2**30],
        "clock_hz": [1.41e9],
        "throttle_reasons": [4.0],
    }
    assert len(seen.of(seen.where(primary=True)[0])) > 5


def test_the_greatest_power_has_headroom_over_the_enforced_limit(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, limit_w=500)
    assert seen.channels[0]["power_max_w"] == 600.0


def test_without_a_counter_the_instant_power_is_integrated(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, gpus=2, no_counter="1", step_w=50)
    primary = [seen.channels[position] for position in seen.where(primary=True)]
    assert [(one["device"], one["quantity"], one["method"]) for one in primary] == [
        ("gpu0", "energy_j", "nvml_energy"),
        ("gpu1", "power_w", "nvml_power"),
    ]
    assert seen.of(seen.where(primary=True)[1])[0][3] == 150.0
    assert not seen.where(device="gpu1", quantity="power_w", primary=False)


def test_without_instant_power_the_plain_call_serves_and_says_what_it_means(
    fake_nvml: FakeNvml,
) -> None:
    seen = meter(fake_nvml, no_counter="all", no_instant="all", low_w=123)
    (channel,) = (seen.channels[position] for position in seen.where(primary=True))
    assert (channel["quantity"], channel["method"]) == ("power_w", "nvml_power")
    assert "mean" in channel["scope"]
    assert seen.of(0)[0][3] == pytest.approx(123, abs=0.01)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, range(12)),
        ("10", [10]),
        ("11,3", [11, 3]),
        ("GPU-0b0b", [10]),
        ("GPU-0", []),
        ("", []),
        ("2,2", []),
        ("MIG-02020000-1111-2222-3333-444444444444", [1]),
    ],
)
def test_the_visible_gpus_are_metered(
    fake_nvml: FakeNvml, visible: str | None, expected: list[int]
) -> None:
    seen = meter(fake_nvml, gpus=12, mig="1", visible=visible)
    assert seen.uuids == [fake_nvml.uuid(k) for k in expected]
    assert bool(seen.refusals) == (not expected)


def test_no_visible_gpu_is_said_with_the_variable(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, gpus=2, visible="")
    assert "CUDA_VISIBLE_DEVICES is ''" in seen.refusals[0][1]


@pytest.mark.parametrize("prefix", ["GPU-0b0b0000-1111-2222-3333-444444444444", "GPU-0b", "0b0b"])
def test_devices_are_uuids_or_their_beginnings(fake_nvml: FakeNvml, prefix: str) -> None:
    seen = meter(fake_nvml, [prefix, fake_nvml.uuid(2)], gpus=12, visible="0")
    assert seen.uuids == [fake_nvml.uuid(10), fake_nvml.uuid(2)]
    assert [seen.channels[k]["device"] for k in seen.where(primary=True)] == ["gpu10", "gpu2"]


@pytest.mark.parametrize("name", ["GPU-0", "GPU-ff", "", "0"])
def test_a_device_that_fits_none_or_several_is_refused(fake_nvml: FakeNvml, name: str) -> None:
    seen = meter(fake_nvml, [name, fake_nvml.uuid(1)], gpus=3)
    assert seen.uuids == [fake_nvml.uuid(1)]
    assert repr(name) in seen.refusals[0][1]


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(
    ("slices", "share"),
    [([0], 3 / 7), ([2], 1 / 7), ([0, 1], 6 / 7), ([0, 1, 2], 1.0)],
)
def test_slices_are_metered_as_their_board_with_their_share(
    fake_nvml: FakeNvml, slices: list[int], share: float, by_name: object
) -> None:
    names = [fake_nvml.slice_uuid(1, number) for number in slices]
    cut = {"gpus": 2, "mig": "1", "slices": "3,3,1"}
    seen = (
        meter(fake_nvml, names, **cut)
        if by_name
        else meter(fake_nvml, visible=",".join(names), **cut)
    )
    assert seen.uuids == [fake_nvml.uuid(1)]
    assert {one["scope"] for one in seen.channels} == {"shared"}
    assert [one["slice_share"] for one in seen.channels] == pytest.approx(
        [share] * len(seen.channels)
    )


def test_a_share_is_known_without_a_name_where_there_is_one_slice(fake_nvml: FakeNvml) -> None:
    assert meter(fake_nvml, mig="0", slices="4").channels[0]["slice_share"] == pytest.approx(4 / 7)
    assert math.isnan(meter(fake_nvml, mig="0", slices="3,3").channels[0]["slice_share"])


def test_a_share_that_nobody_tells_is_unknown_and_not_all(fake_nvml: FakeNvml) -> None:
    old = f"MIG-{fake_nvml.uuid(0)}/7/0"
    seen = meter(fake_nvml, [old], mig="0", slices="3,3")
    assert seen.uuids == [fake_nvml.uuid(0)]
    assert seen.channels[0]["scope"] == "shared"
    assert math.isnan(seen.channels[0]["slice_share"])
    assert math.isnan(meter(fake_nvml).channels[0]["slice_share"])


def test_a_board_in_slices_is_shared_however_it_is_named(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, gpus=2, mig="0")
    scopes = [seen.channels[position]["scope"] for position in seen.where(primary=True)]
    assert scopes == ["shared", ""]


def test_numbers_on_a_machine_of_two_models_are_an_assumption(fake_nvml: FakeNvml) -> None:
    names = "NVIDIA A;NVIDIA B"
    seen = meter(fake_nvml, gpus=2, names=names, visible="0")
    assert seen.channels[0]["scope"] == "order assumed"
    seen = meter(fake_nvml, gpus=2, names=names, visible=fake_nvml.uuid(1))
    assert (seen.channels[0]["scope"], seen.channels[0]["model"]) == ("", "NVIDIA B")


def test_numbers_that_name_all_gpus_need_no_order(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, gpus=2, names="NVIDIA A;NVIDIA B", visible="1,0")
    assert {channel["scope"] for channel in seen.channels} == {""}


@pytest.mark.parametrize(("visible", "expected"), [("0", 1), ("1", 2), ("2", 0)])
def test_numbers_count_along_the_bus(fake_nvml: FakeNvml, visible: str, expected: int) -> None:
    order = {"cuda_device_order": "PCI_BUS_ID", "buses": "9,3,5"}
    seen = meter(fake_nvml, gpus=3, names="NVIDIA A;NVIDIA B", visible=visible, **order)
    assert seen.uuids == [fake_nvml.uuid(expected)]
    assert seen.channels[0]["scope"] == ""


def test_gpus_that_are_only_visible_are_assumed_to_be_used(fake_nvml: FakeNvml) -> None:
    assert all(one["assumed_used"] for one in meter(fake_nvml, gpus=2).channels)
    assert all(one["assumed_used"] for one in meter(fake_nvml, gpus=2, visible="1").channels)
    named = meter(fake_nvml, [fake_nvml.uuid(1)], gpus=2)
    assert not any(one["assumed_used"] for one in named.channels)


SUPERCHIP = {"names": "NVIDIA GH200 480GB", "superchip": "all", "cpu_w": 80, "low_w": 400}


@pytest.mark.parametrize(
    ("knobs", "method", "scope"),
    [
        ({}, "nvml_energy", ""),
        ({"old_driver": 1}, "nvml_power", ""),
        ({"no_gpu_scope": "all"}, "nvml_energy", "module"),
        ({"old_driver": 1, "no_gpu_scope": "all"}, "nvml_energy", "module"),
        ({"no_counter": "all"}, "nvml_power", ""),
        ({"names": "NVIDIA of another name"}, "nvml_energy", ""),
        ({"names": "NVIDIA of another name", "no_gpu_scope": "all"}, "nvml_energy", "module"),
    ],
    ids=str,
)
def test_of_a_superchip_the_gpu_alone_is_read_where_it_can_be(
    fake_nvml: FakeNvml, knobs: dict[str, object], method: str, scope: str
) -> None:
    seen = meter(fake_nvml, **{**SUPERCHIP, **knobs})
    (channel,) = (seen.channels[position] for position in seen.where(primary=True))
    assert (channel["method"], channel["scope"]) == (method, scope)
    assert math.isnan(channel["power_max_w"]) == (scope == "module")
    if method == "nvml_power":
        assert seen.of(0)[0][3] == 400.0


@pytest.mark.parametrize("scopes", [{}, {"old_driver": 1}])
def test_a_plain_board_is_read_by_the_plain_counter(
    fake_nvml: FakeNvml, scopes: dict[str, object]
) -> None:
    seen = meter(fake_nvml, **scopes)
    assert (seen.channels[0]["method"], seen.channels[0]["scope"]) == ("nvml_energy", "")


def test_an_older_driver_s_name_of_throttle_reasons_serves(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, seconds=0.3, old_driver=1, throttle=68)
    (position,) = seen.where(quantity="throttle_reasons")
    assert seen.of(position)[0][3] == 68.0


def test_a_gpu_that_is_lost_leaves_the_others_alone(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, seconds=0.6, gpus=2, fail="1", fault_clock="init", fail_from_s=0.3)
    good, lost = (seen.of(position) for position in seen.where(quantity="energy_j"))
    assert all(math.isfinite(reading[3]) and not reading[4] for reading in good)
    failed = [reading for reading in lost if math.isnan(reading[3])]
    assert 0 < len(failed) < len(lost)
    assert {reading[4] for reading in failed} == {"NVML: GPU is lost"}
    assert not any(reading[3] == 0 for reading in lost)


def test_a_gpu_that_comes_back_is_read_again(fake_nvml: FakeNvml) -> None:
    seen = meter(
        fake_nvml,
        seconds=1.8,
        fail="0",
        fail_code=999,
        fault_clock="init",
        fail_from_s=0.2,
        fail_until_s=0.4,
    )
    known = [math.isfinite(reading[3]) for reading in seen.of(0)]
    assert known[0]
    assert known[-1]
    assert not all(known)


def test_a_gpu_that_is_lost_from_the_start_is_refused_alone(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, [fake_nvml.uuid(0), fake_nvml.uuid(1)], gpus=2, fail="1")
    assert seen.uuids == [fake_nvml.uuid(0)]
    assert len(seen.refusals) == 1


def test_gpus_that_may_not_be_opened_are_not_the_process_s(fake_nvml: FakeNvml) -> None:
    seen = meter(fake_nvml, gpus=4, no_permission="0,1,3", visible="0")
    assert seen.uuids == [fake_nvml.uuid(2)]
    none = meter(fake_nvml, gpus=2, no_permission="all")
    assert none.channels == []
    assert "may not open" in none.refusals[0][1]
    assert "docker" in none.refusals[0][2]


@pytest.mark.parametrize(
    ("code", "words"), [(9, "not loaded"), (18, "upgraded"), (999, "Unknown Error")]
)
def test_a_driver_that_does_not_start_is_refused(
    fake_nvml: FakeNvml, code: int, words: str
) -> None:
    seen = meter(fake_nvml, init_error=code)
    assert seen.channels == []
    assert words in seen.refusals[0][1]


def test_the_old_package_of_bindings_is_refused_with_the_remedy(
    fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    old = tmp_path / "pynvml"
    old.mkdir()
    (old / "__init__.py").write_text("from pynvml.nvml import *\n")
    (old / "nvml.py").write_text("def nvmlInit(): pass\ndef _nvmlGetFunctionPointer(name): pass\n")
    environment = {**fake_nvml.environment(), "PYTHONPATH": str(tmp_path)}
    seen = Metered(json.loads(fake_nvml.run_in(environment, METER, "null", "0").stdout))
    assert seen.channels == []
    ((_, reason, hint),) = seen.refusals
    assert "nvidia-ml-py" in reason
    assert hint == "pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py"


def test_the_driver_s_own_start_is_timed_apart(fake_nvml: FakeNvml) -> None:
    assert meter(fake_nvml, init_ms=80).init_ns >= 80_000_000


def test_a_machine_without_a_driver_is_said() -> None:
    code = "import json; from greenai.sensors.nvml import open_nvml; print(json.dumps(open_nvml()))"
    environment = {**os.environ, "LD_LIBRARY_PATH": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment, text=True
    )
    sensors, refusals = json.loads(done.stdout)
    if sensors:
        pytest.skip("this machine has an NVIDIA driver")
    assert refusals == [["nvml", "NVML library not found: no NVIDIA driver on this machine.", ""]]


class Falls:
    """Stands in for pynvml where the simulated library cannot misread."""

    class NVMLError(Exception):
        value = 3

    NVML_SUCCESS = 0
    NVML_ERROR_NOT_SUPPORTED = 3

    def __init__(self, counters_mj: list[int]) -> None:
        self.counters_mj = iter(counters_mj)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802 - the driver's name
        return uuid

    def nvmlDeviceGetIndex(self, handle: str) -> int:  # noqa: N802 - the driver's name
        return len(handle) * 0

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:  # noqa: N802 - the driver's name
        return 700_000 + 0 * len(handle)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802 - the driver's name
        return next(self.counters_mj) + 0 * len(handle)

    def __getattr__(self, name: str) -> Any:
        def unsupported(*_: object) -> None:
            raise self.NVMLError

        return unsupported if name.startswith("nvml") else 0


@pytest.mark.parametrize("wrong_mj", [0, 9_000_000_000])
def test_a_misread_counter_is_a_failed_read_and_not_a_leap(wrong_mj: int) -> None:
    from greenai.sensors.nvml_board import Gpu  # noqa: PLC0415 - the others need a new process
    from greenai.sensors.nvml_choice import Chosen  # noqa: PLC0415 - as above
    from greenai.sensors.visible import Board  # noqa: PLC0415 - as above

    probed = [1_000_000] * 2
    driver = Falls([*probed, 1_000_000, wrong_mj, wrong_mj, 1_000_010, 1_000_020])
    chosen = Chosen(Board("GPU-a"))
    (line,) = (one for one in Gpu(driver, chosen).lines() if one.channel.primary)
    values = [line.read(0) for _ in range(5)]
    assert values[0].value == 1000.0
    for doubted in values[1:3]:
        assert math.isnan(doubted.value)
        assert "counter" in doubted.reason
    assert [one.value for one in values[3:]] == [1000.01, 1000.02]
