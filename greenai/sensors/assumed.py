"""Watts that the user states for what has no sensor: a constant, labelled assumed everywhere."""

from __future__ import annotations

import math
import re
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple, cast

from greenai.errors import SensorError
from greenai.sensors.base import KINDS, Channel, Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.sensors.base import Kind

PREFIX = "assumed:"
FORM = "assumed:LABEL=WATTS, or assumed:KIND:LABEL=WATTS with KIND one of " + ", ".join(KINDS)
STATED = re.compile(r"(?:(\w+):)?([\w.-]{1,40})=([\d.eE+-]+)")
PERIOD_NS = 500 * NS_PER_MS


class Stated(NamedTuple):
    """One statement of the user's.

    Attributes:
        kind: Component that the energy is booked under.
        label: What it is.
        power_w: Its power, taken as constant.
    """

    kind: Kind
    label: str
    power_w: float


def stated(names: Sequence[str]) -> list[Stated]:
    """Understand statements.

    Args:
        names: Names of sensors that begin with ``assumed:``.

    Returns:
        One statement each.

    Raises:
        SensorError: One is none, states no power, or a label is stated twice.

    Example:
        >>> stated(["assumed:tpu=200"]), stated(["assumed:cpu:arm=35.5"])[0].kind
        ([Stated(kind='other', label='tpu', power_w=200.0)], 'cpu')
    """
    found: list[Stated] = []
    for name in names:
        parts = STATED.fullmatch(name.removeprefix(PREFIX))
        kind, label, watts = parts.groups() if parts else ("", "", "")
        power_w = _number(watts)
        known = kind is None or kind in KINDS
        if not known or not 0 < power_w < math.inf or any(one.label == label for one in found):
            raise SensorError(
                f"{name!r} states no power of one thing.",
                "What it should stand for would be missing from the run.",
                f"use {FORM}, each label once",
            )
        found.append(Stated(cast("Kind", kind or "other"), label, power_w))
    return found


class AssumedSensor:
    """Constant powers.

    Args:
        statements: What the user stated.
        host: Identity of the host.
    """

    name = "assumed"
    period_ns = PERIOD_NS

    def __init__(self, statements: Sequence[Stated], host: str) -> None:
        self.channels = tuple(_channel(one, host) for one in statements)
        self._powers_w = [one.power_w for one in statements]

    def read(self) -> list[Reading]:
        """The stated powers, now."""
        now_ns = monotonic_ns()
        return [Reading(at, now_ns, now_ns, power_w) for at, power_w in enumerate(self._powers_w)]

    def close(self) -> None:
        """Nothing to let go of."""


def open_assumed(names: Sequence[str], proc: str = "/proc") -> tuple[list[Sensor], list[Refusal]]:
    """Make a sensor of statements; it stands for the whole host, not for a rank.

    Args:
        names: Names of sensors that begin with ``assumed:``, checked before.
        proc: Root of the proc file system, for the host's identity.
    """
    return [AssumedSensor(stated(names), host_id(proc))], []


def _channel(one: Stated, host: str) -> Channel:
    return Channel(
        quantity="power_w",
        kind=one.kind,
        device=f"assumed-{one.label}",
        device_key=f"{host}/assumed-{one.label}",
        method="assumed_power",
        trust="assumed",
        primary=True,
        refresh_ns=PERIOD_NS,
        power_max_w=one.power_w,
        model=one.label,
        scope=f"{one.power_w:g} W stated by the user",
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
