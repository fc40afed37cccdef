"""Habana Gaudi through pyhlml: the energy counter, or power that is integrated where there is none.

The counter counts millijoules since the driver was loaded, power is in milliwatts (pyhlml's
docstrings); how often they are refreshed is not documented. The library is libhlml.so of the
driver's own packages. On machines that several jobs share HABANA_VISIBLE_MODULES names the modules
that a process may use.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.sensors import bindings
from greenai.sensors.base import Channel, Refusal, Sensor
from greenai.sensors.lines import INFORM_NS, REFRESH_UNKNOWN_NS, Line, LinesSensor
from greenai.units import MJ_PER_J, NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greenai.sensors.base import Quantity

DRIVER = "module/habanalabs"
PERIOD_NS = 20 * NS_PER_MS
MW_PER_W = 1_000
HEADROOM = 1.2
INSTALL = 'pip install "greenai[habana]"'


class Card:
    """One accelerator; its handle is asked for anew after a failure.

    Args:
        hlml: The module pyhlml, initialised.
        index: Its place in the library's list.

    Raises:
        hlml.HLMLError: It does not answer.
    """

    def __init__(self, hlml: Any, index: int) -> None:
        self._hlml = hlml
        self._handle: Any = hlml.hlmlDeviceGetHandleByIndex(index)
        self.index = index
        self.uuid = _text(hlml.hlmlDeviceGetUUID(self._handle))
        self.model = _text(hlml.hlmlDeviceGetName(self._handle))
        self.module = self.ask(lambda: float(hlml.hlmlDeviceGetModuleID(self._handle)))
        self.limit_w = self.ask(self.power_limit_w)

    def ask(self, call: Callable[[], float]) -> float:
        """Value of a call; NaN where this accelerator does not have it."""
        try:
            return call()
        except self._hlml.HLMLError:
            return math.nan

    def energy_j(self) -> float:
        """Energy since the driver was loaded."""
        return self._read(self._hlml.hlmlDeviceGetTotalEnergyConsumption) / MJ_PER_J

    def power_w(self) -> float:
        """Power."""
        return self._read(self._hlml.hlmlDeviceGetPowerUsage) / MW_PER_W

    def power_limit_w(self) -> float:
        """Power limit as it stands by default."""
        return self._read(self._hlml.hlmlDeviceGetPowerManagementDefaultLimit) / MW_PER_W

    def _read(self, call: Callable[[Any], int]) -> float:
        if self._handle is None:
            self._handle = self._hlml.hlmlDeviceGetHandleByUUID(self.uuid)
        try:
            return float(call(self._handle))
        except self._hlml.HLMLError:
            self._handle = None
            raise


def open_habana(
    sys_root: str = "/sys",
    devices: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[list[Sensor], list[Refusal]]:
    """Open the accelerators that the process uses.

    Args:
        sys_root: Root of the sys file system.
        devices: UUIDs of those to meter; None takes those that HABANA_VISIBLE_MODULES leaves.
        environment: Variables of the training process.

    Returns:
        One sensor for all, or none; and what is refused. Never raises.
    """
    if not Path(sys_root, DRIVER).exists():
        return [], [Refusal("habana", "This machine has no Habana accelerator.")]
    try:
        hlml = bindings.load("pyhlml")
    except ImportError as error:
        reason = f"There is a Habana accelerator, but pyhlml cannot be used: {error}."
        return [], [Refusal("habana", reason, INSTALL)]
    try:
        with bindings.quiet():
            hlml.hlmlInit()
    except hlml.HLMLError as error:
        reason = f"HLML does not start: {error}."
        return [], [Refusal("habana", reason, "install habanalabs-firmware-tools (libhlml.so)")]
    lines, refusals = _all_lines(hlml, devices, environment)

    def shut() -> None:
        with contextlib.suppress(hlml.HLMLError):
            hlml.hlmlShutdown()

    if not lines:
        shut()
        said = refusals or [Refusal("habana", "This process uses none of the accelerators here.")]
        return [], said
    return [LinesSensor("habana", lines, PERIOD_NS, shut)], refusals


def _all_lines(
    hlml: Any, devices: Sequence[str] | None, environment: Mapping[str, str]
) -> tuple[list[Line], list[Refusal]]:
    """Lines of the accelerators that are used; why others of them cannot be metered."""
    try:
        count = hlml.hlmlDeviceGetCount()
    except hlml.HLMLError as error:
        return [], [Refusal("habana", f"HLML lists no accelerators: {error}.")]
    lines: list[Line] = []
    refusals: list[Refusal] = []
    for index in range(count):
        try:
            card = Card(hlml, index)
        except hlml.HLMLError as error:
            reason = f"Accelerator {index} cannot be metered: {error}."
            refusals.append(Refusal("habana", reason, "see what hl-smi says of it"))
            continue
        if _is_used(card, devices, environment):
            own = _lines(card, (hlml.HLMLError,), assumed_used=devices is None)
            lines += own
            if not own:
                reason = f"Accelerator {index} tells neither energy nor power."
                refusals.append(Refusal("habana", reason, "see what hl-smi says of it"))
    return lines, refusals


def _is_used(card: Card, devices: Sequence[str] | None, environment: Mapping[str, str]) -> bool:
    if devices is not None:
        return any(card.uuid.startswith(name) for name in devices)
    modules = environment.get("HABANA_VISIBLE_MODULES")
    return modules is None or f"{card.module:.0f}" in [one.strip() for one in modules.split(",")]


def _lines(card: Card, failures: tuple[type[Exception], ...], *, assumed_used: bool) -> list[Line]:
    counted = not math.isnan(card.ask(card.energy_j))
    told: list[tuple[Quantity, str, Callable[[], float], bool]] = [
        ("energy_j", "hlml_energy", card.energy_j, True),
        ("power_w", "hlml_power", card.power_w, not counted),
        ("power_limit_w", "hlml", card.power_limit_w, False),
    ]
    lines = []
    for quantity, method, call, primary in told:
        if math.isnan(card.ask(call)):
            continue
        channel = Channel(
            quantity=quantity,
            kind="gpu",
            device=f"habana{card.index}",
            device_key=card.uuid,
            method=method,
            trust="measured",
            primary=primary,
            refresh_ns=REFRESH_UNKNOWN_NS if primary else INFORM_NS,
            power_max_w=HEADROOM * card.limit_w,
            model=card.model,
            vendor="Habana",
            assumed_used=assumed_used,
        )
        lines.append(Line(channel, call, failures, 0 if primary else INFORM_NS))
    return lines if any(line.channel.primary for line in lines) else []


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
