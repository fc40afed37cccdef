"""CPU and RAM power by the models of the package codecarbon, where the machine has no counter.

CodeCarbon takes for a CPU its thermal design power times a function of the load (a tenth of it at
rest, rising with the cube), and for RAM 5 W a memory module, whose number it guesses from the
size. Both are models: what a machine really draws may well be half or twice that. The package
loads pandas and starts several processes, so a child of its own asks it once and hands over
numbers: the watts at 101 loads, between which we interpolate.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors import models
from greenai.sensors.base import Channel, Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.load import Load, LoadMeter
from greenai.sensors.perf_events import perf_event_open
from greenai.sensors.rapl import readable_kinds
from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from greenai.sensors.base import Kind
    from greenai.sensors.models import Machine, PowerModels
    from greenai.sensors.perf_events import Syscall

PERIOD_NS = 100 * NS_PER_MS
CHILD_S = 20.0
INSTALL = 'pip install "greenai[codecarbon]"'
ASK = (
    "import json, sys; sys.path.extend(p for p in json.loads(sys.argv[1]) if p not in sys.path); "
    "from greenai.sensors.codecarbon import answer; answer()"
)
LOADS = 100
"""The child gives the watts at 0, 1/100 … 100/100 of the load."""


class CodeCarbonSensor:
    """Power of CPU and RAM by CodeCarbon's models.

    Args:
        power: The models' numbers.
        meter: Load of the machine, measured since the sensor began to open.
        backlog: Loads that were measured while the models were asked.
        kinds: What to model: ``cpu``, ``dram``.
        machine: What is known of the machine.
        host: Identity of the host.
    """

    name = "codecarbon"
    period_ns = PERIOD_NS

    def __init__(
        self,
        power: PowerModels,
        meter: LoadMeter,
        backlog: list[Load],
        kinds: list[Kind],
        machine: Machine,
        host: str,
    ) -> None:
        self.channels = tuple(_channel(kind, power, machine, host) for kind in kinds)
        self._power = power
        self._meter = meter
        self._backlog = backlog

    def read(self) -> list[Reading]:
        """Watts since the last call; at first all since the sensor began to open.

        A reading's two times are the span whose mean it is, each beginning where the one
        before ended.
        """
        loads, self._backlog = self._backlog, []
        try:
            load = self._meter.read()
        except OSError as error:
            t_ns = monotonic_ns()
            failed = f"the load cannot be read: {error}"
            return self._readings(loads) + [
                Reading(position, t_ns, t_ns, math.nan, failed)
                for position in range(len(self.channels))
            ]
        return self._readings(loads if load is None else [*loads, load])

    def close(self) -> None:
        """Close the load; a second call does nothing."""
        self._meter.close()

    def _readings(self, loads: list[Load]) -> list[Reading]:
        return [
            Reading(position, load.t0_ns, load.t1_ns, self._watts(channel, load))
            for load in loads
            for position, channel in enumerate(self.channels)
        ]

    def _watts(self, channel: Channel, load: Load) -> float:
        return self._power.ram_w if channel.kind == "dram" else self._power.cpu_w(load.ratio)


def open_codecarbon(
    sys_root: str = "/sys",
    proc: str = "/proc",
    *,
    counters_wanted: bool = True,
    syscall: Syscall = perf_event_open,
    covered: frozenset[Kind] = frozenset(),
) -> tuple[list[Sensor], list[Refusal]]:
    """Open models for CPU and RAM where no counter is readable; never a model beside a counter.

    Args:
        sys_root: Root of the sys file system, to see what has a counter.
        proc: Root of the proc file system.
        counters_wanted: Whether the counters are used too; if not, leaving them to no one is said.
        covered: Kinds that another sensor of this machine contains.
        syscall: Opens a perf event, for counters whose files are closed.

    Returns:
        One sensor, or none; and what is refused.
    """
    counted = readable_kinds(sys_root, proc, syscall)
    kinds: list[Kind] = [kind for kind in ("cpu", "dram") if kind not in counted | covered]
    if not kinds and covered:
        return [], []
    if not kinds:
        reason = "RAPL counters are readable here: a model is not used in their place."
        refusals = [Refusal("codecarbon", reason, 'add "rapl" to the sensors')]
        return [], ([] if counters_wanted else refusals)
    try:
        meter = LoadMeter(proc)
    except OSError as error:
        return [], [Refusal("codecarbon", f"The load of the CPUs cannot be read: {error}.")]
    backlog: list[Load] = []
    machine = models.machine(proc)
    power = _power(machine, meter, backlog)
    if isinstance(power, Refusal):
        meter.close()
        return [], [power]
    return [CodeCarbonSensor(power, meter, backlog, kinds, machine, host_id(proc))], []


def _power(machine: Machine, meter: LoadMeter, backlog: list[Load]) -> PowerModels | Refusal:
    """Numbers of the models: from the cache, else from a child that asks the package."""
    if importlib.util.find_spec("codecarbon") is None:
        reason = (
            "The package codecarbon is not installed: CPU and RAM have no counter and no model."
        )
        return Refusal("codecarbon", reason, INSTALL)
    version = _version()
    if not models.supported(version):
        reason = f"codecarbon {version or '?'} is installed; its models are known from 3.2 to 4."
        return Refusal("codecarbon", reason, INSTALL)
    known = models.recall(machine, version)
    if known is not None:
        return known
    try:
        said, reason = _ask(meter, backlog)
    except OSError as error:
        said, reason = "", f"no process can be started to ask them: {error}"
    power = models.parsed(said)
    if power is None:
        return Refusal("codecarbon", f"CodeCarbon's models gave no watts: {reason or said[:80]}.")
    models.remember(machine, power)
    return power


def _ask(meter: LoadMeter, backlog: list[Load]) -> tuple[str, str]:
    """Run the child and measure the load meanwhile: no hole at the start of the record.

    Returns:
        The last line that it wrote, and why that is not to be used; one of them is empty.
    """
    path = json.dumps([entry for entry in sys.path if entry and Path(entry).is_absolute()])
    # In a job of SLURM the package would model the job's share; the load is the machine's.
    variables = {k: v for k, v in os.environ.items() if k not in {"SLURM_JOB_ID", "SLURM_JOBID"}}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as problems:
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", ASK, path],
            env=variables,
            start_new_session=True,
            stderr=problems,
            stdin=subprocess.DEVNULL,
            stdout=out,
        )
        give_up_ns = monotonic_ns() + int(CHILD_S * NS_PER_S)
        while child.poll() is None and monotonic_ns() < give_up_ns:
            time.sleep(PERIOD_NS / NS_PER_S)
            with contextlib.suppress(OSError):  # said by the first read, if it lasts
                load = meter.read()
                backlog += [] if load is None else [load]
        if child.poll() is None:
            child.kill()
            child.wait()
            return "", f"no answer within {CHILD_S:g} s"
        said, complaint = _last_line(out), _last_line(problems)
    return (said, "") if child.returncode == 0 else ("", complaint or f"exit {child.returncode}")


def _version() -> str:
    """Version of the installed package; empty where it tells none."""
    from importlib import metadata  # noqa: PLC0415 - 20 ms, of no use where a counter is readable

    try:
        return metadata.version("codecarbon")
    except metadata.PackageNotFoundError:
        return ""


def _last_line(file: Any) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return str(lines[-1]) if lines else ""


def answer() -> None:
    """In the child: ask the package and print its numbers as one line of JSON."""
    sys.stdout.write(json.dumps(asked()) + "\n")


def asked() -> dict[str, Any]:
    """Ask CodeCarbon's hardware classes for the numbers of this machine; takes about 2 s.

    A known CPU counts once a socket, as CodeCarbon does it; the guess for an unknown one is 4 W
    a thread of the whole machine, which CodeCarbon multiplies by the sockets once more: we do not.
    """
    from codecarbon.core.cpu import TDP  # noqa: PLC0415 - in the child only
    from codecarbon.core.util import count_physical_cpus  # noqa: PLC0415 - as above
    from codecarbon.external.hardware import CPU, MODE_CPU_LOAD  # noqa: PLC0415 - as above
    from codecarbon.external.ram import RAM  # noqa: PLC0415 - as above

    found = TDP()
    known = found._get_cpu_power_from_registry(found.model) is not None  # noqa: SLF001 - contract-tested
    sockets = max(1, int(count_physical_cpus())) if known else 1
    tdp_w = None if found.tdp is None else found.tdp * sockets
    cpu = CPU.from_utils("", MODE_CPU_LOAD, found.model, tdp_w)
    return {
        "version": _version(),
        "cpu_model": found.model,
        "cpu_known": known,
        "sockets": sockets,
        "tdp_w": float(cpu._tdp),  # noqa: SLF001 - contract-tested
        "ram_w": float(RAM().total_power().W),
        "formula": [watts_at(cpu, step / LOADS) for step in range(LOADS + 1)],
    }


def watts_at(cpu: Any, ratio: float) -> float:
    """What CodeCarbon's own function makes of a load; it reads the load itself, so we stand in.

    Version 3.2 asks psutil, 3.3 a meter of its own.
    """
    from codecarbon.external import hardware  # noqa: PLC0415 - in the child only

    percent = 100.0 * ratio
    psutil = hardware.psutil
    real = psutil.cpu_percent
    psutil.cpu_percent = lambda *_, **__: percent
    if hasattr(cpu, "_cpu_load_meter"):
        cpu._cpu_load_meter.percent = lambda *_, **__: percent  # noqa: SLF001 - contract-tested
    try:
        return float(cpu._get_power_from_cpu_load().W)  # noqa: SLF001 - contract-tested
    finally:
        psutil.cpu_percent = real


def _channel(kind: Kind, power: PowerModels, machine: Machine, host: str) -> Channel:
    guest = "; a virtual machine may own less of it" if machine.virtual else ""
    if kind == "dram":
        return Channel(
            quantity="power_w",
            kind="dram",
            device="dram-0",
            device_key=f"{host}/package-0",
            method="ram_model",
            trust="modelled",
            primary=True,
            refresh_ns=PERIOD_NS,
            power_max_w=power.ram_w,
            scope="constant: some watts a memory module, their number guessed from the size",
        )
    many = f"{power.sockets} x " if power.sockets > 1 else ""
    known = f"design power of {many}{power.cpu_model} times a function of the load"
    unknown = "4 W a thread times a function of the load: the CPU is in no table"
    return Channel(
        quantity="power_w",
        kind="cpu",
        device="cpu-package-0",
        device_key=f"{host}/package-0",
        method="cpu_load_model",
        trust="modelled" if power.cpu_known else "assumed",
        primary=True,
        refresh_ns=PERIOD_NS,
        power_max_w=power.tdp_w,
        model=power.cpu_model,
        scope=(known if power.cpu_known else unknown) + guest,
    )
