"""Laws of single makers' sensors: Intel, Apple, Habana, Jetson, and what has no sensor."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import pytest
from simulation.fake_hlml import FakeGaudi, fake_hlml
from simulation.fake_zeus import FakeChip, fake_zeus
from simulation.systree import SysTree, write

from greenai import sensors
from greenai.errors import SensorError
from greenai.sensors import apple
from greenai.sensors.apple import open_apple
from greenai.sensors.habana import open_habana
from greenai.sensors.intel import open_intel
from greenai.sensors.jetson import open_jetson
from greenai.sensors.unmetered import open_unmetered

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> SysTree:
    return SysTree(tmp_path)


def drm(tree: SysTree) -> str:
    return str(tree.sys / "class" / "drm")


def test_an_intel_counter_that_misreads_is_a_gap_and_no_leap(tree: SysTree) -> None:
    folder = tree.intel_gpu(0, power1_max=150_000_000, energy1_input=900_000_000)
    (sensor,), _ = open_intel(drm(tree))
    assert sensor.read()[0].value == 900.0
    said = []
    for uj in (3, 901_000_000, 5_000_000_000_000_000, 902_000_000, 902_500_000):
        write(folder, {"energy1_input": uj})
        said.append(sensor.read()[0])
    # After a fall the small value is the base, so that the way back is a leap too.
    assert [one.reason.split(" from")[0] for one in said] == [
        "the counter fell",
        "the counter leapt",
        "the counter leapt",
        "the counter fell",
        "",
    ]
    assert said[-1].value == 902.5


def test_an_intel_card_is_preferred_to_its_package(tree: SysTree) -> None:
    limits = {"power1_max": 200_000_000, "power1_crit": 300_000_000}
    tree.intel_gpu(0, "xe", energy1_input=7_000_000, energy2_input=5_000_000, **limits)
    tree.intel_gpu(1, "xe", energy2_input=5_000_000, power2_max=90_000_000)
    (sensor,), _ = open_intel(drm(tree))
    card, package = (one for one in sensor.channels if one.primary)
    assert [one.value for one in sensor.read()[::2]] == [7.0, 5.0]
    assert (card.scope, card.power_max_w) == ("", pytest.approx(360.0))
    assert package.scope.startswith("package")
    assert math.isnan(package.power_max_w)


def test_tiles_plugs_and_other_makers_are_no_intel_gpus(tree: SysTree) -> None:
    tree.intel_gpu(0, energy1_input=1)
    tree.intel_gpu(1, "amdgpu", energy1_input=1)
    tree.intel_gpu(2, "i915")  # integrated: it has no counter
    (sensor,), _ = open_intel(drm(tree))
    assert [one.device for one in sensor.channels] == ["intel-gpu0"]


def test_intel_cards_are_chosen_by_their_address(tree: SysTree) -> None:
    tree.intel_gpu(0, energy1_input=1)
    tree.intel_gpu(1, energy1_input=1)
    (sensor,), _ = open_intel(drm(tree), devices=["04:00.0"])
    assert [one.device for one in sensor.channels] == ["intel-gpu1"]
    assert open_intel(drm(tree), devices=["GPU-1234"])[0] == []


def test_a_jetson_without_a_supply_rail_is_the_sum_of_its_rails(tree: SysTree) -> None:
    first = tree.ina3221("1-0040", ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"])
    second = tree.ina3221("1-0041", ["NC", "VDDQ_VDD2_1V8AO", "NC"])
    write(first, {"curr1_input": 2000, "curr2_input": 1000, "curr3_input": 400})
    write(second, {"curr1_input": 7777, "curr2_input": 600, "curr3_input": 7777})
    (sensor,), _ = open_jetson(str(tree.sys))
    readings = sensor.read()
    assert [one.value for one in readings] == pytest.approx([20.0, 10.0, 5.0, 2.0, 3.0])
    assert [one.primary for one in sensor.channels] == [True, False, False, False, False]
    write(second, {"curr2_input": ""})
    assert math.isnan(sensor.read()[0].value)  # a smaller sum would be a wrong one


def test_a_jetsons_rails_are_not_added_to_its_supply(tree: SysTree) -> None:
    folder = tree.ina3221("7-0040", ["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"])
    write(folder, {"curr1_input": 2000, "curr2_input": 700, "curr3_input": 600})
    (sensor,), _ = open_jetson(str(tree.sys))
    assert sensor.read()[0].value == 10.0
    assert [one.device for one in sensor.channels if one.primary] == ["jetson"]


def test_no_model_stands_beside_a_module_that_contains_cpu_and_memory(
    tree: SysTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.ina3221("1-0040", ["VDD_IN"])
    found = sensors.discover(["jetson", "codecarbon"], sys_root=str(tree.sys))
    assert [one.name for one in found.sensors] == ["jetson"]
    found.close()
    monkeypatch.setattr(apple, "is_here", lambda: True)
    found = sensors.discover(["apple", "codecarbon"], sys_root=str(tree.sys / "nothing"))
    assert found.sensors == []
    assert [one.sensor for one in found.refusals] == ["apple"]  # not installed: said, not modelled


def test_what_a_chip_does_not_tell_is_refused_and_not_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apple, "is_here", lambda: True)
    chip = FakeChip({"cpu_total_mj": 5.0, "gpu_mj": 0.0})
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", fake_zeus(chip))
    (sensor,), refusals = open_apple()
    assert [one.device for one in sensor.channels] == ["apple-cpu", "apple-gpu"]
    assert {one.trust for one in sensor.channels} == {"modelled"}
    assert [one.reason.split()[5] for one in refusals] == ["apple-dram", "apple-ane"]
    chip.broken = True
    assert all(math.isnan(one.value) and "kWh" in one.reason for one in sensor.read())
    assert open_apple()[0] == []


def test_a_gaudi_without_a_counter_has_its_power_integrated(
    tree: SysTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.driver("module/habanalabs")
    cards = [FakeGaudi(400.0, module=3, no_counter=True), FakeGaudi(500.0, module=5)]
    monkeypatch.setitem(sys.modules, "pyhlml", fake_hlml(cards))
    (sensor,), refusals = open_habana(str(tree.sys), None, {"HABANA_VISIBLE_MODULES": "3"})
    assert refusals == []
    assert [one.method for one in sensor.channels if one.primary] == ["hlml_power"]
    assert sensor.read()[0].value == 400.0
    assert open_habana(str(tree.sys), None, {"HABANA_VISIBLE_MODULES": "7"})[0] == []
    (named,), _ = open_habana(str(tree.sys), ["HL-0-1"], {})
    assert [one.device for one in named.channels if one.primary] == ["habana1"]


def test_a_gaudi_that_comes_back_is_read_by_a_new_handle(
    tree: SysTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.driver("module/habanalabs")
    card = FakeGaudi()
    monkeypatch.setitem(sys.modules, "pyhlml", fake_hlml([card]))
    (sensor,), _ = open_habana(str(tree.sys), None, {})
    card.lost = True
    assert math.isnan(sensor.read()[0].value)
    card.lost, card.generation = False, 1
    assert sensor.read()[0].value > 500.0


def test_hlml_that_does_not_start_prints_nothing_to_the_output(
    tree: SysTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.driver("module/habanalabs")
    monkeypatch.setitem(sys.modules, "pyhlml", fake_hlml([], init_fails=True))
    _, refusals = open_habana(str(tree.sys), None, {})
    assert "HLML does not start" in refusals[0].reason
    assert capsys.readouterr().out == ""


def test_accelerators_without_a_sensor_are_refused_until_their_watts_are_stated(
    tree: SysTree,
) -> None:
    world = {"sys_root": str(tree.sys), "dev": str(tree.dev)}
    for chip in range(4):
        (tree.dev / f"accel{chip}").touch()
    tree.driver("devices/virtual/neuron_device/neuron0")
    found = sensors.discover(["unmetered"], **world)
    assert found.sensors == []
    assert [one.reason.partition(" tell")[0] for one in found.refusals] == [
        "4 Google TPU chips",
        "1 AWS Trainium or Inferentia chips",
    ]
    assert "assumed:tpu=WATTS" in found.refusals[0].hint
    stated = sensors.discover(["unmetered", "assumed:tpu=800"], **world)
    assert [one.device for one in stated.sensors[0].channels] == ["assumed-tpu"]
    assert ["Trainium" in one.reason for one in stated.refusals] == [True]


def test_vfio_devices_are_tpus_only_where_the_machine_says_so(tree: SysTree) -> None:
    (tree.dev / "vfio").mkdir()
    (tree.dev / "vfio" / "0").touch()
    (tree.dev / "accel").mkdir()  # another maker's folder
    roots = (str(tree.dev), str(tree.sys), ())
    assert [one.hint for one in open_unmetered(*roots, {})[1]] == [""]
    (refusal,) = open_unmetered(*roots, {"TPU_ACCELERATOR_TYPE": "v5e-1"})[1]
    assert refusal.reason.startswith("1 Google TPU")


def test_nothing_is_assumed_that_the_user_did_not_state() -> None:
    assert not any("assumed" in name for name in sensors.openers())


@pytest.mark.parametrize(
    "name",
    [
        "assumed:tpu",
        "assumed:tpu=",
        "assumed:tpu=0",
        "assumed:tpu=-5",
        "assumed:tpu=1e999",
        "assumed:tpu=fast",
        "assumed:=200",
        "assumed:heater:tpu=200",
        "assumed:a b=3",
    ],
)
def test_watts_that_are_none_are_an_error_at_the_desk(name: str) -> None:
    with pytest.raises(SensorError, match="states no power"):
        sensors.check_names(["rapl", name])


def test_a_thing_is_stated_once() -> None:
    with pytest.raises(SensorError):
        sensors.openers(["assumed:tpu=200", "assumed:gpu:tpu=100"])
