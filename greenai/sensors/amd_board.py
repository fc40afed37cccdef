"""One AMD board: what amdsmi tells of it, in our units, and what of that is worth reading."""

from __future__ import annotations

import dataclasses
import math
import time
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors.base import Channel
from greenai.sensors.lines import INFORM_NS, Line, Stamped
from greenai.units import NS_PER_MS, UJ_PER_J

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors.base import Quantity

PERIOD_NS = 20 * NS_PER_MS
POWER_REFRESH_NS = 100 * NS_PER_MS
REFRESH_LEAST_NS = 2 * NS_PER_MS
"""The driver hands out its table again for a millisecond."""
UNIT_J = 2.0**-16
UNIT_ROUNDED_UJ = (15.2, 15.4)
"""amdsmi says 15.3 µJ where the unit is 15.259."""
CAP_W_MAX = 10_000
"""A power cap above this is in microwatts: versions of amdsmi differ."""
MIB = 2**20
HEADROOM = 1.2
MODULE_NAMES = ("MI300A",)
"""Products whose accumulator covers the CPU cores and the memory of the socket too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Die:
    """One GPU as amdsmi and HIP list it: a board, a partition of one, or one of two dies.

    Attributes:
        handle: Of amdsmi.
        index: Its place in HIP's order, where amdsmi tells it, else in amdsmi's own.
        uuid: As HIP and torch give it.
        board: Bus address without the function, which partitions share.
        model: Product name; empty where unknown.
        is_ordered: Whether the place is HIP's.
    """

    handle: Any
    index: int
    uuid: str
    board: str
    model: str
    is_ordered: bool


@dataclasses.dataclass(slots=True)
class Watch:
    """What a die's counter and power said while they were watched.

    Attributes:
        die: Which one.
        first: First value in joules; None where there was none.
        first_ns: When that was.
        last: Latest value.
        last_ns: When that was.
        gap_ns: Longest time between two changes.
        changes: How often the value changed.
        powers_w: Reported powers.
        fault: Why the counter is not used; empty where it is.
    """

    die: Die
    first: float | None = None
    first_ns: int = 0
    last: float = math.nan
    last_ns: int = 0
    gap_ns: int = 0
    changes: int = 0
    powers_w: list[float] = dataclasses.field(default_factory=list)
    fault: str = ""
    changed_ns: int = 0

    @property
    def power_w(self) -> float:
        """Mean reported power; 0 where none was reported."""
        return sum(self.powers_w) / len(self.powers_w) if self.powers_w else 0.0

    @property
    def refresh_ns(self) -> int:
        """Upper bound on the age of a value: twice the longest time seen between two changes."""
        return max(REFRESH_LEAST_NS, 2 * self.gap_ns)

    def take(self, t_ns: int, value: float) -> None:
        """Take one value of the counter."""
        if self.first is None:
            self.first, self.first_ns = value, t_ns
        elif value != self.last:
            if self.changes:
                self.gap_ns = max(self.gap_ns, t_ns - self.changed_ns)
            self.changes += 1
            self.changed_ns = t_ns
        self.last, self.last_ns = value, t_ns


def dies_of(smi: Any) -> list[Die]:
    """All GPUs in HIP's order.

    Raises:
        smi.AmdSmiException: amdsmi lists none.
    """
    dies: list[Die] = []
    for place, handle in enumerate(smi.amdsmi_get_processor_handles()):
        told = _ask(smi, "amdsmi_get_gpu_enumeration_info", handle)  # since ROCm 6.4
        asic = _ask(smi, "amdsmi_get_gpu_asic_info", handle)
        address = str(_ask(smi, "amdsmi_get_gpu_device_bdf", handle) or f"gpu-{place}")
        serial = str(asic.get("asic_serial") or "").lower().removeprefix("0x")
        uuid = str(told.get("hip_uuid") or "") or f"GPU-{serial or address}"
        taken = any(die.uuid == uuid for die in dies)
        model = asic.get("market_name")
        hip = told.get("hip_id")
        dies.append(
            Die(
                handle=handle,
                index=hip if isinstance(hip, int) else place,
                uuid=f"{uuid}-{place}" if taken else uuid,
                board=address.rpartition(".")[0] or address,
                model="" if model in {None, "N/A"} else str(model),
                is_ordered=isinstance(hip, int),
            )
        )
    return sorted(dies, key=lambda die: die.index)


def energy_of(smi: Any, die: Die) -> Stamped:
    """Energy that the accumulator shows, and when; raises where it shows none."""
    told = smi.amdsmi_get_energy_count(die.handle)
    count = _real(told.get("energy_accumulator", told.get("power")))
    unit_uj = _real(told.get("counter_resolution"))
    low_uj, high_uj = UNIT_ROUNDED_UJ
    unit_j = UNIT_J if low_uj < unit_uj < high_uj else unit_uj / UJ_PER_J
    stamp = told.get("timestamp")
    t_ns = stamp - _boot_lead_ns() if isinstance(stamp, int) and stamp > 0 else -1
    return Stamped(count * unit_j, t_ns)


def power_of(smi: Any, die: Die) -> float:
    """Power of the socket in watts; raises where it is not told."""
    told = smi.amdsmi_get_power_info(die.handle)
    for name in ("current_socket_power", "average_socket_power", "socket_power"):
        if isinstance(told.get(name), int | float):
            return float(told[name])
    raise ValueError("amdsmi tells no power of this GPU")


def board_lines(
    smi: Any, watch: Watch, key: str, *, shared: bool, assumed_used: bool
) -> list[Line]:
    """Lines of one board: its energy, or its power where the counter is not used; and facts.

    Args:
        smi: The module amdsmi, initialised.
        watch: What was seen of the die that tells the board's energy.
        key: UUID under which the board is counted.
        shared: Whether the process uses only some of the board's partitions.
        assumed_used: Whether it is metered only because the process could use it.
    """
    die, fault = watch.die, watch.fault
    limit_w = _ask_number(lambda: _limit_of(smi, die), smi)
    module = any(name in die.model for name in MODULE_NAMES)
    unordered = "" if die.is_ordered else "order assumed"
    scope = "shared" if shared else "module" if module else fault or unordered

    def line(
        quantity: Quantity, method: str, call: Callable[[], float | Stamped], refresh_ns: int
    ) -> Line:
        primary = method == "amdsmi_energy" or (method == "amdsmi_power" and bool(fault))
        channel = Channel(
            quantity=quantity,
            kind="gpu",
            device=f"amd-gpu{die.index}",
            device_key=key,
            method=method,
            trust="measured",
            primary=primary,
            refresh_ns=refresh_ns,
            power_max_w=math.nan if module else HEADROOM * limit_w,
            model=die.model,
            vendor="AMD",
            scope=scope,
            assumed_used=assumed_used,
        )
        return Line(channel, call, failures, 0 if primary else INFORM_NS)

    failures = (smi.AmdSmiException, ValueError)
    lines = []
    if not fault:
        counted = line("energy_j", "amdsmi_energy", lambda: energy_of(smi, die), watch.refresh_ns)
        lines.append(counted)
    facts: list[tuple[Quantity, str, Callable[[], float]]] = [
        ("power_w", "amdsmi_power", lambda: power_of(smi, die)),
        ("temperature_c", "amdsmi", lambda: _temperature_of(smi, die)),
        ("power_limit_w", "amdsmi", lambda: _limit_of(smi, die)),
        ("utilization_ratio", "amdsmi", lambda: _busy_of(smi, die)),
        ("memory_used_bytes", "amdsmi", lambda: _memory_of(smi, die)),
    ]
    for quantity, method, call in facts:
        if not math.isnan(_ask_number(call, smi)):
            integrated = bool(fault) and quantity == "power_w"
            refresh_ns = POWER_REFRESH_NS if integrated else INFORM_NS
            lines.append(line(quantity, method, call, refresh_ns))
    return lines


def _limit_of(smi: Any, die: Die) -> float:
    cap = _real(smi.amdsmi_get_power_cap_info(die.handle).get("power_cap"))
    if cap <= 0:
        raise ValueError("amdsmi tells no power cap of this GPU")
    return cap / UJ_PER_J if cap > CAP_W_MAX else cap


def _temperature_of(smi: Any, die: Die) -> float:
    kind = smi.AmdSmiTemperatureType.HOTSPOT
    now = smi.AmdSmiTemperatureMetric.CURRENT
    return _real(smi.amdsmi_get_temp_metric(die.handle, kind, now))


def _busy_of(smi: Any, die: Die) -> float:
    return _real(smi.amdsmi_get_gpu_activity(die.handle).get("gfx_activity")) / 100


def _memory_of(smi: Any, die: Die) -> float:
    return _real(smi.amdsmi_get_gpu_vram_usage(die.handle).get("vram_used")) * MIB


def _ask(smi: Any, name: str, handle: Any) -> Any:
    """Answer of a call; an empty one where this version or board has none."""
    call = getattr(smi, name, None)
    try:
        return {} if call is None else call(handle)
    except smi.AmdSmiException:
        return {}


def _ask_number(call: Callable[[], float], smi: Any) -> float:
    try:
        return call()
    except (smi.AmdSmiException, ValueError, AttributeError):
        return math.nan


def _real(value: Any) -> float:
    """Take a number as it is; "N/A" and None are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"amdsmi says {value!r} where a number was asked for")  # noqa: TRY004 - it is a value that is wrong, whatever its type
    return float(value)


def _boot_lead_ns() -> int:
    """How far the clock of boot time is ahead of ours: the time that the machine was suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - monotonic_ns()
