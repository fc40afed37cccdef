"""One NVIDIA board: which of its calls work, and reading one so that a fault stays its own."""

from __future__ import annotations

import math
import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors.base import Channel, Reading
from greenai.sensors.pacing import Pacing
from greenai.units import MJ_PER_J, NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors.base import Quantity
    from greenai.sensors.visible import Board

REFRESH_NS = 120 * NS_PER_MS
"""Longest refresh of the counter seen so far is 104 ms."""
INFORM_NS = NS_PER_S
POWER_NS = 20 * NS_PER_MS
"""Between two reads of a power that is integrated: five in a refresh of 100 ms."""
SEEN_SHARE = 0.25
"""A100 and H100 look at 25 of every 100 ms (Yang, Adamek, Armour, SC 2024); which boards see all
of the time, no call tells, so that this much is taken as known of every board."""
DITHER = random.Random()
"""Moves the reads about, so that none locks to a refresh by chance."""
POWER_INSTANT = 186
"""NVML_FI_DEV_POWER_INSTANT; named here because older bindings lack it."""
MW_PER_W = 1_000
HEADROOM = 1.2
"""Boards exceed the enforced limit for moments; a mean over a refresh by no more than this."""
GLITCH = 2.0
"""A counter that rises faster than this many times the greatest power has misread."""
RETRY_NS = tuple(seconds * NS_PER_S for seconds in (0, 1, 2, 4, 8, 15, 30, 60))
"""A board that does not answer is asked again at once, then less and less often."""
UNSUPPORTED = (2, 3, 4, 6, 13)
"""NVML return codes of a call that this board, driver or user does not have: invalid argument (a
field that is unknown), not supported, no permission, not found, function not found."""
MODULE_NAMES = ("GH200",)
"""Products whose energy counter covers CPU and memory of the module too (Zeus, PR 172)."""


class Line:
    """One channel of one GPU: its call, when it is due and what it said last.

    Args:
        gpu: The board.
        call: Reads the value.
        channel: What the value means.
        period_ns: Time between two reads where there is no pacing.
        pacing: When to read a counter; None reads once a period.
    """

    def __init__(
        self,
        gpu: Gpu,
        call: Callable[[Any], float],
        channel: Channel,
        period_ns: int,
        pacing: Pacing | None = None,
    ) -> None:
        self.gpu = gpu
        self.channel = channel
        self.due_ns = 0
        self.pacing = pacing
        self._call = call
        self._period_ns = period_ns
        self._last_j = math.nan
        self._changed_ns = 0
        self._failures = 0
        self._reason = ""

    def read(self, position: int) -> Reading:
        """Read now; NaN with a reason where the board does not answer or the value cannot be."""
        t0_ns = monotonic_ns()
        if self._failures and t0_ns < self.due_ns:
            return Reading(position, t0_ns, t0_ns, math.nan, self._reason)
        nvml = self.gpu.nvml
        try:
            if self._failures:
                self.gpu.handle = nvml.nvmlDeviceGetHandleByUUID(self.gpu.uuid)
                t0_ns = monotonic_ns()
            value = self._call(self.gpu.handle)
        except nvml.NVMLError as error:
            t1_ns = monotonic_ns()
            self.due_ns = t1_ns + RETRY_NS[min(self._failures, len(RETRY_NS) - 1)]
            self._failures += 1
            self._reason = f"NVML: {error}"
            if self.pacing is not None:
                self.pacing.forget()
            return Reading(position, t0_ns, t1_ns, math.nan, self._reason)
        t1_ns = monotonic_ns()
        self._failures = 0
        changed = value != self._last_j
        glitch = self._glitch(t1_ns, value) if self.channel.quantity == "energy_j" else ""
        if self.pacing is not None:
            self.pacing.saw(t0_ns, t1_ns, changed=changed)
            self.due_ns = self.pacing.due_ns
        else:
            self.due_ns = t1_ns + int(self._period_ns * (1 + DITHER.uniform(-0.1, 0.1)))
        return Reading(position, t0_ns, t1_ns, math.nan if glitch else value, glitch)

    def _glitch(self, t_ns: int, value: float) -> str:
        """Why a counter's value cannot follow the one before; it is the base for the next one.

        Some drivers now and then give 0 or nonsense. Said as a failed read it costs a gap that
        the counter survives; taken as a value it would be a reset and a leap of gigajoules.
        """
        last_j, age_ns = self._last_j, t_ns - self._changed_ns + self.channel.refresh_ns
        if value != last_j:
            self._last_j, self._changed_ns = value, t_ns
        if value < last_j:
            return f"the counter fell from {last_j:.3f} J to {value:.3f} J"
        limit_j = GLITCH * self.channel.power_max_w * age_ns / NS_PER_S
        if value - last_j > limit_j:
            return f"the counter leapt from {last_j:.3f} J to {value:.3f} J"
        return ""


class Gpu:
    """One board: its handle and what it can tell.

    Args:
        nvml: The module pynvml, initialised.
        board: Which board, and whether the process has only a slice of it.
        scope: What else the reader of a figure must know.

    Raises:
        nvml.NVMLError: The board does not answer, or tells neither energy nor power.
    """

    def __init__(self, nvml: Any, board: Board, scope: str) -> None:
        self.nvml = nvml
        self.uuid = board.uuid
        self.handle = nvml.nvmlDeviceGetHandleByUUID(board.uuid)
        self.index = int(nvml.nvmlDeviceGetIndex(self.handle))
        self.model = str(self.ask(nvml.nvmlDeviceGetName) or "")
        self.shared = board.shared or self._has_slices()
        module = "module" if any(name in self.model for name in MODULE_NAMES) else ""
        self.scope = "shared" if self.shared else scope or module
        limit_w = self.ask(self.power_limit_w)
        of_board = limit_w is not None and not module  # a module draws more than its GPU may
        self.power_max_w = HEADROOM * float(limit_w) if of_board else math.nan

    def lines(self) -> list[Line]:
        """Find out which calls this board supports: one line of readings each."""
        lines = []
        if self._supports(self.energy_j):
            lines.append(self._line("energy_j", self.energy_j, "nvml_energy", primary=True))
        for power, scope in ((self.instant_w, ""), (self.plain_w, "mean of up to 1 s")):
            if self.ask(power) is not None if lines else self._supports(power):
                primary = not lines
                lines.append(self._line("power_w", power, "nvml_power", scope, primary=primary))
                break
        if not lines:
            raise self.nvml.NVMLError(self.nvml.NVML_ERROR_NOT_SUPPORTED)
        informing: list[tuple[Quantity, Callable[[Any], float]]] = [
            ("temperature_c", self.temperature_c),
            ("power_limit_w", self.power_limit_w),
            ("utilization_ratio", self.utilization_ratio),
            ("memory_used_bytes", self.memory_used_bytes),
        ]
        supported = [(what, call) for what, call in informing if self.ask(call) is not None]
        return lines + [self._line(what, call, "nvml", primary=False) for what, call in supported]

    def ask(self, call: Callable[[Any], Any]) -> Any:
        """Value of a call; None where the board does not support it."""
        try:
            return call(self.handle)
        except self.nvml.NVMLError:
            return None

    def _supports(self, call: Callable[[Any], float]) -> bool:
        """Whether the board has a call; a board that is lost or failing raises instead."""
        try:
            call(self.handle)
        except self.nvml.NVMLError as error:
            if error.value in UNSUPPORTED:
                return False
            raise
        return True

    def energy_j(self, handle: Any) -> float:
        """Energy since the driver was loaded."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / MJ_PER_J

    def instant_w(self, handle: Any) -> float:
        """Power over the latest window; the field carries its own return code."""
        field = self.nvml.nvmlDeviceGetFieldValues(handle, [POWER_INSTANT])[0]
        if field.nvmlReturn != self.nvml.NVML_SUCCESS:
            raise self.nvml.NVMLError(field.nvmlReturn)
        return float(field.value.uiVal) / MW_PER_W

    def plain_w(self, handle: Any) -> float:
        """Power as the oldest call has it."""
        return float(self.nvml.nvmlDeviceGetPowerUsage(handle)) / MW_PER_W

    def power_limit_w(self, handle: Any) -> float:
        """Enforced power limit."""
        return float(self.nvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / MW_PER_W

    def temperature_c(self, handle: Any) -> float:
        """Temperature of the die."""
        celsius = self.nvml.nvmlDeviceGetTemperature(handle, self.nvml.NVML_TEMPERATURE_GPU)
        return float(celsius)

    def utilization_ratio(self, handle: Any) -> float:
        """Share of time in which a kernel ran."""
        return float(self.nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100

    def memory_used_bytes(self, handle: Any) -> float:
        """Memory in use."""
        return float(self.nvml.nvmlDeviceGetMemoryInfo(handle).used)

    def _has_slices(self) -> bool:
        mode = self.ask(self.nvml.nvmlDeviceGetMigMode)
        return mode is not None and bool(mode[0])

    def _line(
        self,
        quantity: Quantity,
        call: Callable[[Any], float],
        method: str,
        scope: str = "",
        *,
        primary: bool,
    ) -> Line:
        channel = Channel(
            quantity=quantity,
            kind="gpu",
            device=f"gpu{self.index}",
            device_key=self.uuid,
            method=method,
            trust="measured",
            primary=primary,
            refresh_ns=REFRESH_NS if primary else INFORM_NS,
            power_max_w=self.power_max_w,
            model=self.model,
            vendor="NVIDIA",
            scope=self.scope or scope,
            seen_share=SEEN_SHARE if quantity == "power_w" else 1.0,
        )
        pacing = Pacing(DITHER) if primary and quantity == "energy_j" else None
        return Line(self, call, channel, POWER_NS if primary else INFORM_NS, pacing)
