"""The PMU ``power`` in a temporary folder, and a stand-in for perf_event_open that serves it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

UNIT_J = 2.3283064365386962890625e-10
"""As the kernel states it: 2**-32 J."""
PMU_TYPE = 14
CONFIGS = {"energy-cores": 1, "energy-pkg": 2, "energy-ram": 3, "energy-gpu": 4, "energy-psys": 5}
READS_MAX = 64


class PerfPower:
    """Counters of the PMU, as the kernel gives them: 8 bytes a read, from zero at each opening.

    Args:
        sys_root: The folder that stands in for /sys.
    """

    def __init__(self, sys_root: str) -> None:
        self._sys = Path(sys_root)
        self.refused: dict[str, int] = {}
        """Errno by event: what opening it gives instead of a descriptor."""
        self.calls: list[tuple[int, int, int]] = []
        self._joules: dict[tuple[str, int], float] = {}
        self._opened: list[tuple[str, int, int, float]] = []

    def add(
        self, events: list[str], cpus: dict[int, tuple[int, int]], unit: str = "Joules"
    ) -> None:
        """Lay out the PMU's folder.

        Args:
            events: What it counts.
            cpus: Package and die of each CPU of ``cpumask``.
            unit: What the events say their unit is.
        """
        pmu = self._sys / "bus/event_source/devices/power"
        (pmu / "events").mkdir(parents=True, exist_ok=True)
        (pmu / "type").write_text(f"{PMU_TYPE}\n")
        (pmu / "cpumask").write_text(",".join(map(str, cpus)) + "\n")
        for name in events:
            (pmu / "events" / name).write_text(f"event=0x{CONFIGS[name]:02x}\n")
            (pmu / "events" / f"{name}.scale").write_text("2.3283064365386962890625e-10\n")
            (pmu / "events" / f"{name}.unit").write_text(f"{unit}\n")
            for cpu in cpus:
                self._joules[name, cpu] = 0.0
        for cpu, (package, die) in cpus.items():
            topology = self._sys / f"devices/system/cpu/cpu{cpu}/topology"
            topology.mkdir(parents=True, exist_ok=True)
            (topology / "physical_package_id").write_text(f"{package}\n")
            (topology / "die_id").write_text(f"{die}\n")

    def use(self, event: str, cpu: int, joules: float) -> None:
        """Let a package use energy; every open counter of it sees that."""
        self._joules[event, cpu] += joules
        self._serve(event, cpu)

    def syscall(self, pmu_type: int, config: int, cpu: int) -> int:
        """Stand in for perf_event_open, its refusals included."""
        self.calls.append((pmu_type, config, cpu))
        name = next((name for name, number in CONFIGS.items() if number == config), "")
        code = self.refused.get(name, 0)
        if pmu_type != PMU_TYPE:
            code = errno.ENOENT
        elif not code and (name, cpu) not in self._joules:
            code = errno.ENODEV
        if code:
            raise OSError(code, os.strerror(code))
        descriptor = os.memfd_create(f"{name}-{cpu}")
        self._opened.append((name, cpu, os.dup(descriptor), self._joules[name, cpu]))
        self._serve(name, cpu)
        return descriptor

    def die(self) -> None:
        """Let all counters end in the error state: a read gives nothing any more."""
        for _, _, twin, _ in self._opened:
            os.ftruncate(twin, 0)

    def close(self) -> None:
        """Let go of what was opened."""
        while self._opened:
            os.close(self._opened.pop()[2])

    def _serve(self, event: str, cpu: int) -> None:
        """Lay the count out for the next reads; the twin shares the reader's place in the file."""
        for name, of_cpu, twin, since_j in self._opened:
            if (name, of_cpu) == (event, cpu):
                count = round((self._joules[event, cpu] - since_j) / UNIT_J)
                raw = count.to_bytes(8, sys.byteorder) * READS_MAX
                os.pwrite(twin, raw, os.lseek(twin, 0, os.SEEK_CUR))
