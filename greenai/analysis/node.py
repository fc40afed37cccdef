"""Energy of meters of the whole machine over a run: shown beside the sum, never part of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.record.types import Attempt, ChannelReadings
    from greenai.units import Floats, Ns

NODE = "node"
"""Scope of the channels that are meant."""
ALL_NODES = "slurm_consumed_energy"
"""Method whose meter covers all machines of the job at once."""
READINGS_LEAST = 2
END_SPACINGS = 1.5
"""A run may begin and end this many spacings outside the readings: a value stands for about one."""
GAP_SPACINGS = 4.0
"""A pause of more than this many spacings is a gap."""


def meter_energy(readings: ChannelReadings, start_ns: int, end_ns: int) -> float:
    """Energy that one meter saw in a span.

    A power is a mean over the time since the value before it; a counter rises evenly between two
    values. Readings come every second to every minute, so up to one and a half of their usual
    spacing is carried on beyond the first and the last of them.

    Args:
        readings: What the meter said, in time order.
        start_ns: Start of the span.
        end_ns: Its end.

    Returns:
        Joules; NaN where the readings do not cover the span: too few, too late, ended too early,
        a gap within, or a counter that fell.

    Example:
        >>> from greenai.record.types import ChannelReadings
        >>> from greenai.sensors.base import Channel
        >>> meter = Channel("power_w", "other", "node-ipmi", "h/node-ipmi", "ipmi_dcmi",
        ...                 "measured", False, refresh_ns=10**10, scope="node")
        >>> t_ns = np.array([10, 20, 30]) * 10**9
        >>> kind = np.array([1, 0, 0], dtype=np.uint8)
        >>> said = ChannelReadings(meter, t_ns, t_ns, np.array([500.0, 400.0, 600.0]), kind)
        >>> meter_energy(said, 5 * 10**9, 35 * 10**9)
        15500.0
        >>> meter_energy(said, 5 * 10**9, 60 * 10**9)
        nan
    """
    known = np.isfinite(readings.value)
    t_ns, value = readings.t_hi_ns[known], readings.value[known]
    if len(t_ns) < READINGS_LEAST or end_ns <= start_ns:
        return math.nan
    pauses_ns = np.diff(t_ns)
    spacing_ns = float(np.median(pauses_ns))
    reach_ns = END_SPACINGS * spacing_ns
    within = (t_ns[1:] > start_ns) & (t_ns[:-1] < end_ns)
    gap = bool((pauses_ns[within] > GAP_SPACINGS * spacing_ns).any())
    if gap or start_ns < t_ns[0] - reach_ns or end_ns > t_ns[-1] + reach_ns:
        return math.nan
    if readings.channel.quantity == "energy_j":
        power_w = np.diff(value) / (np.maximum(pauses_ns, 1) / NS_PER_S)
        if (power_w[within] < 0).any():
            return math.nan
        holds_w = np.concatenate((power_w[:1], power_w, power_w[-1:]))
    else:
        holds_w = np.append(value, value[-1])
    return _integral(t_ns, holds_w, start_ns, end_ns)


def _integral(t_ns: Ns, holds_w: Floats, start_ns: int, end_ns: int) -> float:
    """Energy from start to end of a power that is ``holds_w[k]`` before ``t_ns[k]``."""
    edges_ns = np.concatenate(([min(start_ns, int(t_ns[0]))], t_ns, [max(end_ns, int(t_ns[-1]))]))
    inside_ns = np.diff(np.clip(edges_ns, start_ns, end_ns))
    return float((holds_w * inside_ns).sum() / NS_PER_S)


def node_energies(attempts: Iterable[tuple[Attempt, Ns]]) -> dict[str, float]:
    """Energy of the machines of a run by each kind of meter.

    Ranks of one machine see the same meter, which counts once; machines and attempts add up. The
    nodes' SLURM meter holds all machines of a job by itself.

    Args:
        attempts: Attempts of ranks, each with the edges of its timeline.

    Returns:
        Joules by method; NaN where a machine lacks the meter, or it does not cover an attempt: a
        part would read as a smaller whole. Empty where no machine has a meter.

    Example:
        >>> node_energies([])
        {}
    """
    meters: dict[str, dict[tuple[int, str], float]] = {}
    machines: dict[int, set[str]] = {}
    for attempt, edges_ns in attempts:
        machine = str(attempt.manifest.get("host"))
        machines.setdefault(attempt.attempt, set()).add(machine)
        for one in attempt.readings:
            if one.channel.scope != NODE or one.channel.primary:
                continue
            known = len(edges_ns) > 1
            energy_j = meter_energy(one, int(edges_ns[0]), int(edges_ns[-1])) if known else math.nan
            found = meters.setdefault(one.channel.method, {})
            key = (attempt.attempt, one.channel.device_key)
            if not math.isfinite(found.get(key, math.nan)):
                found[key] = energy_j
    return {
        method: sum(found.values()) if _is_whole(method, found, machines) else math.nan
        for method, found in meters.items()
    }


def _is_whole(
    method: str, found: dict[tuple[int, str], float], machines: dict[int, set[str]]
) -> bool:
    """Whether every machine of every attempt has told this meter."""
    for attempt, hosts in machines.items():
        keys = [key for number, key in found if number == attempt]
        told = {key.partition("/")[0] for key in keys}
        if not keys or (method != ALL_NODES and not hosts <= told):
            return False
    return True
