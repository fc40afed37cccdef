"""A stand-in for the package zeus_apple_silicon 1.1: cumulative millijoules, None where unknown."""

from __future__ import annotations

import dataclasses
import time
from types import ModuleType, SimpleNamespace
from typing import Any

COUNTERS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "dram_mj", "ane_mj", "efficiency_cluster_mj")


@dataclasses.dataclass
class FakeChip:
    """One chip.

    Args:
        powers_w: What each counter's part draws; a counter that is left out reads None.
        broken: IOReport fails.
    """

    powers_w: dict[str, float]
    broken: bool = False
    t0_ns: int = dataclasses.field(default_factory=time.monotonic_ns)


def fake_zeus(chip: FakeChip) -> Any:
    """The module; put it into ``sys.modules``."""

    class AppleEnergyMonitor:
        def __init__(self) -> None:
            if chip.broken:
                raise RuntimeError("Failed to create IOReport subscription.")

        def get_cumulative_energy(self) -> SimpleNamespace:
            if chip.broken:
                raise ValueError("Unsupported or invalid energy unit provided: kWh")
            seconds = (time.monotonic_ns() - chip.t0_ns) / 1e9
            said: dict[str, Any] = dict.fromkeys(COUNTERS)
            for name, power_w in chip.powers_w.items():
                said[name] = int(1000 * (77 + power_w * seconds))
            return SimpleNamespace(**said)

    module: Any = ModuleType("zeus_apple_silicon")
    module.AppleEnergyMonitor = AppleEnergyMonitor
    return module
