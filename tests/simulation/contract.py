"""Every sensor on its simulated hardware, made ready for the laws that all of them keep."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynvml
from simulation import commands
from simulation.counters import MS, a_channel, attempt_of, marks_of, readings_of
from simulation.fake_amdsmi import FakeDie, fake_amdsmi
from simulation.fake_hlml import FakeGaudi, fake_hlml
from simulation.fake_zeus import FakeChip, fake_zeus
from simulation.systree import SysTree

import greenai.record.reader
from greenai import sensors
from greenai.record.types import CHANGE, FIRST, Record
from greenai.sensors import apple, asked, codecarbon
from greenai.sensors.models import PowerModels

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from simulation.fake_nvml import FakeNvml
    from simulation.powercap import PowercapTree

    from greenai.sensors.base import Refusal, Sensor


@dataclasses.dataclass
class Case:
    """One sensor with its simulated hardware.

    Attributes:
        names: What a user writes.
        world: Where its files are.
        powers_w: True constant power of every device that is counted, by its label.
        refresh_ns: How old a value of the simulation may be when it is read.
        turn: Brings values up to now; for simulations that do not run by themselves.
        fail: Makes one device fail; gives the labels of what must be NaN from then on.
        remove: Takes the hardware away; None where the user names a thing that must be there.
        deny: Closes it to this user, or takes away what it needs.
        is_direct: Whether a reading is made between the beginning and the end of the call.
        wait_s: How long a reading may be on its way.
    """

    names: list[str]
    powers_w: dict[str, float]
    world: dict[str, str] = dataclasses.field(default_factory=dict)
    refresh_ns: int = 0
    turn: Callable[[], None] = lambda: None
    fail: Callable[[], set[str]] | None = None
    remove: Callable[[], None] | None = None
    deny: Callable[[], None] | None = None
    is_direct: bool = True
    wait_s: float = 0.0

    def open(self) -> tuple[list[Sensor], list[Refusal]]:
        found = sensors.discover(self.names, **self.world)
        return found.sensors, found.refusals


@dataclasses.dataclass
class Room:
    """What a test lends to a case."""

    folder: Path
    patch: pytest.MonkeyPatch
    nvml: Callable[[], FakeNvml]
    powercap: Callable[[], PowercapTree]
    denied: set[str]

    def tree(self) -> SysTree:
        folder = self.folder / "machine"
        folder.mkdir()
        return SysTree(folder)

    def module(self, name: str, module: Any) -> None:
        self.patch.setitem(sys.modules, name, module)

    def without(self, name: str) -> None:
        """Let a package be not installed."""
        self.patch.setitem(sys.modules, name, None)


def world_of(tree: SysTree) -> dict[str, str]:
    return {"sys_root": str(tree.sys), "dev": str(tree.dev)}


def nvml(room: Room) -> Case:
    fake = room.nvml()
    # A copy of its own: the library keeps its state, and dlopen gives one path's library once.
    library = shutil.copy(fake.folder / "libnvidia-ml.so.1", room.folder / "nvml-of-this-test.so")
    room.patch.setattr(pynvml, "CDLL", lambda _: ctypes.CDLL(str(library)))
    room.patch.setattr(pynvml, "nvmlLib", None)
    room.patch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def knobs(**changes: object) -> None:
        for name, value in fake.environment(**(settings | changes)).items():
            room.patch.setenv(name, value)

    def lose() -> set[str]:
        knobs(fail="1", fail_from_s=0)
        pynvml.nvmlInit()  # which is when the simulation reads its knobs
        return {"gpu1"}

    def not_found(_: str) -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    settings: dict[str, object] = {"gpus": 2, "low_w": 150, "step_w": 100, "refresh_ms": 20}
    knobs()
    return Case(
        ["nvml"],
        {"gpu0": 150.0, "gpu1": 250.0},
        refresh_ns=20 * MS,
        fail=lose,
        remove=lambda: room.patch.setattr(pynvml, "CDLL", not_found),
        deny=lambda: knobs(init_error=4),
        wait_s=5.0,
    )


def rapl(room: Room) -> Case:
    tree = room.powercap()
    tree.server(2)
    zones = {"cpu-package-0": "intel-rapl:0", "cpu-package-1": "intel-rapl:1"}
    zones |= {"dram-0": "intel-rapl:0:1", "dram-1": "intel-rapl:1:1"}
    powers_w = dict(zip(zones, (60.0, 90.0, 10.0, 15.0), strict=True))
    start_ns = time.monotonic_ns()
    broken: set[str] = set()

    def turn() -> None:
        seconds = (time.monotonic_ns() - start_ns) / 1e9
        for device in zones.keys() - broken:
            tree.turn(zones[device], int(1e6 * (5 + powers_w[device] * seconds)))

    def break_() -> set[str]:
        broken.add("dram-1")
        tree.break_(zones["dram-1"])
        return {"dram-1"}

    def deny() -> None:
        for folder in tree.root.iterdir():
            tree.deny(folder.name)

    root = tree.root.parent.parent
    return Case(
        ["rapl"],
        powers_w,
        {"sys_root": str(root)},
        turn=turn,
        fail=break_,
        remove=lambda: shutil.rmtree(tree.root),
        deny=deny,
    )


def model(room: Room) -> Case:
    known = PowerModels(
        "3.3.2",
        "Some CPU",
        cpu_known=True,
        sockets=1,
        tdp_w=80.0,
        ram_w=38.0,
        formula=tuple([80.0] * 101),
    )
    proc = room.folder / "proc"
    proc.mkdir()
    busy = [0]

    def turn() -> None:
        busy[0] += 10
        (proc / "stat").write_text(f"cpu {busy[0]} 0 0 {1000 + busy[0]} 0 0 0 0 0 0\n")

    def break_() -> set[str]:
        (proc / "stat").write_text("no numbers\n")
        case.turn = lambda: None
        return {"cpu-package-0", "dram-0"}

    turn()
    room.patch.setattr(codecarbon, "_power", lambda *_: known)
    case = Case(
        ["codecarbon"],
        {"cpu-package-0": 80.0, "dram-0": 38.0},
        {"sys_root": str(room.folder / "nowhere"), "proc": str(proc)},
        turn=turn,
        fail=break_,
        deny=lambda: without_codecarbon(room),
        is_direct=False,
        wait_s=2.0,
    )
    return case


def without_codecarbon(room: Room) -> None:
    room.patch.undo()
    room.patch.setattr(importlib.util, "find_spec", lambda _: None)


def replay(room: Room) -> Case:
    counters = []
    for gpu, power_w in enumerate((120.0, 220.0)):
        times_ns = [7_000_000_000 + at * 20 * MS for at in range(500)]
        rows = [
            (t_ns, t_ns, 100 + at * 0.02 * power_w, CHANGE if at else FIRST)
            for at, t_ns in enumerate(times_ns)
        ]
        channel = a_channel(device=f"gpu{gpu}", device_key=f"GPU-{gpu}", refresh_ns=20 * MS)
        counters.append(readings_of(channel, rows))
    record = Record(Path("run"), {"run_id": "r"}, (attempt_of(counters, marks_of([])),))
    here = [True]
    real = greenai.record.reader.open_record

    def open_record(*arguments: Any, **named: Any) -> Record:
        return record if here[0] else real(*arguments, **named)

    room.patch.setattr(greenai.record.reader, "open_record", open_record)
    return Case(
        ["replay:runs/nowhere"],
        {"gpu0": 120.0, "gpu1": 220.0},
        refresh_ns=40 * MS,
        deny=lambda: here.__setitem__(0, False),
        is_direct=False,
        wait_s=2.0,
    )


def amd(room: Room) -> Case:
    tree = room.tree()
    tree.driver("class/kfd/kfd")
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        room.patch.delenv(name, raising=False)
    dies = [
        FakeDie(310.0, "0000:c1:00.0", hip_id=0, serial="0xaaaa"),
        FakeDie(450.0, "0000:d1:00.0", hip_id=1, serial="0xbbbb"),
    ]

    def lose() -> set[str]:
        dies[1].lost = True
        return {"amd-gpu1"}

    room.module("amdsmi", fake_amdsmi(dies))
    return Case(
        ["amd"],
        {"amd-gpu0": 310.0, "amd-gpu1": 450.0},
        world_of(tree),
        refresh_ns=2 * MS,
        fail=lose,
        remove=lambda: shutil.rmtree(tree.sys),
        deny=lambda: room.without("amdsmi"),
        is_direct=False,  # the first reading is of the half second in which it was watched
    )


def intel(room: Room) -> Case:
    tree = room.tree()
    powers_w = {"intel-gpu0": 110.0, "intel-gpu1": 190.0}
    folders = [
        tree.intel_gpu(0, power1_max=300_000_000, energy1_input=0),
        tree.intel_gpu(1, "xe", power1_rated_max=400_000_000, energy1_input=0),
    ]
    start_ns = time.monotonic_ns()

    def turn() -> None:
        seconds = (time.monotonic_ns() - start_ns) / 1e9
        for folder, power_w in zip(folders, powers_w.values(), strict=True):
            if (folder / "energy1_input").exists():
                (folder / "energy1_input").write_text(f"{int(1e6 * (9 + power_w * seconds))}\n")

    def lose() -> set[str]:
        (folders[1] / "energy1_input").unlink()
        return {"intel-gpu1"}

    turn()
    return Case(
        ["intel"],
        powers_w,
        world_of(tree),
        turn=turn,
        fail=lose,
        remove=lambda: shutil.rmtree(tree.sys),
        deny=lambda: room.denied.update(str(path) for path in linked(tree, "energy1_input")),
    )


def linked(tree: SysTree, name: str) -> list[Path]:
    """Files of the cards as they are reached through their links."""
    cards = (tree.sys / "class" / "drm").glob("card?")
    return [file for card in cards for file in (card / "device" / "hwmon").glob(f"*/{name}")]


def chip(room: Room) -> Case:
    powers_w = {"cpu_total_mj": 12.0, "gpu_mj": 25.0, "dram_mj": 3.0, "ane_mj": 1.5}
    fake = FakeChip({**powers_w, "gpu_sram_mj": 0.5, "efficiency_cluster_mj": 2.0})
    room.module("zeus_apple_silicon", fake_zeus(fake))
    here = [True]
    room.patch.setattr(apple, "is_here", lambda: here[0])

    def lose() -> set[str]:
        del fake.powers_w["dram_mj"]
        return {"apple-dram"}

    return Case(
        ["apple"],
        {"apple-cpu": 12.0, "apple-gpu": 25.0, "apple-dram": 3.0, "apple-ane": 1.5},
        fail=lose,
        remove=lambda: here.__setitem__(0, False),
        deny=lambda: room.without("zeus_apple_silicon"),
    )


def habana(room: Room) -> Case:
    tree = room.tree()
    tree.driver("module/habanalabs")
    room.patch.delenv("HABANA_VISIBLE_MODULES", raising=False)
    cards = [FakeGaudi(410.0, 0), FakeGaudi(520.0, 1)]

    def lose() -> set[str]:
        cards[1].lost = True
        return {"habana1"}

    room.module("pyhlml", fake_hlml(cards))
    return Case(
        ["habana"],
        {"habana0": 410.0, "habana1": 520.0},
        world_of(tree),
        fail=lose,
        remove=lambda: shutil.rmtree(tree.sys),
        deny=lambda: room.without("pyhlml"),
    )


def jetson(room: Room) -> Case:
    tree = room.tree()
    folder = tree.ina3221("1-0040", ["VDD_IN", "VDD_CPU_GPU_CV", "NC"])
    for rail, milliamperes in ((1, 3000), (2, 1000), (3, 500)):
        (folder / f"curr{rail}_input").write_text(f"{milliamperes}\n")

    def lose() -> set[str]:
        (folder / "curr1_input").write_text("\n")
        return {"jetson"}

    return Case(
        ["jetson"],
        {"jetson": 15.0},
        world_of(tree),
        fail=lose,
        remove=lambda: shutil.rmtree(tree.sys),
        deny=lambda: room.denied.add(str(folder / "in1_input")),
    )


def assumed(_: Room) -> Case:
    names = ["assumed:tpu=200", "assumed:gpu:card=75.5"]
    return Case(names, {"assumed-tpu": 200.0, "assumed-card": 75.5})


def acpi(room: Room) -> Case:
    tree = room.tree()
    first, second = tree.acpi_meter(700_000_000), tree.acpi_meter(300_000_000)
    tree.acpi_meter(9_000_000, battery=True)

    def lose() -> set[str]:
        (second / "power1_average").write_text("0\n")
        return {"node-acpi-1"}

    def deny() -> None:
        room.denied.update(str(one / "power1_average") for one in (first, second))

    return Case(
        ["acpi"],
        {"node-acpi": 700.0, "node-acpi-1": 300.0},
        world_of(tree),
        fail=lose,
        remove=lambda: shutil.rmtree(tree.sys),
        deny=deny,
    )


def ipmi(room: Room) -> Case:
    tree = room.tree()
    (tree.dev / "ipmi0").touch()
    programs = room.folder / "bin"
    commands.program(programs, "ipmitool", commands.ipmi_code(640), room.patch)
    room.patch.setattr(asked, "IPMI_EVERY_NS", 100 * MS)

    def lose() -> set[str]:
        commands.program(programs, "ipmitool", commands.ipmi_code(0), room.patch)
        return {"node-ipmi"}

    return Case(
        ["ipmi"],
        {"node-ipmi": 640.0},
        world_of(tree),
        fail=lose,
        remove=(tree.dev / "ipmi0").unlink,
        deny=lambda: room.patch.setattr(os, "access", lambda *_: False),
        is_direct=False,
        wait_s=20.0,
    )


def slurm(room: Room) -> Case:
    programs = room.folder / "bin"
    code = commands.sacct_code(5000.0, time.monotonic_ns())
    commands.program(programs, "sacct", code, room.patch)
    room.patch.setenv("SLURM_JOB_ID", "42")
    room.patch.setattr(asked, "SLURM_EVERY_NS", 100 * MS)

    def lose() -> set[str]:
        commands.program(programs, "sacct", "print(0)", room.patch)
        return {"node-slurm"}

    return Case(
        ["slurm"],
        {"node-slurm": 5000.0},
        fail=lose,
        remove=lambda: room.patch.delenv("SLURM_JOB_ID"),
        deny=(programs / "sacct").unlink,
        is_direct=False,
        wait_s=20.0,
    )


def pdu(room: Room) -> Case:
    path = room.folder / "rack7.csv"
    path.write_text("utc,outlet,watts\n2026-11-25T10:00:00Z,3,111\n")

    def append(watts: str) -> None:
        with path.open("a") as file:
            file.write(f"{datetime.now(UTC).isoformat()},3,{watts}\n")

    def lose() -> set[str]:
        case.turn = lambda: append("0")
        return {"pdu-rack7"}

    case = Case(
        [f"pdu:{path}"],
        {"pdu-rack7": 812.5},
        turn=lambda: append("812.5"),
        fail=lose,
        deny=path.unlink,
        is_direct=False,
    )
    return case


CASES: dict[str, Callable[[Room], Case]] = {
    "nvml": nvml,
    "rapl": rapl,
    "codecarbon": model,
    "replay": replay,
    "amd": amd,
    "intel": intel,
    "apple": chip,
    "habana": habana,
    "jetson": jetson,
    "assumed": assumed,
    "acpi": acpi,
    "ipmi": ipmi,
    "slurm": slurm,
    "pdu": pdu,
}
