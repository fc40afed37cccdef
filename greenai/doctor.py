"""What this machine can tell of its energy, and what a run on it would miss."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from typing import TYPE_CHECKING, Literal

from greenai import sensors
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.sensors import Channel, Reading, Refusal, Sensor

State = Literal["works", "refused", "absent", "unneeded"]

POLL_S = 0.02
ENOUGH = 3
UNITS = {
    "power_limit_w": ("limit", "W", 1.0),
    "temperature_c": ("temperature", "°C", 1.0),
    "utilization_ratio": ("busy", "%", 100.0),
    "memory_used_bytes": ("memory", "GiB", 1 / 2**30),
}
MISSING = {
    "gpu": "GPU energy: no GPU of this process can be metered.",
    "cpu": "CPU energy: neither a counter nor a model is at hand.",
    "dram": "DRAM energy: neither a counter nor a model is at hand.",
}
BEYOND = "Fans, disks, network and power supplies: nothing here meters the whole machine."
SAID = {
    "works": "works",
    "refused": "refused",
    "absent": "not on this machine",
    "unneeded": "not needed",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One interface, or one device of it.

    Attributes:
        sensor: Name of the interface.
        state: ``works``; ``refused`` (the hint mends it); ``absent`` from this machine;
            ``unneeded`` because a counter does its work.
        detail: What was read over the time of the examination, or why nothing was.
        hint: The one command that mends it; empty where nothing does.
    """

    sensor: str
    state: State
    detail: str
    hint: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        rows: One for each device that works and each interface or device that does not.
        measured: Whether anything that is summed into a run's energy is measured.
        missing: What a run's totals would lack, in sentences.
    """

    rows: list[Row]
    measured: bool
    missing: list[str]


def examine(
    wanted: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    *,
    seconds: float = 1.0,
    proc: str = "/proc",
    sys_root: str = "/sys",
) -> Diagnosis:
    """Open every sensor, read it for a while and close it.

    Args:
        wanted: Names of sensors; None tries all that measure.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        seconds: How long to read each.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.

    Returns:
        The diagnosis. Opening may take seconds the first time: models are asked once.

    Raises:
        SensorError: A name is unknown.

    Example:
        >>> found = examine(["rapl"], seconds=0, sys_root="/nonexistent")
        >>> found.rows[0].state, found.measured, len(found.missing)
        ('absent', False, 4)
    """
    rows: list[Row] = []
    working: list[Channel] = []
    for name, opener in sensors.openers(wanted, devices, proc=proc, sys_root=sys_root).items():
        opened, refusals = opener()
        for sensor in opened:
            readings = _read_for(sensor, seconds)
            sensor.close()
            found = _rows_of(name, sensor, readings)
            rows += [row for row, _ in found]
            working += [channel for row, channel in found if row.state == "works"]
        rows += [_row_of(name, refusal) for refusal in refusals]
        if not opened and not refusals:
            rows.append(
                Row(name, "unneeded", "Counters are readable: no model is used beside them.")
            )
    kinds = {channel.kind for channel in working}
    return Diagnosis(
        rows,
        measured=any(channel.trust == "measured" for channel in working),
        missing=[text for kind, text in MISSING.items() if kind not in kinds] + [BEYOND],
    )


def lines(diagnosis: Diagnosis) -> list[str]:
    """Put a diagnosis into lines of text.

    Example:
        >>> row = Row("rapl", "refused", "RAPL counter is not readable.", "sudo chmod a+r FILE")
        >>> print(chr(10).join(lines(Diagnosis([row], measured=False, missing=["GPU energy."]))))
        rapl        refused              RAPL counter is not readable.
                                         hint: sudo chmod a+r FILE
        Nothing here is measured: joules of a run would be modelled or assumed.
        A run's totals would lack:
          GPU energy.
    """
    text: list[str] = []
    for row in diagnosis.rows:
        text.append(f"{row.sensor:<12}{SAID[row.state]:<21}{row.detail}")
        if row.hint:
            text.append(f"{'':<33}hint: {row.hint}")
    if not diagnosis.measured:
        text.append("Nothing here is measured: joules of a run would be modelled or assumed.")
    if diagnosis.missing:
        text.append("A run's totals would lack:")
        text += [f"  {missing}" for missing in diagnosis.missing]
    return text


def _read_for(sensor: Sensor, seconds: float) -> list[Reading]:
    readings = sensor.read()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(min(POLL_S, seconds))
        readings += sensor.read()
    return readings


def _rows_of(name: str, sensor: Sensor, readings: list[Reading]) -> list[tuple[Row, Channel]]:
    """One row for each channel that is summed, with what informs of the same device."""
    rows = []
    for position, channel in enumerate(sensor.channels):
        if not channel.primary:
            continue
        own = [reading for reading in readings if reading.channel == position]
        failed = [reading.reason for reading in own if reading.reason]
        if own and len(failed) == len(own):
            rows.append((Row(name, "refused", f"{channel.device}: {failed[-1]}"), channel))
            continue
        facts = [_power(channel, [one for one in own if not one.reason])]
        for other, fact in enumerate(sensor.channels):
            if fact.device == channel.device and fact.quantity in UNITS:
                facts += _fact(fact, [one for one in readings if one.channel == other])
        kinds = ", ".join(filter(None, [channel.trust, channel.method, channel.scope]))
        model = f" {channel.model}" if channel.model else ""
        detail = f"{channel.device}{model}: {', '.join(facts)} ({kinds})"
        rows.append((Row(name, "works", detail), channel))
    return rows


def _power(channel: Channel, readings: list[Reading]) -> str:
    """Mean power over the readings, in words."""
    if channel.quantity == "power_w" and readings:
        weights = [max(1, one.t1_ns - one.t0_ns) for one in readings]
        values = [one.value * weight for one, weight in zip(readings, weights, strict=True)]
        return f"{sum(values) / sum(weights):.1f} W"
    changes = [
        after for before, after in itertools.pairwise(readings) if after.value != before.value
    ]
    if not changes:
        return "readable" if readings else "opened; too soon for a value"
    # The first value's age is unknown: the time between changes is not.
    first, last = changes[0] if len(changes) >= ENOUGH else readings[0], changes[-1]
    used_j = last.value - first.value
    if used_j < 0 and channel.wrap_j is not None:
        used_j += channel.wrap_j
    seconds = (last.t1_ns - first.t1_ns) / NS_PER_S
    return f"{used_j / seconds:.1f} W" if used_j >= 0 and seconds > 0 else "readable"


def _fact(channel: Channel, readings: list[Reading]) -> list[str]:
    known = [one.value for one in readings if math.isfinite(one.value)]
    if not known:
        return []
    name, unit, factor = UNITS[channel.quantity]
    return [f"{name} {known[-1] * factor:.0f} {unit}"]


def _row_of(name: str, refusal: Refusal) -> Row:
    return Row(name, "refused" if refusal.hint else "absent", refusal.reason, refusal.hint)
