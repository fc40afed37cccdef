"""Apple silicon through zeus-apple-silicon: the counters of IOReport's "Energy Model".

They are cumulative, in millijoules, for CPU, GPU, memory and neural engine, and need no rights.
They are believed to come from a model of Apple's (use, frequency and voltage), and Apple's own
``powermetrics`` calls its values estimated (README of zeus-apple-silicon), so they are modelled.
Which counters there are differs between chips; one that is missing reads None.
"""

from __future__ import annotations

import math
import os
import sys
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors import bindings
from greenai.sensors.base import Channel, Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.lines import REFRESH_UNKNOWN_NS
from greenai.units import MJ_PER_J, NS_PER_MS

if TYPE_CHECKING:
    from greenai.sensors.base import Kind

PERIOD_NS = 100 * NS_PER_MS
INSTALL = 'pip install "greenai[apple]"'
COUNTERS: dict[str, tuple[str, Kind]] = {
    # Counters that are summed: each part of the chip once. The cores are within the CPU's total.
    "cpu_total_mj": ("apple-cpu", "cpu"),
    "gpu_mj": ("apple-gpu", "gpu"),
    "dram_mj": ("apple-dram", "dram"),
    "ane_mj": ("apple-ane", "other"),
}
FAILURES = (RuntimeError, ValueError)
"""What the package raises: no subscription, a unit that it does not know."""


def is_here() -> bool:
    """Whether this is a Mac with Apple's own chip."""
    return sys.platform == "darwin" and os.uname().machine == "arm64"


class AppleSensor:
    """The chip's counters, all read by one call.

    Args:
        monitor: An ``AppleEnergyMonitor``.
        names: Counters that it has, by their names there.
        host: Identity of the host.
    """

    name = "apple"
    period_ns = PERIOD_NS

    def __init__(self, monitor: Any, names: list[str], host: str) -> None:
        self.channels = tuple(_channel(name, host) for name in names)
        self._monitor = monitor
        self._names = names

    def read(self) -> list[Reading]:
        """Read all counters; NaN with a reason where one is missing."""
        t0_ns = monotonic_ns()
        try:
            said, reason = self._monitor.get_cumulative_energy(), ""
        except FAILURES as error:
            said, reason = None, f"IOReport: {error}"
        t1_ns = monotonic_ns()
        readings = []
        for position, name in enumerate(self._names):
            count_mj = getattr(said, name, None)
            if count_mj is None:
                why = reason or f"IOReport no longer gives {name}"
                readings.append(Reading(position, t0_ns, t1_ns, math.nan, why))
            else:
                readings.append(Reading(position, t0_ns, t1_ns, float(count_mj) / MJ_PER_J))
        return readings

    def close(self) -> None:
        """Nothing to let go of: the subscription goes with the object."""


def open_apple(proc: str = "/proc") -> tuple[list[Sensor], list[Refusal]]:
    """Open the chip's counters.

    Args:
        proc: Root of the proc file system, for the host's identity; a Mac has none.

    Returns:
        One sensor, or none; and what is refused. Never raises.
    """
    if not is_here():
        return [], [Refusal("apple", "This machine is no Mac with Apple silicon.")]
    try:
        package = bindings.load("zeus_apple_silicon")
    except ImportError as error:
        reason = f"The package zeus-apple-silicon cannot be used: {error}."
        return [], [Refusal("apple", reason, INSTALL)]
    try:
        monitor = package.AppleEnergyMonitor()
        said = monitor.get_cumulative_energy()
    except FAILURES as error:
        return [], [Refusal("apple", f"IOReport does not answer: {error}.")]
    names = [name for name in COUNTERS if getattr(said, name, None) is not None]
    missing = [COUNTERS[name][0] for name in COUNTERS if name not in names]
    refusals = [
        Refusal("apple", f"IOReport has no counter for {one} on this chip.") for one in missing
    ]
    return [AppleSensor(monitor, names, host_id(proc))] if names else [], refusals


def _channel(name: str, host: str) -> Channel:
    device, kind = COUNTERS[name]
    return Channel(
        quantity="energy_j",
        kind=kind,
        device=device,
        device_key=f"{host}/{device}",
        method="ioreport_energy",
        trust="modelled",
        primary=True,
        refresh_ns=REFRESH_UNKNOWN_NS,
        vendor="Apple",
    )
