"""What this machine can tell of its energy, and what a run on it would miss."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import greenai
from greenai import sensors
from greenai.diagnosis import CrossCheck, Vitals, changes, cross_check, seen_of, vitals
from greenai.examination import MarkCost, mark_cost, poll
from greenai.sensors.load import LoadMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenai.examination import Poll
    from greenai.sensors import Channel, Refusal, Sensor

State = Literal["works", "refused", "absent", "unneeded"]

SCHEMA_VERSION = 1
SECONDS = 3.0
"""Thirty changes of a counter that is refreshed every 100 ms."""
REST_RATIO = 0.1
"""A device that is busy for a smaller share of the time counts as being at rest; the doctor's own
polling keeps a few percent of two CPU cores busy."""
ENERGY = ("energy_j", "power_w")
INFORMING = (
    "power_limit_w",
    "temperature_c",
    "utilization_ratio",
    "memory_used_bytes",
    "clock_hz",
)
MISSING = {
    "gpu": "GPU energy: no GPU of this process can be metered.",
    "cpu": "CPU energy: neither a counter nor a model is at hand.",
    "dram": "DRAM energy: neither a counter nor a model is at hand.",
}
BEYOND = "Fans, disks, network and power supplies: nothing here meters the whole machine."
BESIDE = "Fans, disks, network and power supplies: metered with the whole machine, beside the sum."


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One device of an interface, or an interface that gives none.

    Attributes:
        sensor: Name of the interface.
        state: ``works``; ``refused`` (the hint mends it); ``absent`` from this machine;
            ``unneeded`` because a counter does its work.
        reason: Why it does not work; empty where it does.
        hint: The one command that mends it; empty where nothing does.
        channel: What is metered; None where the interface gives no device.
        beside: Whether the channel is shown beside a run's energy and not summed into it.
        vitals: What was measured of the channel.
        busy_ratio: Share of the time in which the device worked; NaN where nothing tells.
        check: The counter against power of the same device; None where it has not both.
        informing: Latest value of what else is known of the device, by quantity.
    """

    sensor: str
    state: State
    reason: str = ""
    hint: str = ""
    channel: Channel | None = None
    beside: bool = False
    vitals: Vitals = dataclasses.field(default_factory=Vitals)
    busy_ratio: float = math.nan
    check: CrossCheck | None = None
    informing: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def at_rest(self) -> bool | None:
        """Whether the device was at rest; None where nothing tells."""
        return None if math.isnan(self.busy_ratio) else self.busy_ratio < REST_RATIO


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        rows: One for each device that opens and each interface that gives none.
        missing: What a run's totals would lack, in sentences.
        seconds: How long each interface was read.
        cost: What a mark costs the training thread here.
    """

    rows: list[Row]
    missing: list[str]
    seconds: float = SECONDS
    cost: MarkCost = dataclasses.field(default_factory=MarkCost)

    @property
    def measured(self) -> bool:
        """Whether at least one source works that is measured, not modelled or assumed."""
        return any(_measures(row) for row in self.rows)

    @property
    def summed(self) -> bool:
        """Whether anything of that is summed into a run's energy."""
        return any(_measures(row) and not row.beside for row in self.rows)


def examine(
    wanted: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    *,
    seconds: float = SECONDS,
    proc: str = "/proc",
    sys_root: str = "/sys",
    say: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Open every sensor, read it for a while and close it.

    Args:
        wanted: Names of sensors; None tries all that measure.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        seconds: How long to read each interface, one after the other.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.
        say: Takes a line on what is going on.

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
    openers = sensors.openers(wanted, devices, proc=proc, sys_root=sys_root)
    for number, (name, opener) in enumerate(openers.items(), start=1):
        say(f"{number} of {len(openers)}: opening {name}")
        opened, refusals = opener()
        for sensor in opened:
            say(f"{number} of {len(openers)}: reading {name} for {seconds:g} s")
            rows += _examined(name, sensor, seconds, proc)
        rows += [_row_of(name, refusal) for refusal in refusals]
        if not opened and not refusals:
            why = "Counters are readable: no model is used beside them."
            rows.append(Row(name, "unneeded", why))
    say("timing marks")
    return Diagnosis(rows, _missing(rows), seconds, mark_cost())


def to_json(found: Diagnosis) -> dict[str, Any]:
    """Plain values for scripts; what is not known, or does not apply, is None and never 0.

    Keys: ``schema_version`` (1; keys are added, never renamed), ``greenai_version``, ``seconds``,
    ``measured`` (exit code 0), ``missing`` (sentences), ``mark_us`` and ``step_us`` (medians), and
    ``rows``, each with ``sensor``, ``state`` (works, refused, absent, unneeded), ``reason``,
    ``hint``; of a device ``device``, ``device_key``, ``model``, ``kind``, ``quantity``, ``method``,
    ``trust``, ``scope``, ``beside`` (true: not summed); as measured ``reads``, ``failed_reads``,
    ``latency_p50_us``, ``latency_p95_us``, ``refresh_changes``, ``refresh_resolved`` (false: not
    slower than ``refresh_ms``), ``refresh_ms`` (median), ``refresh_p5_ms``, ``refresh_p95_ms``,
    ``refresh_dating_ms`` (half a bracket), ``power_w``, ``noise_w``, ``noise_dating_w``,
    ``busy_ratio``, ``at_rest``, ``idle_power_w`` (``power_w`` of a device at rest),
    ``counter_against_power`` (agree, differ, too short to tell), ``counter_minus_power_percent``,
    ``counter_minus_power_uncertainty_percent`` (95 %);
    and what informs: ``power_limit_w``, ``temperature_c``, ``memory_used_bytes``, ``clock_hz``.

    Example:
        >>> plain = to_json(Diagnosis([Row("rapl", "absent", "No counter.")], []))
        >>> plain["measured"], plain["rows"][0]["power_w"], plain["mark_us"]
        (False, None, None)
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "greenai_version": greenai.__version__,
        "seconds": found.seconds,
        "measured": found.measured,
        "missing": found.missing,
        "mark_us": _known(found.cost.mark_us),
        "step_us": _known(found.cost.step_us),
        "rows": [_plain_row(row) for row in found.rows],
    }


def _plain_row(row: Row) -> dict[str, Any]:
    channel, check = row.channel, row.check
    about = ("device", "device_key", "model", "kind", "quantity", "method", "trust", "scope")
    numbers = dataclasses.asdict(row.vitals)
    del numbers["reason"]
    if channel is None:
        numbers |= dict.fromkeys(("reads", "failed_reads"))
    if channel is None or channel.trust != "measured" or not row.vitals.reads:
        numbers |= dict.fromkeys(("refresh_changes", "refresh_resolved"))
    facts = {name: row.informing.get(name) for name in INFORMING if name != "utilization_ratio"}
    plain = {
        "sensor": row.sensor,
        "state": row.state,
        "reason": row.reason,
        "hint": row.hint,
        **{name: getattr(channel, name, None) for name in about},
        "beside": row.beside if channel else None,
        **numbers,
        "busy_ratio": row.busy_ratio,
        "at_rest": row.at_rest,
        "idle_power_w": row.vitals.power_w if row.at_rest else None,
        "counter_against_power": check.verdict if check else None,
        "counter_minus_power_percent": check.percent if check else None,
        "counter_minus_power_uncertainty_percent": check.uncertainty_percent if check else None,
        **facts,
    }
    return {name: _known(value) for name, value in plain.items()}


def _known(value: Any) -> Any:
    """None for what is unknown: NaN, infinity, an empty text."""
    if value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _examined(name: str, sensor: Sensor, seconds: float, proc: str) -> list[Row]:
    """One row for each device of an open sensor."""
    load = _load_meter(proc)
    try:
        polls = poll(sensor, seconds)
        busy = load.read() if load else None
    finally:
        sensor.close()
        if load:
            load.close()
    host_ratio = busy.ratio if busy else math.nan
    shown = [
        (position, channel)
        for position, channel in enumerate(sensor.channels)
        if channel.primary or _is_beside(channel, sensor.channels)
    ]
    return [_device_row(name, sensor, polls, host_ratio, one, channel) for one, channel in shown]


def _is_beside(channel: Channel, channels: Sequence[Channel]) -> bool:
    """Whether a channel that is not summed stands for something that no summed one covers."""
    return channel.quantity in ENERGY and not any(
        other.primary and (other.device_key, other.kind) == (channel.device_key, channel.kind)
        for other in channels
    )


def _device_row(
    name: str,
    sensor: Sensor,
    polls: list[Poll],
    host_ratio: float,
    position: int,
    channel: Channel,
) -> Row:
    found = vitals(polls, position, channel)
    informing: dict[str, float] = {}
    check = None
    for other, fact in enumerate(sensor.channels):
        if fact.device_key != channel.device_key or fact.kind != channel.kind:
            continue
        seen = seen_of(polls, other, fact)
        if fact.quantity in INFORMING and seen:
            informing[fact.quantity] = seen[-1].value
        if fact.quantity == "power_w" and channel.quantity == "energy_j" and check is None:
            counter = changes(seen_of(polls, position, channel), channel.refresh_ns)
            check = cross_check(counter, seen)
    dead = found.failed_reads and not found.reads
    return Row(
        name,
        "refused" if dead else "works",
        found.reason,
        channel=channel,
        beside=not channel.primary,
        vitals=found,
        # The host's load says nothing of a GPU; a board's own figure is the best there is.
        busy_ratio=informing.get(
            "utilization_ratio", math.nan if channel.kind == "gpu" else host_ratio
        ),
        check=check,
        informing=informing,
    )


def _load_meter(proc: str) -> LoadMeter | None:
    try:
        return LoadMeter(proc)
    except OSError:
        return None


def _measures(row: Row) -> bool:
    return row.state == "works" and row.channel is not None and row.channel.trust == "measured"


def _missing(rows: Sequence[Row]) -> list[str]:
    working = [(row.channel, row.beside) for row in rows if row.state == "works" and row.channel]
    kinds = {channel.kind for channel, beside in working if not beside}
    node = any(channel.scope == "node" for channel, _ in working)
    return [text for kind, text in MISSING.items() if kind not in kinds] + [
        BESIDE if node else BEYOND
    ]


def _row_of(name: str, refusal: Refusal) -> Row:
    return Row(name, "refused" if refusal.hint else "absent", refusal.reason, refusal.hint)
