"""Which RAPL counters a machine has in its powercap tree, and which of them are the same one.

A package contains its cores and its uncore part; DRAM stands beside it; ``psys`` is the whole
platform. Newer kernels show a package twice, through its model-specific registers and through
its memory-mapped ones. Intel's packages of several dies count each die by itself; on AMD and
Hygon every die shows the counter of the whole package (arch/x86/events/rapl.c: "AMD/HYGON
platforms have a per-PKG package energy counter"; a Threadripper 1950X at 68 W showed 68 W twice).
"""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenai.units import UJ_PER_J

if TYPE_CHECKING:
    from collections.abc import Iterator

Part = Literal["package", "dram", "core", "uncore", "psys"]

ZONE = re.compile(r"(intel-rapl(?:-mmio)?):(\d+)(?::(\d+))?")
PACKAGE = re.compile(r"(package-\d+)(-die-\d+)?")
PER_PACKAGE_VENDORS = {"AuthenticAMD", "HygonGenuine"}
CPUINFO_BYTES = 4096
"""The vendor stands in the second line."""


class Domain(NamedTuple):
    """What one counter counts; equal domains are one counter, however often it is shown.

    Attributes:
        part: Of the package, or ``psys`` for the whole platform.
        package: ``package-0``, ``package-0-die-1``; ``psys`` for the platform.
    """

    part: Part
    package: str


class Zone(NamedTuple):
    """One folder of the powercap tree.

    Attributes:
        folder: Where its files are.
        domain: What it counts.
    """

    folder: Path
    domain: Domain

    @property
    def counter(self) -> Path:
        """File of the counter, in microjoules."""
        return self.folder / "energy_uj"

    def range_j(self) -> float | None:
        """What the counter adds when it wraps; None where the kernel does not say."""
        range_uj = _number(self.folder / "max_energy_range_uj")
        return range_uj / UJ_PER_J if math.isfinite(range_uj) and range_uj > 0 else None

    def power_max_w(self) -> float:
        """Highest of the limits that are named, short-term ones too; NaN where none is."""
        limits_uw = [
            _number(path)
            for name in ("max_power", "power_limit")
            for path in self.folder.glob(f"constraint_*_{name}_uw")
        ]
        known = [limit for limit in limits_uw if math.isfinite(limit) and limit > 0]
        return max(known) / UJ_PER_J if known else math.nan


def zones(root: str, vendor: str = "") -> Iterator[Zone]:
    """All counters of the tree, MSR before MMIO, mirrors included.

    Args:
        root: Folder of the powercap zones.
        vendor: Maker of the CPU, as ``vendor_of`` gives it.

    Example:
        >>> list(zones("/nonexistent"))
        []
    """
    for control, top, below, folder in sorted(_folders(root)):
        name = text_of(folder / "name")
        parent = name if below < 0 else text_of(folder.parent / f"{control}:{top}" / "name")
        package = PACKAGE.fullmatch(parent)
        if below < 0 and name == "psys":
            yield Zone(folder, Domain("psys", "psys"))
        elif package is None:
            continue
        elif below < 0:
            yield Zone(folder, Domain("package", counted_package(parent, vendor)))
        else:
            known: dict[str, Part] = {"dram": "dram", "core": "core", "uncore": "uncore"}
            if name in known:
                yield Zone(folder, Domain(known[name], counted_package(parent, vendor)))


def hidden(root: str) -> bool:
    """Whether zones are listed that cannot even be named: a container runtime masks them."""
    folders = [folder for *_, folder in _folders(root)]
    return bool(folders) and not any(text_of(folder / "name") for folder in folders)


def counted_package(package: str, vendor: str) -> str:
    """Name of the counter behind a package or a die of it.

    Example:
        >>> counted_package("package-0-die-1", "GenuineIntel")
        'package-0-die-1'
        >>> counted_package("package-0-die-1", "AuthenticAMD")
        'package-0'
    """
    match = PACKAGE.fullmatch(package)
    return match.group(1) if match and vendor in PER_PACKAGE_VENDORS else package


def vendor_of(proc: str = "/proc") -> str:
    """Maker of the CPU; empty where the machine does not say."""
    try:
        with Path(proc, "cpuinfo").open("rb") as file:
            text = file.read(CPUINFO_BYTES).decode("ascii", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "vendor_id":
            return value.strip()
    return ""


def text_of(path: Path) -> str:
    """Content of a small file; empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _folders(root: str) -> list[tuple[str, int, int, Path]]:
    """Zone folders by register, number and number below; -1 for a zone at the top."""
    found = []
    with contextlib.suppress(OSError):
        for folder in Path(root).iterdir():
            parts = ZONE.fullmatch(folder.name)
            if parts:
                control, top, below = parts.groups()
                found.append((control, int(top), -1 if below is None else int(below), folder))
    return found


def _number(path: Path) -> float:
    text = text_of(path)
    return float(text) if text.isdigit() else math.nan
