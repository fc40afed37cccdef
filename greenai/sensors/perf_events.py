"""RAPL counters through the kernel's perf events, where the powercap files are closed.

The PMU ``power`` counts in 64 bits and from zero at each opening; the kernel adds the register's
32 bits up before they wrap, so these counters never do. One CPU of each package (or die) counts
for all of it; ``cpumask`` names them. Opening one needs CAP_PERFMON, or a perf_event_paranoid of
at most 0 (``perf_allow_cpu`` in the kernel's perf_event.h); some distributions ask for less still,
and the default filter of container runtimes refuses the call altogether.
"""

from __future__ import annotations

import errno
import math
import os
import platform
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors.rapl_zones import Domain, counted_package, text_of

if TYPE_CHECKING:
    from greenai.sensors.rapl_zones import Part

Syscall = Callable[[int, int, int], int]
"""Opens a counter of (PMU type, config) on one CPU; gives a descriptor or raises OSError."""

PMU = "bus/event_source/devices/power"
EVENTS: dict[str, Part] = {
    "energy-pkg": "package",
    "energy-ram": "dram",
    "energy-cores": "core",
    "energy-gpu": "uncore",
    "energy-psys": "psys",
}
NUMBERS = {"x86_64": 298, "aarch64": 241}
"""Number of the system call perf_event_open, by machine."""
ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
"""perf_event_attr in its first version, 64 bytes: type, size, config, and zeros."""
CLOSE_ON_EXEC = 8
EVERY_PROCESS = -1
COUNT_BYTES = 8
CONFIG = re.compile(r"event=(0x[0-9a-f]+|\d+)", re.ASCII | re.IGNORECASE)


class PerfEvent(NamedTuple):
    """One counter of the PMU.

    Attributes:
        domain: What it counts.
        pmu_type: Number of the PMU.
        config: Number of the event.
        cpu: The CPU that counts for its package.
        unit_j: Joules of one count.
    """

    domain: Domain
    pmu_type: int
    config: int
    cpu: int
    unit_j: float


def perf_events(sys_root: str, vendor: str = "") -> list[PerfEvent]:
    """All counters of the PMU; none where the kernel has no such PMU.

    Args:
        sys_root: Root of the sys file system.
        vendor: Maker of the CPU, as ``rapl_zones.vendor_of`` gives it.

    Example:
        >>> perf_events("/nonexistent")
        []
    """
    pmu = Path(sys_root, PMU)
    pmu_type = text_of(pmu / "type")
    if not pmu_type.isdigit():
        return []
    packages = _packages(sys_root, cpus_of(text_of(pmu / "cpumask")), vendor)
    found: dict[Domain, PerfEvent] = {}
    for name, part in EVENTS.items():
        config = CONFIG.fullmatch(text_of(pmu / "events" / name))
        unit_j = _scale(text_of(pmu / "events" / f"{name}.scale"))
        in_joules = text_of(pmu / "events" / f"{name}.unit") == "Joules"
        if config is None or not in_joules or not unit_j > 0:
            continue
        for cpu, package in packages.items():
            domain = Domain(part, "psys" if part == "psys" else package)
            event = PerfEvent(domain, int(pmu_type), int(config.group(1), 0), cpu, unit_j)
            found.setdefault(domain, event)
    return list(found.values())


def perf_event_open(pmu_type: int, config: int, cpu: int) -> int:
    """Count an event of all processes on one CPU.

    Returns:
        A descriptor; each read of 8 bytes gives the count.

    Raises:
        OSError: The kernel refuses, or has no such call.
    """
    number = NUMBERS.get(platform.machine())
    if number is None or not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    import ctypes  # noqa: PLC0415 - only where the powercap files are closed

    attributes = ATTRIBUTES.pack(pmu_type, ATTRIBUTES.size, config, 0, 0, 0, 0, 0, 0, 0)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    descriptor = call(
        ctypes.c_long(number),
        ctypes.c_char_p(attributes),
        ctypes.c_long(EVERY_PROCESS),
        ctypes.c_long(cpu),
        ctypes.c_long(-1),
        ctypes.c_ulong(CLOSE_ON_EXEC),
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(descriptor)


def count_of(descriptor: int) -> tuple[int, str]:
    """Read a counter; (0, reason) where that fails: the kernel gives nothing for a dead event."""
    try:
        raw = os.read(descriptor, COUNT_BYTES)
    except OSError as error:
        return 0, f"the counter cannot be read: {error.strerror or error}"
    if len(raw) != COUNT_BYTES:
        return 0, f"the kernel gave {len(raw)} bytes of a counter's {COUNT_BYTES}"
    return int.from_bytes(raw, sys.byteorder), ""


def rights(proc: str = "/proc") -> str:
    """What the kernel asks of whoever opens such a counter, and how it is set now."""
    level = text_of(Path(proc, "sys/kernel/perf_event_paranoid")) or "unknown"
    return f"it takes CAP_PERFMON, or perf_event_paranoid at most 0; it is {level}"


def cpus_of(mask: str) -> list[int]:
    """Numbers of a list of CPUs, which may hold ranges.

    Example:
        >>> cpus_of("0,24-25")
        [0, 24, 25]
        >>> cpus_of("")
        []
    """
    found: list[int] = []
    for entry in mask.split(","):
        first, _, last = entry.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found += range(int(first), int(last or first) + 1)
    return found


def _packages(sys_root: str, cpus: list[int], vendor: str) -> dict[int, str]:
    """Package, or die of it, that each counting CPU stands for, named as powercap names it."""
    places: dict[int, tuple[str, str]] = {}
    for cpu in cpus:
        topology = Path(sys_root, f"devices/system/cpu/cpu{cpu}/topology")
        package = text_of(topology / "physical_package_id")
        if package.isdigit():
            places[cpu] = (package, text_of(topology / "die_id"))
    cpus_of_package = Counter(package for package, _ in places.values())
    return {
        cpu: counted_package(
            f"package-{package}-die-{die}"
            if cpus_of_package[package] > 1 and die.isdigit()
            else f"package-{package}",
            vendor,
        )
        for cpu, (package, die) in places.items()
    }


def _scale(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
