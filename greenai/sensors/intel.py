"""Intel GPUs through the kernel's hwmon files: the energy counter of the drivers i915 and xe.

``energy1_input`` counts microjoules of the whole device (i915 since Linux 6.2, xe). The register
has 32 bits; the kernel adds its wraps up as long as someone reads it now and then, so the file's
value does not wrap (kernel: Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon). xe gives the
card as ``energy1`` and its package alone as ``energy2``; i915 lists its tiles as hwmon entries of
their own (``i915_gt0``), which are parts of the device and left out. No package is needed; Level
Zero reads the same registers, and wrongly on some boards (intel/compute-runtime issue 938).
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors import hwmon
from greenai.sensors.base import Channel, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.lines import INFORM_NS, REFRESH_UNKNOWN_NS, Line, LinesSensor
from greenai.units import NS_PER_MS, UJ_PER_J

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.sensors.base import Quantity

ROOT = "/sys/class/drm"
PERIOD_NS = 20 * NS_PER_MS
DRIVERS = ("i915", "xe")
CARD = re.compile(r"card\d+")
CARD_ENERGY, PACKAGE_ENERGY = "1", "2"
LIMITS = ("max", "rated_max", "cap", "crit")
HEADROOM = 1.2
"""A board's limit holds over a second or so; for moments it draws more."""
REMEDY = "sudo chmod a+r /sys/class/drm/card*/device/hwmon/hwmon*/energy*_input"


class Card(NamedTuple):
    """One GPU with a counter.

    Attributes:
        place: Its number in the kernel's list.
        address: Where it is plugged in: PCI bus address.
        folder: Its hwmon folder.
        counter: Number of its energy file: 1 the card, 2 its package.
    """

    place: int
    address: str
    folder: Path
    counter: str


def open_intel(
    root: str = ROOT, proc: str = "/proc", devices: list[str] | None = None
) -> tuple[list[Sensor], list[Refusal]]:
    """Open every Intel GPU whose counter may be read.

    Args:
        root: Folder of the graphics cards.
        proc: Root of the proc file system, for the host's identity.
        devices: PCI addresses or ends of them; None takes all, whatever ZE_AFFINITY_MASK says.
            UUIDs of other makers name none.

    Returns:
        One sensor for all GPUs, or none; and what is refused.
    """
    lines: list[Line] = []
    failures: list[tuple[Path, str]] = []
    for card in _cards(root):
        if devices is not None and not any(card.address.endswith(name) for name in devices):
            continue
        path = card.folder / f"energy{card.counter}_input"
        try:
            hwmon.number(path)
        except hwmon.FAILURES as error:
            failures.append((path, hwmon.why(error)))
            continue
        lines += _lines(card, host_id(proc), assumed_used=devices is None)
    refusals = [_refused(failures)] if failures else []
    if not lines and not failures:
        chosen = "" if devices is None else f" among {', '.join(devices) or 'none'}"
        reason = f"This machine has no Intel GPU with an energy counter{chosen}."
        refusals = [Refusal("intel", reason)]
    return [LinesSensor("intel", lines, PERIOD_NS)] if lines else [], refusals


def _cards(root: str) -> Iterator[Card]:
    for card in hwmon.numbered(Path(root), "card*"):
        if not CARD.fullmatch(card.name):  # card0-DP-1 is a plug of card0
            continue
        for folder in hwmon.numbered(card / "device" / "hwmon", "hwmon*"):
            if hwmon.word(folder / "name") not in DRIVERS:
                continue
            counters = [
                counter
                for counter in (CARD_ENERGY, PACKAGE_ENERGY)
                if (folder / f"energy{counter}_input").exists()
            ]
            if counters:
                address = (card / "device").resolve().name
                yield Card(int(card.name.removeprefix("card")), address, folder, counters[0])
                break


def _lines(card: Card, host: str, *, assumed_used: bool) -> list[Line]:
    energy = card.folder / f"energy{card.counter}_input"
    whole = card.counter == CARD_ENERGY
    limit_w = _limit_w(card)
    power_max_w = HEADROOM * limit_w if whole else math.nan

    def channel(quantity: Quantity, method: str, *, primary: bool) -> Channel:
        return Channel(
            quantity=quantity,
            kind="gpu",
            device=f"intel-gpu{card.place}",
            device_key=f"{host}/{card.address}",
            method=method,
            trust="measured",
            primary=primary,
            refresh_ns=REFRESH_UNKNOWN_NS if primary else INFORM_NS,
            power_max_w=power_max_w,
            vendor="Intel",
            scope="" if whole else "package: without the card's memory and its losses",
            assumed_used=assumed_used,
        )

    lines = [
        Line(
            channel("energy_j", "intel_hwmon_energy", primary=True),
            lambda: hwmon.number(energy) / UJ_PER_J,
            hwmon.FAILURES,
        )
    ]
    if math.isfinite(limit_w):
        informing = channel("power_limit_w", "intel_hwmon", primary=False)
        lines.append(Line(informing, lambda: _limit_w(card), hwmon.FAILURES, INFORM_NS))
    return lines


def _limit_w(card: Card) -> float:
    """Highest limit that the card names; NaN where it names none (0 is a limit switched off)."""
    limits_uw = []
    for name in LIMITS:
        try:
            limits_uw.append(hwmon.number(card.folder / f"power{card.counter}_{name}"))
        except hwmon.FAILURES:
            continue
    known = [limit for limit in limits_uw if limit > 0]
    return max(known) / UJ_PER_J if known else math.nan


def _refused(failures: list[tuple[Path, str]]) -> Refusal:
    path, why = failures[0]
    others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    return Refusal("intel", f"Energy counter is not readable: {path} ({why}){others}.", REMEDY)
