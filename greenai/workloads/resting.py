"""The machine at rest: its idle power before an experiment, and its return to that between runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from greenai import doctor

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.doctor import Diagnosis

COUNTERS = ("nvml", "rapl")
"""Sources that measure; a model of power at rest would say what it was told."""
IDLE_S = 10.0
LOOK_S = 2.0
"""One look at the machine: twenty refreshes of a GPU's counter."""
COOL_DOWN_MAX_S = 90.0
WARMER_C = 3.0
"""A GPU that is this much warmer than before the first run counts as cool again: a turn of its
fan is as much."""
MORE_POWER = 1.05
"""And this multiple of its idle power as idle: some 5 % is what its counter is good for."""


@dataclass(frozen=True)
class Look:
    """What a look at the machine told; None is not known.

    Args:
        power_w: Power of the devices below together; None where nothing measures any.
        devices: Labels of the devices that are measured and summed into a run's energy.
        temperature_c: Of the hottest GPU.
        power_limit_w: Of all GPUs together.
        clock_hz: Of the slowest GPU.
        gpus: How many GPUs are measured.
    """

    power_w: float | None = None
    devices: tuple[str, ...] = ()
    temperature_c: float | None = None
    power_limit_w: float | None = None
    clock_hz: float | None = None
    gpus: int = 0


def look(seconds: float, examine: Callable[..., Diagnosis] = doctor.examine) -> Look:
    """Read the counters of this machine for some seconds, while nothing is trained.

    Args:
        seconds: For how long each interface is read; nothing is waited for where there is none.
        examine: Reads the sensors.

    Returns:
        What they told.

    Example:
        >>> from greenai.doctor import Diagnosis
        >>> look(0, lambda names, seconds: Diagnosis([], [])).power_w is None
        True
    """
    rows = [
        row
        for row in examine(COUNTERS, seconds=seconds).rows
        if row.state == "works" and row.channel and row.channel.trust == "measured"
        if not row.beside
    ]
    gpus = [row.informing for row in rows if row.channel and row.channel.kind == "gpu"]

    def known(fact: str) -> list[float]:
        values = [gpu[fact] for gpu in gpus if math.isfinite(gpu.get(fact, math.nan))]
        return values if len(values) == len(gpus) else []

    power_w = sum(row.vitals.power_w for row in rows)
    return Look(
        power_w=power_w if rows and math.isfinite(power_w) else None,
        devices=tuple(row.channel.device for row in rows if row.channel),
        temperature_c=max(known("temperature_c"), default=None),
        power_limit_w=sum(known("power_limit_w")) or None,
        clock_hz=min(known("clock_hz"), default=None),
        gpus=len(gpus),
    )


def cool_down(
    idle: Look,
    see: Callable[[float], Look] = look,
    clock: Callable[[], float] = monotonic,
    limit_s: float = COOL_DOWN_MAX_S,
) -> tuple[Look, float | None]:
    """Wait until power and temperature are back to what they were at rest; GPUs only.

    Args:
        idle: The machine before the first run.
        see: Looks at it for so many seconds.
        clock: Seconds on a monotonic clock.
        limit_s: Wait no longer than this: a machine that shares its fans may stay warm.

    Returns:
        The latest look, and for how long was waited; None where there is no GPU to cool.

    Example:
        >>> cool_down(Look()) == (Look(), None)
        True
    """
    if not idle.gpus:
        return Look(), None
    started_s = clock()
    while True:
        now = see(LOOK_S)
        waited_s = clock() - started_s
        if _is_at_rest(now, idle) or waited_s >= limit_s:
            return now, waited_s


def _is_at_rest(now: Look, idle: Look) -> bool:
    """Whether power and temperature are near those at rest; what is unknown is not waited for."""
    quiet = not (now.power_w and idle.power_w) or now.power_w <= MORE_POWER * idle.power_w
    cool = (
        now.temperature_c is None
        or idle.temperature_c is None
        or now.temperature_c <= idle.temperature_c + WARMER_C
    )
    return quiet and cool
