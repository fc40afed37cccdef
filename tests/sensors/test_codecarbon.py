"""Laws of the models: never beside a counter, no hole at the start, labelled for what they are."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from greenai.sensors import codecarbon, models
from greenai.sensors.codecarbon import CodeCarbonSensor, open_codecarbon
from greenai.sensors.models import Machine, PowerModels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulation.powercap import PowercapTree

    from greenai.sensors.base import Refusal

FORMULA = tuple(200 * (0.1 + 0.9 * (step / 100) ** 3) for step in range(101))
KNOWN = PowerModels(
    "3.3.2", "Some CPU", cpu_known=True, sockets=1, tdp_w=200.0, ram_w=38.0, formula=FORMULA
)
MACHINE = Machine("a machine", virtual=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("GREENAI_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the child be a few lines of our own; the package counts as installed."""

    def answer(code: str, version: str = "3.3.2") -> None:
        monkeypatch.setattr(codecarbon, "ASK", f"import json, sys, time\n{code}")
        monkeypatch.setattr(codecarbon, "_version", lambda: version)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    return answer


def giving(power: PowerModels, seconds: float = 0.0) -> str:
    said = json.dumps(dataclasses.asdict(power))
    return f"time.sleep({seconds}); print('noise'); print({said!r})"


def opened(**named: Any) -> CodeCarbonSensor:
    sensors, refusals = open_codecarbon("/nonexistent", **named)
    assert refusals == []
    assert isinstance(sensors[0], CodeCarbonSensor)
    return sensors[0]


def refused(**named: Any) -> Refusal:
    sensors, refusals = open_codecarbon("/nonexistent", **named)
    assert sensors == []
    return refusals[0]


def test_a_known_cpu_is_modelled_and_says_so(answering: Callable[..., None]) -> None:
    answering(giving(KNOWN))
    sensor = opened()
    sensor.close()
    cpu, ram = sensor.channels
    assert (cpu.device, cpu.kind, cpu.method, cpu.trust) == (
        "cpu-package-0",
        "cpu",
        "cpu_load_model",
        "modelled",
    )
    assert (cpu.quantity, cpu.primary, cpu.power_max_w, cpu.model) == (
        "power_w",
        True,
        200.0,
        "Some CPU",
    )
    assert "design power" in cpu.scope
    assert (ram.device, ram.kind, ram.method, ram.trust, ram.power_max_w) == (
        "dram-0",
        "dram",
        "ram_model",
        "modelled",
        38.0,
    )
    assert "memory module" in ram.scope


def test_an_unknown_cpu_is_assumed(answering: Callable[..., None]) -> None:
    answering(giving(dataclasses.replace(KNOWN, cpu_known=False)))
    sensor = opened()
    sensor.close()
    assert [channel.trust for channel in sensor.channels] == ["assumed", "modelled"]


def test_the_start_has_no_hole_while_the_package_is_asked(answering: Callable[..., None]) -> None:
    answering(giving(KNOWN, seconds=0.5))
    before_ns = time.monotonic_ns()
    sensor = opened()
    time.sleep(0.1)
    readings = sensor.read()
    sensor.close()
    cpu = [reading for reading in readings if reading.channel == 0]
    assert len(cpu) >= 4
    assert cpu[0].t0_ns - before_ns < 200e6
    assert cpu[-1].t1_ns - before_ns > 550e6
    assert all(one.t1_ns == after.t0_ns for one, after in itertools.pairwise(cpu))
    assert all(20.0 <= reading.value <= 200.0 for reading in cpu)
    assert {reading.value for reading in readings if reading.channel == 1} == {38.0}
    assert len(readings) == 2 * len(cpu)


def test_a_model_never_stands_beside_a_counter(
    powercap_tree: PowercapTree, answering: Callable[..., None]
) -> None:
    answering(giving(KNOWN))
    powercap_tree.zone("intel-rapl:0", "package-0")
    root = powercap_tree.sys_root
    (sensor,), _ = open_codecarbon(root)
    assert [channel.kind for channel in sensor.channels] == ["dram"]
    sensor.close()
    powercap_tree.zone("intel-rapl:0:0", "dram")
    assert open_codecarbon(root) == ([], [])


def test_a_counter_that_nobody_reads_is_pointed_at(powercap_tree: PowercapTree) -> None:
    powercap_tree.server(1)
    sensors, refusals = open_codecarbon(powercap_tree.sys_root, counters_wanted=False)
    assert sensors == []
    assert "rapl" in refusals[0].hint


def test_a_counter_that_is_denied_leaves_the_model(
    powercap_tree: PowercapTree, answering: Callable[..., None]
) -> None:
    answering(giving(KNOWN))
    powercap_tree.zone("intel-rapl:0", "package-0")
    powercap_tree.deny("intel-rapl:0")
    (sensor,), _ = open_codecarbon(powercap_tree.sys_root)
    assert [channel.kind for channel in sensor.channels] == ["cpu", "dram"]
    sensor.close()


def test_the_package_is_asked_once_a_machine_and_version(
    answering: Callable[..., None], cache: Path
) -> None:
    answering(giving(KNOWN))
    opened().close()
    assert len(list(cache.iterdir())) == 1
    answering("sys.exit(3)")
    assert opened().channels[0].power_max_w == 200.0
    answering("sys.exit(3)", version="3.4.0")
    assert "exit 3" in refused().reason


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "3.3.2"}', "\x00"])
def test_a_damaged_cache_is_asked_anew(
    text: str, answering: Callable[..., None], cache: Path
) -> None:
    answering(giving(KNOWN))
    opened().close()
    (kept,) = cache.iterdir()
    kept.write_text(text)
    opened().close()
    assert models.parsed(kept.read_text()) == KNOWN


def test_a_cache_that_cannot_be_written_is_no_error(
    answering: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("GREENAI_CACHE_DIR", str(blocked / "below"))
    answering(giving(KNOWN))
    opened().close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(3)", "exit 3"),
        ("raise RuntimeError('no such thing')", "no such thing"),
        ("print('nothing')", "nothing"),
        ("print('{}')", "no watts"),
    ],
)
def test_a_package_that_gives_no_watts_is_refused(
    code: str, words: str, answering: Callable[..., None]
) -> None:
    answering(code)
    assert words in refused().reason


def test_a_package_that_hangs_is_given_up(
    answering: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecarbon, "CHILD_S", 0.3)
    answering("time.sleep(60)")
    assert "within 0.3 s" in refused().reason


@pytest.mark.parametrize(
    "change",
    [
        {"tdp_w": float("inf")},
        {"ram_w": 0.0},
        {"tdp_w": 150.0},
        {"formula": tuple(reversed(FORMULA))},
        {"formula": (200.0, 200.0)},
    ],
)
def test_numbers_that_cannot_be_are_not_believed(change: dict[str, Any]) -> None:
    assert models.parsed(json.dumps(dataclasses.asdict(KNOWN))) == KNOWN
    wrong = dataclasses.replace(KNOWN, **change)
    assert models.parsed(json.dumps(dataclasses.asdict(wrong))) is None


@pytest.mark.parametrize("version", ["2.8.4", "3.1.0", "4.0.0", ""])
def test_another_version_is_refused(version: str, answering: Callable[..., None]) -> None:
    answering(giving(KNOWN), version=version)
    assert refused().hint == codecarbon.INSTALL


def test_without_the_package_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert refused().hint == 'pip install "greenai[codecarbon]"'


def test_a_machine_is_known_by_its_cpu_and_memory(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 16 kB\nMemFree: 3 kB\n")
    cpu = "model name\t: CPU A\nphysical id\t: 0\nflags\t\t: fpu {}\ncpu MHz\t: {}\n"

    def described(*values: object) -> Machine:
        (tmp_path / "cpuinfo").write_text(cpu.format(*values))
        return models.machine(str(tmp_path))

    assert described("vme", 2000) == described("vme", 3000)
    assert not described("vme", 2000).virtual
    assert described("hypervisor", 2000).virtual
    (tmp_path / "meminfo").write_text("MemTotal: 32 kB\n")
    assert described("vme", 2000).facts != described("hypervisor", 1)._replace(facts="").facts


class TestContract:
    """What greenai takes of the package itself; the one place that fails when it changes."""

    @pytest.fixture(autouse=True)
    def _needs_the_package(self) -> None:
        if importlib.util.find_spec("codecarbon") is None:
            pytest.skip("codecarbon is not installed")

    def test_known_design_powers(self) -> None:
        from codecarbon.core.cpu import TDP  # noqa: PLC0415 - only where it is installed

        table = TDP.__new__(TDP)
        for model, watts in [
            ("Intel(R) Xeon(R) Platinum 8480+", 350),
            ("AMD EPYC 7763 64-Core Processor", 280),
            ("AMD EPYC 9654 96-Core Processor", 360),
        ]:
            assert table._get_cpu_power_from_registry(model) == watts
        assert table._get_cpu_power_from_registry("A CPU that nobody makes") is None

    @pytest.mark.parametrize("load", [0.0, 0.1, 0.5, 1.0])
    def test_our_watts_at_a_load_are_the_package_s(self, load: float) -> None:
        from codecarbon.external.hardware import CPU, MODE_CPU_LOAD  # noqa: PLC0415 - as above

        cpu = CPU.from_utils("", MODE_CPU_LOAD, "AMD EPYC 7763", 280)
        formula = tuple(codecarbon.watts_at(cpu, step / 100) for step in range(101))
        ours = dataclasses.replace(KNOWN, tdp_w=280.0, formula=formula)
        assert models.parsed(json.dumps(dataclasses.asdict(ours))) == ours
        assert ours.cpu_w(load) == pytest.approx(codecarbon.watts_at(cpu, load), rel=1e-9)
        assert ours.cpu_w(load) == pytest.approx(280 * (0.1 + 0.9 * load**3), rel=1e-9)
        assert ours.cpu_w(0.555) == pytest.approx(codecarbon.watts_at(cpu, 0.555), rel=1e-3)

    @pytest.mark.parametrize(
        ("memory_gb", "watts"), [(16, 10), (32, 20), (64, 20), (128, 38), (1024, 38)]
    )
    def test_known_powers_of_memory(self, memory_gb: float, watts: float) -> None:
        from codecarbon.external.ram import RAM  # noqa: PLC0415 - as above

        ram = RAM()
        ram.is_arm_cpu = False
        assert ram._calculate_ram_power(memory_gb) == pytest.approx(watts)

    @pytest.mark.slow
    def test_this_machine_is_modelled_in_a_child(self, cache: Path) -> None:
        sensors, refusals = open_codecarbon("/nonexistent")
        assert refusals == []
        (sensor,) = sensors
        time.sleep(0.1)
        assert {reading.channel for reading in sensor.read()} == {0, 1}
        sensor.close()
        assert os.listdir(cache)  # noqa: PTH208 - only whether there is one
