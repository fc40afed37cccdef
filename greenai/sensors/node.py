"""Meters of the whole machine; first the ACPI power meter, which the kernel shows as hwmon files.

What they tell contains everything that is metered by itself, and fans and losses besides. So it is
recorded beside the sum and never added to it. ``power1_average`` is a mean in microwatts over
``power1_average_interval`` milliseconds (kernel: hwmon/acpi_power_meter); a meter that measures a
battery is none of the machine. ACPI writes 0xFFFFFFFF mW where the power is unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from greenai.sensors import hwmon
from greenai.sensors.base import Channel, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.lines import Line, LinesSensor
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.sensors.base import Quantity

ROOT = "/sys/class/hwmon"
NAME = "power_meter"
PERIOD_NS = 1_200 * NS_PER_MS
"""More than a second: what is beside the sum is kept once a second at most."""
UW_PER_W = 1_000_000
UNKNOWN_W = 0xFFFFFFFF / 1_000
REMEDY = "sudo chmod a+r /sys/class/hwmon/hwmon*/power1_average"


def node_channel(
    method: str, device: str, device_key: str, quantity: Quantity, refresh_ns: int
) -> Channel:
    """Channel of a meter of the whole machine: recorded, shown beside the sum, never added.

    Args:
        method: How the value comes about; the key under which it is reported.
        device: Short label.
        device_key: Identity under which the meter is counted once.
        quantity: ``energy_j`` or ``power_w``.
        refresh_ns: Time between two of its values.
    """
    return Channel(
        quantity=quantity,
        kind="other",
        device=device,
        device_key=device_key,
        method=method,
        trust="measured",
        primary=False,
        refresh_ns=refresh_ns,
        scope="node",
    )


def running_w(power_w: float) -> float:
    """Check a machine's power: one that runs draws more than nothing.

    Raises:
        ValueError: The value stands for something unknown.

    Example:
        >>> running_w(312.0)
        312.0
    """
    if not 0 < power_w < UNKNOWN_W:
        raise ValueError(f"the meter reads {power_w:g} W, which stands for unknown")
    return power_w


def open_acpi(root: str = ROOT, proc: str = "/proc") -> tuple[list[Sensor], list[Refusal]]:
    """Open the machine's ACPI power meters.

    Args:
        root: Folder of the hwmon devices.
        proc: Root of the proc file system, for the host's identity.

    Returns:
        One sensor, or none; and what is refused.
    """
    lines: list[Line] = []
    refusals: list[Refusal] = []
    for path in _meters(root):
        try:
            hwmon.number(path)
        except hwmon.FAILURES as error:
            reason = f"The ACPI power meter is not readable: {path} ({hwmon.why(error)})."
            refusals.append(Refusal("acpi", reason, REMEDY))
            continue
        device = f"node-acpi-{len(lines)}" if lines else "node-acpi"
        lines.append(_line(path, device, host_id(proc)))
    if not lines and not refusals:
        refusals = [Refusal("acpi", "This machine has no ACPI power meter.")]
    return [LinesSensor("acpi", lines, PERIOD_NS)] if lines else [], refusals


def _meters(root: str) -> Iterator[Path]:
    for folder in hwmon.numbered(Path(root), "hwmon*"):
        if hwmon.word(folder / "name") == NAME and hwmon.word(folder / "power1_is_battery") != "1":
            yield folder / "power1_average"


def _line(path: Path, device: str, host: str) -> Line:
    try:
        interval_ns = int(hwmon.number(path.with_name("power1_average_interval"))) * NS_PER_MS
    except hwmon.FAILURES:
        interval_ns = 0
    refresh_ns = max(PERIOD_NS, interval_ns)
    channel = node_channel("acpi_power_meter", device, f"{host}/{device}", "power_w", refresh_ns)
    return Line(channel, lambda: running_w(hwmon.number(path) / UW_PER_W), hwmon.FAILURES)
