"""Package and DRAM energy of CPUs (Intel and AMD RAPL), from powercap files or perf events.

Packages and DRAM are summed; cores, uncore and ``psys``, which are parts of them or contain them,
are recorded once a second for information. The registers are refreshed about every millisecond
(kernel: hwmon/amd_energy) and wrap every 1 to 10 minutes under load. ``energy_uj`` is readable by
root alone since kernel 5.10 (CVE-2020-8694): what is closed there is opened as a perf event.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors.base import Channel, Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.perf_events import (
    PerfEvent,
    Syscall,
    count_of,
    perf_event_open,
    perf_events,
    rights,
)
from greenai.sensors.rapl_zones import Domain, Zone, hidden, vendor_of, zones
from greenai.units import NS_PER_MS, NS_PER_S, UJ_PER_J

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.sensors.base import Kind

REFRESH_NS = NS_PER_MS
PERIOD_NS = 100 * NS_PER_MS
INFORM_NS = NS_PER_S
"""Counters that are not summed are read this often."""
REMEDY = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
REMEDY_OF_EVENTS = "sudo sysctl kernel.perf_event_paranoid=0"
REMEDY_IN_CONTAINER = "start the container with --cap-add PERFMON"
NUMBER_BYTES = 32
SUMMED = {"package", "dram"}
KINDS: dict[str, Kind] = {
    "package": "cpu",
    "dram": "dram",
    "core": "cpu",
    "uncore": "cpu",
    "psys": "other",
}
HIGHEST_J = 8e9
"""Perf counters begin below this, the later the lower; all stays exact in microjoules (2**53)."""
LOWER_J_PER_S = 100.0


class OpenCounter(NamedTuple):
    """A counter that we hold.

    Attributes:
        domain: What it counts.
        descriptor: Of its file or of its perf event.
        zone: Its folder in the powercap tree, for its limits; None where it has none.
        event: The perf event; None for a file.
        base_j: What a perf counter's zero is read as.
    """

    domain: Domain
    descriptor: int
    zone: Zone | None
    event: PerfEvent | None = None
    base_j: float = 0.0

    def read_j(self) -> tuple[float, str]:
        """Joules; (NaN, reason) where the read fails: neither a zero nor a wrap."""
        if self.event is None:
            return _energy_j(self.descriptor)
        count, reason = count_of(self.descriptor)
        if reason:
            return math.nan, reason
        return round(self.base_j + count * self.event.unit_j, 6), ""


class _Failure(NamedTuple):
    """Why one way to a counter is closed."""

    where: str
    why: str
    denied: bool
    by_event: bool


class RaplSensor:
    """Open RAPL counters.

    Args:
        counters: Each domain once.
        host: Identity of the host.
    """

    name = "rapl"
    period_ns = PERIOD_NS

    def __init__(self, counters: list[OpenCounter], host: str) -> None:
        self.channels = tuple(_channel(counter, host) for counter in counters)
        self._counters = list(counters)
        self._inform_ns = 0

    def read(self) -> list[Reading]:
        """Read every counter that is due; NaN with a reason where one cannot be read."""
        readings = []
        now_ns = monotonic_ns()
        inform = now_ns >= self._inform_ns
        if inform:
            self._inform_ns = now_ns + INFORM_NS
        for position, counter in enumerate(self._counters):
            if inform or self.channels[position].primary:
                t0_ns = monotonic_ns()
                value, reason = counter.read_j()
                readings.append(Reading(position, t0_ns, monotonic_ns(), value, reason))
        return readings

    def close(self) -> None:
        """Close the counters; a second call does nothing."""
        while self._counters:
            with contextlib.suppress(OSError):
                os.close(self._counters.pop().descriptor)


def open_rapl(
    sys_root: str = "/sys", proc: str = "/proc", syscall: Syscall = perf_event_open
) -> tuple[list[Sensor], list[Refusal]]:
    """Open every counter that may be read, as a file or else as a perf event.

    Args:
        sys_root: Root of the sys file system.
        proc: Root of the proc file system.
        syscall: Opens a perf event.

    Returns:
        One sensor with all counters, or none; and what is refused, in one sentence.
    """
    opened, failures = _open_all(sys_root, proc, syscall)
    sensors: list[Sensor] = [RaplSensor(opened, host_id(proc))] if opened else []
    if failures:
        return sensors, [_refused(failures, sys_root, proc)]
    if any(counter.domain.part in SUMMED for counter in opened):
        return sensors, []
    root = _root(sys_root)
    if hidden(root):
        reason = f"RAPL counters are hidden here: {root} lists zones that cannot be read."
        return sensors, [Refusal("rapl", reason, REMEDY_IN_CONTAINER)]
    reason = f"This machine has no RAPL counter: no package in {root}, no PMU named power."
    return sensors, [Refusal("rapl", reason)]


def readable_kinds(
    sys_root: str = "/sys", proc: str = "/proc", syscall: Syscall = perf_event_open
) -> set[Kind]:
    """Kinds of energy for which at least one summed counter can be read right now.

    Example:
        >>> readable_kinds("/nonexistent")
        set()
    """
    opened, _ = _open_all(sys_root, proc, syscall)
    kinds = {
        KINDS[counter.domain.part]
        for counter in opened
        if counter.domain.part in SUMMED and not counter.read_j()[1]
    }
    for counter in opened:
        os.close(counter.descriptor)
    return kinds


def _root(sys_root: str) -> str:
    return f"{sys_root}/class/powercap"


def _open_all(
    sys_root: str, proc: str, syscall: Syscall
) -> tuple[list[OpenCounter], dict[Domain, list[_Failure]]]:
    """Open each domain once; say of those that are summed which cannot be opened, and why.

    A domain's zones are mirrors of one counter, so the first that opens is taken; where none
    does, its perf event is.
    """
    vendor = vendor_of(proc)
    opened: dict[Domain, OpenCounter] = {}
    failures: dict[Domain, list[_Failure]] = {}
    limits: dict[Domain, Zone] = {}
    for zone in zones(_root(sys_root), vendor):
        limits.setdefault(zone.domain, zone)
        if zone.domain in opened:
            continue
        try:
            descriptor = os.open(zone.counter, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            failures.setdefault(zone.domain, []).append(_failure(str(zone.counter), error))
        else:
            opened[zone.domain] = OpenCounter(zone.domain, descriptor, zone)
    in_tree = list(opened)
    for event in perf_events(sys_root, vendor):
        if event.domain in opened or _is_counted(event.domain, in_tree):
            continue
        try:
            descriptor = syscall(event.pmu_type, event.config, event.cpu)
        except OSError as error:
            where = f"perf event of CPU {event.cpu}"
            failures.setdefault(event.domain, []).append(_failure(where, error, by_event=True))
        else:
            zone_of_limits = limits.get(event.domain)
            opened[event.domain] = OpenCounter(
                event.domain, descriptor, zone_of_limits, event, _base_j()
            )
    missing = {
        domain: why
        for domain, why in failures.items()
        if domain.part in SUMMED and not _is_counted(domain, opened)
    }
    return sorted(opened.values(), key=_order), missing


def _failure(where: str, error: OSError, *, by_event: bool = False) -> _Failure:
    denied = error.errno in {errno.EACCES, errno.EPERM}
    return _Failure(where, error.strerror or str(error), denied, by_event)


def _is_counted(domain: Domain, counted: Iterable[Domain]) -> bool:
    """Whether a domain, its package as a whole or a die of it is among these."""
    return any(
        other.part == domain.part
        and (
            other.package == domain.package
            or other.package.startswith(f"{domain.package}-die-")
            or domain.package.startswith(f"{other.package}-die-")
        )
        for other in counted
    )


def _base_j() -> float:
    """What zero is read as: less at each opening, so that a fresh counter shows as a reset.

    A perf counter that is opened again (by a sampler that took over) begins at zero; had it not
    dropped, it could pass for the earlier one and the difference for energy.
    """
    return HIGHEST_J - LOWER_J_PER_S * (monotonic_ns() / NS_PER_S)


def _order(counter: OpenCounter) -> tuple[list[float], int]:
    """Packages by number with what stands beside or in them; the platform last."""
    numbers = [float(word) for word in counter.domain.package.split("-") if word.isdigit()]
    return numbers or [math.inf], list(KINDS).index(counter.domain.part)


INSIDE = ("core", "uncore")
"""Parts of a package that are things of their own: a key of the package alone is the whole."""


def _channel(counter: OpenCounter, host: str) -> Channel:
    part, package = counter.domain
    device = {"package": f"cpu-{package}", "psys": package}.get(
        part, package.replace("package", part, 1)
    )
    of_file = counter.event is None and counter.zone is not None
    wrap_j = counter.zone.range_j() if of_file and counter.zone else None
    return Channel(
        quantity="energy_j",
        kind=KINDS[part],
        device=device,
        device_key=f"{host}/{package}" + (f"/{part}" if part in INSIDE else ""),
        method="rapl" if of_file else "rapl_perf",
        trust="measured",
        primary=part in SUMMED,
        refresh_ns=REFRESH_NS,
        wrap_j=wrap_j,
        power_max_w=counter.zone.power_max_w() if counter.zone else math.nan,
        scope="range unknown: a drop is a reset" if of_file and wrap_j is None else "",
    )


def _energy_j(descriptor: int) -> tuple[float, str]:
    """Read a counter's file from its start; (NaN, reason) where that fails."""
    try:
        raw = os.pread(descriptor, NUMBER_BYTES, 0)
    except OSError as error:
        return math.nan, f"the counter cannot be read: {error.strerror or error}"
    text = raw.strip()
    if not text.isdigit():
        return math.nan, f"the counter reads {raw[:NUMBER_BYTES]!r}, which is no number"
    return int(text) / UJ_PER_J, ""


def _refused(failures: dict[Domain, list[_Failure]], sys_root: str, proc: str) -> Refusal:
    """One sentence on the first counter that is closed, and the one command that opens all."""
    first = ", ".join(f"{one.where} ({one.why})" for one in next(iter(failures.values())))
    others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    denied = {one.by_event for all_of in failures.values() for one in all_of if one.denied}
    asked = f"; {rights(proc)}" if True in denied else ""
    hint = ""
    if False in denied:
        hint = REMEDY
    elif True in denied:
        hint = REMEDY_IN_CONTAINER if hidden(_root(sys_root)) else REMEDY_OF_EVENTS
    return Refusal("rapl", f"RAPL counter is not readable: {first}{others}{asked}.", hint)
