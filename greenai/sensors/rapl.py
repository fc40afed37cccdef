"""Package and DRAM energy of CPUs from the kernel's powercap files (Intel and AMD RAPL).

A package's counter contains its cores and its uncore part; DRAM stands beside it; ``psys`` is the
whole platform and contains both, so it is recorded and not summed. The registers are refreshed
about every millisecond (kernel: hwmon/amd_energy) and wrap every 1 to 10 minutes under load.
``energy_uj`` is readable by root alone since kernel 5.10 (CVE-2020-8694).
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors.base import Channel, Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.units import NS_PER_MS, UJ_PER_J

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.sensors.base import Kind

ROOT = "/sys/class/powercap"
REFRESH_NS = NS_PER_MS
PERIOD_NS = 100 * NS_PER_MS
REMEDY = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
NUMBER_BYTES = 32

ZONE = re.compile(r"(intel-rapl(?:-mmio)?):(\d+)(?::(\d+))?")
PACKAGE = re.compile(r"package-\d+(?:-die-\d+)?")


class Zone(NamedTuple):
    """One counter of the powercap tree that we may use.

    Attributes:
        folder: Where its files are.
        kind: ``cpu`` for a package, ``dram``, ``other`` for psys.
        package: Name of the package it belongs to; ``psys`` for the platform.
    """

    folder: Path
    kind: Kind
    package: str


class RaplSensor:
    """Open RAPL counters.

    Args:
        zones: Zones with a descriptor of their ``energy_uj`` each.
        host: Identity of the host.
    """

    name = "rapl"
    period_ns = PERIOD_NS

    def __init__(self, zones: list[tuple[Zone, int]], host: str) -> None:
        self.channels = tuple(_channel(zone, host) for zone, _ in zones)
        self._descriptors = [descriptor for _, descriptor in zones]

    def read(self) -> list[Reading]:
        """Read every counter; NaN with a reason where one cannot be read."""
        readings = []
        for position, descriptor in enumerate(self._descriptors):
            t0_ns = monotonic_ns()
            value, reason = _energy_j(descriptor)
            readings.append(Reading(position, t0_ns, monotonic_ns(), value, reason))
        return readings

    def close(self) -> None:
        """Close the counters; a second call does nothing."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def open_rapl(root: str = ROOT, proc: str = "/proc") -> tuple[list[Sensor], list[Refusal]]:
    """Open every package, DRAM and platform counter that may be read.

    Args:
        root: Folder of the powercap zones.
        proc: Root of the proc file system, for the host's identity.

    Returns:
        One sensor with all counters, or none; and what is refused, in one sentence.
    """
    opened, failures = _open_all(root)
    refusals = [_refused(failures)] if failures else []
    if not opened and not failures:
        refusals = [Refusal("rapl", f"This machine has no RAPL counter: no package in {root}.")]
    sensors: list[Sensor] = [RaplSensor(opened, host_id(proc))] if opened else []
    return sensors, refusals


def readable_kinds(root: str = ROOT) -> set[Kind]:
    """Kinds of energy for which at least one counter can be read right now.

    Example:
        >>> readable_kinds("/nonexistent")
        set()
    """
    opened, _ = _open_all(root)
    kinds = {zone.kind for zone, descriptor in opened if not _energy_j(descriptor)[1]}
    for _, descriptor in opened:
        os.close(descriptor)
    return kinds


def _open_all(root: str) -> tuple[list[tuple[Zone, int]], list[tuple[Path, str]]]:
    """Open one zone of each package and kind; say which ones cannot be opened, and why.

    Newer kernels show a package a second time through its MMIO registers; the zones are the
    same counter, so the first that opens is taken.
    """
    opened: dict[tuple[Kind, str], tuple[Zone, int]] = {}
    failures: dict[tuple[Kind, str], tuple[Path, str]] = {}
    for zone in _zones(root):
        identity = (zone.kind, zone.package)
        if identity in opened:
            continue
        path = zone.folder / "energy_uj"
        try:
            opened[identity] = (zone, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            failures.pop(identity, None)
        except OSError as error:
            failures.setdefault(identity, (path, error.strerror or str(error)))
    return list(opened.values()), list(failures.values())


def _zones(root: str) -> Iterator[Zone]:
    """Zones that are summed or recorded, MSR before MMIO; cores and uncore are left out."""
    found = []
    with contextlib.suppress(OSError):
        for folder in Path(root).iterdir():
            parts = ZONE.fullmatch(folder.name)
            if parts:
                control, top, below = parts.groups()
                found.append((control, int(top), -1 if below is None else int(below), folder))
    for control, top, below, folder in sorted(found):
        name = _text(folder / "name")
        if below < 0 and PACKAGE.fullmatch(name):
            yield Zone(folder, "cpu", name)
        elif below < 0 and name == "psys":
            yield Zone(folder, "other", name)
        elif below >= 0 and name == "dram":
            package = _text(folder.parent / f"{control}:{top}" / "name")
            if PACKAGE.fullmatch(package):
                yield Zone(folder, "dram", package)


def _channel(zone: Zone, host: str) -> Channel:
    package = zone.package
    device = {
        "cpu": f"cpu-{package}",
        "dram": package.replace("package", "dram", 1),
        "other": package,
    }[zone.kind]
    range_uj = _number(zone.folder / "max_energy_range_uj")
    known = math.isfinite(range_uj) and range_uj > 0
    return Channel(
        quantity="energy_j",
        kind=zone.kind,
        device=device,
        device_key=f"{host}/{package}",
        method="rapl",
        trust="measured",
        primary=zone.kind != "other",
        refresh_ns=REFRESH_NS,
        wrap_j=range_uj / UJ_PER_J if known else None,
        power_max_w=_power_max_w(zone.folder),
        scope="" if known else "range unknown: a drop is a reset",
    )


def _power_max_w(folder: Path) -> float:
    """Highest of the limits that the zone names, its short-term ones too; NaN where it has none."""
    limits_uw = [
        _number(path)
        for name in ("max_power", "power_limit")
        for path in folder.glob(f"constraint_*_{name}_uw")
    ]
    known = [limit for limit in limits_uw if math.isfinite(limit) and limit > 0]
    return max(known) / UJ_PER_J if known else math.nan


def _energy_j(descriptor: int) -> tuple[float, str]:
    """Read a counter from its start; (NaN, reason) where that fails."""
    try:
        raw = os.pread(descriptor, NUMBER_BYTES, 0)
    except OSError as error:
        return math.nan, f"the counter cannot be read: {error.strerror or error}"
    text = raw.strip()
    if not text.isdigit():
        return math.nan, f"the counter reads {raw[:NUMBER_BYTES]!r}, which is no number"
    return int(text) / UJ_PER_J, ""


def _refused(failures: list[tuple[Path, str]]) -> Refusal:
    path, why = failures[0]
    others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    return Refusal("rapl", f"RAPL counter is not readable: {path} ({why}){others}.", REMEDY)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> float:
    text = _text(path)
    return float(text) if text.isdigit() else math.nan
