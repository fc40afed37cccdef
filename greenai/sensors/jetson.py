"""NVIDIA Jetson through its INA3221 monitors: millivolts times milliamperes of each supply rail.

A monitor has three rails (``in1`` to ``in3`` with ``curr1`` to ``curr3``); what comes after them
are shunt voltages and their sum, not rails (kernel: hwmon/ina3221). A rail named NC is not
connected. ``VDD_IN`` or ``POM_5V_IN`` is the supply of the whole module, which then contains the
others; boards without such a rail are the sum of theirs. GPU, CPU and memory are one module here,
so their energy is not told apart. JetPack 4 shows the monitors elsewhere and is not supported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors import hwmon
from greenai.sensors.base import Channel, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.lines import INFORM_NS, Line, LinesSensor
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRIVER = "bus/i2c/drivers/ina3221"
PERIOD_NS = 50 * NS_PER_MS
RAILS = (1, 2, 3)
NOT_CONNECTED = "NC"
SUPPLIES = ("VDD_IN", "POM_5V_IN")
UW_PER_W = 1_000_000
"""Millivolts times milliamperes are microwatts."""
REMEDY = "sudo chmod -R a+r /sys/bus/i2c/drivers/ina3221/*/hwmon"


class Rail(NamedTuple):
    """One supply rail.

    Attributes:
        label: Its name on the board.
        folder: The monitor's hwmon folder.
        number: Which of the monitor's three.
    """

    label: str
    folder: Path
    number: int

    def power_w(self) -> float:
        """Power now; raises OSError or ValueError where it cannot be read."""
        millivolts = hwmon.number(self.folder / f"in{self.number}_input")
        milliamperes = hwmon.number(self.folder / f"curr{self.number}_input")
        return millivolts * milliamperes / UW_PER_W


def is_here(sys_root: str = "/sys") -> bool:
    """Whether this machine has monitors with named rails.

    Example:
        >>> is_here("/nonexistent")
        False
    """
    return next(_rails(sys_root), None) is not None


def open_jetson(sys_root: str = "/sys", proc: str = "/proc") -> tuple[list[Sensor], list[Refusal]]:
    """Open the module's supply, and its rails for information.

    Args:
        sys_root: Root of the sys file system.
        proc: Root of the proc file system, for the host's identity.

    Returns:
        One sensor, or none; and what is refused.
    """
    rails = list(_rails(sys_root))
    if not rails:
        return [], [Refusal("jetson", "This machine has no Jetson power monitor (INA3221).")]
    supply = next((rail for rail in rails if rail.label in SUPPLIES), None)
    summed = [supply] if supply else rails
    try:
        for rail in summed:
            rail.power_w()
    except hwmon.FAILURES as error:
        reason = f"Jetson's power monitor is not readable: {rail.folder} ({hwmon.why(error)})."
        return [], [Refusal("jetson", reason, REMEDY)]
    host = host_id(proc)
    scope = "module" if supply else "module: the sum of its monitored rails"

    def whole_w() -> float:
        return sum(rail.power_w() for rail in summed)

    lines = [_line("jetson", host, whole_w, scope, primary=True)]
    lines += [
        _line(f"jetson-{rail.label}", host, rail.power_w, "", primary=False)
        for rail in rails
        if rail is not supply
    ]
    return [LinesSensor("jetson", lines, PERIOD_NS)], []


def _rails(sys_root: str) -> Iterator[Rail]:
    seen: set[str] = set()
    for monitor in sorted(Path(sys_root, DRIVER).glob("*-*")):
        for folder in hwmon.numbered(monitor / "hwmon", "hwmon*"):
            for number in RAILS:
                label = hwmon.word(folder / f"in{number}_label")
                if label and label != NOT_CONNECTED and label not in seen:
                    seen.add(label)
                    yield Rail(label, folder, number)


def _line(device: str, host: str, call: Callable[[], float], scope: str, *, primary: bool) -> Line:
    channel = Channel(
        quantity="power_w",
        kind="other",
        device=device,
        device_key=f"{host}/{device}",
        method="ina3221_power",
        trust="measured",
        primary=primary,
        refresh_ns=PERIOD_NS if primary else INFORM_NS,
        vendor="NVIDIA",
        scope=scope,
    )
    return Line(channel, call, hwmon.FAILURES, 0 if primary else INFORM_NS)
