"""A powercap tree in a temporary folder, with counters that a test turns."""

from __future__ import annotations

import os
from pathlib import Path

RANGE_UJ = 262_143_328_850
"""As on Intel servers: 2**32 units of 61 µJ."""
WIDTH = 20
"""Counters are written at one width, so that a reader never sees half a number."""


class PowercapTree:
    """The folder that stands in for /sys/class/powercap.

    Args:
        root: An empty folder.
        denied: Paths that ``open`` shall refuse (a superuser may open all that the mode denies).
    """

    def __init__(self, root: Path, denied: set[str]) -> None:
        self.root = root
        self._denied = denied

    @property
    def proc(self) -> str:
        """The folder that stands in for /proc; says who made the CPU once ``vendor`` was called."""
        return str(self.root.parent.parent.parent / "proc")

    def vendor(self, name: str) -> None:
        """Say who made the CPU: ``GenuineIntel``, ``AuthenticAMD``."""
        folder = Path(self.proc)
        folder.mkdir(exist_ok=True)
        (folder / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {name}\ncpu family\t: 6\n")

    @property
    def sys_root(self) -> str:
        """The folder that stands in for /sys."""
        return str(self.root.parent.parent)

    def zone(
        self,
        zone: str,
        name: str,
        energy_uj: int = 0,
        range_uj: int | None = RANGE_UJ,
        limits_uw: dict[str, int] | None = None,
    ) -> None:
        """Add a zone.

        Args:
            zone: Its folder: ``intel-rapl:0``, ``intel-rapl:0:1``, ``intel-rapl-mmio:0``.
            name: ``package-0``, ``dram``, ``core``, ``psys``.
            energy_uj: What the counter shows.
            range_uj: Where it wraps; None leaves the file out.
            limits_uw: Files ``constraint_<key>_uw``.
        """
        folder = self.root / zone
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        if range_uj is not None:
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        for key, limit_uw in (limits_uw or {}).items():
            (folder / f"constraint_{key}_uw").write_text(f"{limit_uw}\n")
        self.turn(zone, energy_uj)

    def server(self, packages: int = 2) -> None:
        """Add what a server shows: packages with cores and DRAM."""
        for package in range(packages):
            zone = f"intel-rapl:{package}"
            limits = {"0_max_power": 350_000_000, "1_power_limit": 420_000_000}
            self.zone(zone, f"package-{package}", 1_000_000 * (package + 1), limits_uw=limits)
            self.zone(f"{zone}:0", "core", 500_000)
            self.zone(f"{zone}:1", "dram", 200_000, 65_712_999_613)

    def turn(self, zone: str, energy_uj: int) -> None:
        """Set a counter, in place: descriptors that are open see it."""
        descriptor = os.open(self._counter(zone), os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(descriptor, f"{energy_uj:<{WIDTH}}\n".encode(), 0)
        os.close(descriptor)

    def deny(self, zone: str) -> None:
        """Let nobody open the counter, as kernels since 5.10 do for all but root."""
        self._denied.add(str(self._counter(zone)))

    def break_(self, zone: str) -> None:
        """Make an open counter unreadable."""
        os.truncate(self._counter(zone), 0)

    def _counter(self, zone: str) -> Path:
        return self.root / zone / "energy_uj"
