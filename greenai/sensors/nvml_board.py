"""One NVIDIA board: which of its calls work, what they mean, and what each channel is."""

from __future__ import annotations

import math
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors.base import Channel
from greenai.sensors.nvml_choice import slice_share
from greenai.sensors.nvml_line import DITHER, Line
from greenai.sensors.pacing import Pacing
from greenai.units import MJ_PER_J, NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.sensors.base import Quantity
    from greenai.sensors.nvml_choice import Chosen

REFRESH_NS = 120 * NS_PER_MS
"""Longest refresh of the counter seen so far is 104 ms."""
INFORM_NS = NS_PER_S
POWER_NS = 20 * NS_PER_MS
"""Between two reads of a power that is integrated: five in a refresh of 100 ms."""
SEEN_SHARE = 0.25
"""A100 and H100 look at 25 of every 100 ms (Yang, Adamek, Armour, SC 2024); which boards see all
of the time, no call tells, so that this much is taken as known of every board."""
POWER_INSTANT = 186
ENERGY = 191
"""NVML_FI_DEV_POWER_INSTANT and NVML_FI_DEV_ENERGY; named here because older bindings lack them."""
SCOPE_GPU, SCOPE_MODULE = 0, 1
"""NVML_POWER_SCOPE_*: the GPU alone; the whole superchip, with its CPU and memory."""
MW_PER_W = 1_000
HZ_PER_MHZ = 1_000_000
HEADROOM = 1.2
"""Boards exceed the enforced limit for moments; a mean over a refresh by no more than this."""
UNSUPPORTED = (2, 3, 4, 6, 13)
"""NVML return codes of a call that this board, driver or user does not have: invalid argument (a
field that is unknown), not supported, no permission, not found, function not found."""
SUPERCHIPS = ("GH200", "GB200", "GB300")
"""Products whose plain energy counter may cover CPU and memory of the module too (Zeus, PR 172).
A board of another name that answers in the scope of a module is taken for one as well."""
THROTTLE_CALLS = (
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
)
"""The same call by its newer and its older name."""


class Gpu:
    """One board: its handle and what it can tell.

    Args:
        nvml: The module pynvml, initialised.
        chosen: Which board, and what must be said of the choice.

    Raises:
        nvml.NVMLError: The board does not answer, or tells neither energy nor power.
    """

    def __init__(self, nvml: Any, chosen: Chosen) -> None:
        self.nvml = nvml
        self.uuid = chosen.board.uuid
        self.handle = nvml.nvmlDeviceGetHandleByUUID(self.uuid)
        self.index = int(nvml.nvmlDeviceGetIndex(self.handle))
        self.model = str(self.ask(nvml.nvmlDeviceGetName) or "")
        self._chosen = chosen
        self._shared = bool(chosen.board.slices) or self._has_slices()
        slices = chosen.board.slices
        self._share = slice_share(nvml, self.handle, slices) if self._shared else math.nan
        limit_w = self.ask(self.power_limit_w)
        self._power_max_w = math.nan if limit_w is None else HEADROOM * float(limit_w)

    def lines(self) -> list[Line]:
        """Find out which calls this board supports: one line of readings each."""
        lines = []
        counter, scope = self._counter()
        if counter is not None:
            lines.append(self._line("energy_j", counter, "nvml_energy", scope, primary=True))
            # So that a first read of 0 is seen to be wrong.
            lines[0].doubt(monotonic_ns(), counter(self.handle))
        for power, said in ((self.instant_w, ""), (self.plain_w, "mean of up to 1 s")):
            if self.ask(power) is not None if lines else self._supports(power):
                primary = not lines
                lines.append(self._line("power_w", power, "nvml_power", said, primary=primary))
                break
        if not lines:
            raise self.nvml.NVMLError(self.nvml.NVML_ERROR_NOT_SUPPORTED)
        informing: list[tuple[Quantity, Callable[[Any], float]]] = [
            ("temperature_c", self.temperature_c),
            ("power_limit_w", self.power_limit_w),
            ("utilization_ratio", self.utilization_ratio),
            ("memory_used_bytes", self.memory_used_bytes),
            ("clock_hz", self.clock_hz),
            ("throttle_reasons", self.throttle_reasons),
        ]
        supported = [(what, call) for what, call in informing if self.ask(call) is not None]
        return lines + [self._line(what, call, "nvml", primary=False) for what, call in supported]

    def _counter(self) -> tuple[Callable[[Any], float] | None, str]:
        """The counter to read and its scope; none where there is none, or a power serves better.

        A superchip's plain counter contains its CPU and memory, which would be counted again
        with the CPU. What tells of the GPU alone is preferred: its counter, then its power; the
        module's counter comes last, and says so.
        """
        superchip = any(name in self.model for name in SUPERCHIPS)
        if superchip or self._supports(self.module_j):
            if self._supports(self.gpu_j):
                return self.gpu_j, ""
            if self._supports(self.instant_w):
                return None, ""
            return (self.energy_j, "module") if self._supports(self.energy_j) else (None, "")
        return (self.energy_j, "") if self._supports(self.energy_j) else (None, "")

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
        """Energy since the driver was loaded, of a board; of the module of some superchips."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / MJ_PER_J

    def gpu_j(self, handle: Any) -> float:
        """Energy since the driver was loaded, of the GPU alone."""
        return float(self._field(handle, ENERGY, SCOPE_GPU).ullVal) / MJ_PER_J

    def module_j(self, handle: Any) -> float:
        """Energy since the driver was loaded, of the whole module."""
        return float(self._field(handle, ENERGY, SCOPE_MODULE).ullVal) / MJ_PER_J

    def instant_w(self, handle: Any) -> float:
        """Power of the GPU over the latest window."""
        return float(self._field(handle, POWER_INSTANT, SCOPE_GPU).uiVal) / MW_PER_W

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

    def clock_hz(self, handle: Any) -> float:
        """Clock of the multiprocessors."""
        megahertz = self.nvml.nvmlDeviceGetClockInfo(handle, self.nvml.NVML_CLOCK_SM)
        return float(megahertz) * HZ_PER_MHZ

    def throttle_reasons(self, handle: Any) -> float:
        """Why the clock is held back: the bits ``nvmlClocksEventReason*`` of nvml.h, as a number.

        All of them lie far below 2**53, so that a float keeps each.
        """
        for name in THROTTLE_CALLS:
            try:
                return float(getattr(self.nvml, name)(handle))
            except AttributeError:  # the bindings are too old for the name
                continue
            except self.nvml.NVMLError as error:
                if error.value != self.nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                    raise
        raise self.nvml.NVMLError(self.nvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    def _field(self, handle: Any, field: int, scope: int) -> Any:
        """Value of a field; each carries a return code of its own."""
        (found,) = self.nvml.nvmlDeviceGetFieldValues(handle, [(field, scope)])
        if found.nvmlReturn != self.nvml.NVML_SUCCESS:
            raise self.nvml.NVMLError(found.nvmlReturn)
        return found.value

    def _has_slices(self) -> bool:
        mode = self.ask(self.nvml.nvmlDeviceGetMigMode)
        return mode is not None and bool(mode[0])

    def _scope(self, said: str) -> str:
        """The one thing that the reader of a figure must know first."""
        if said == "module":
            return said
        if self._shared:
            return "shared"
        return "order assumed" if self._chosen.order_assumed else said

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
            # A module draws more than its GPU may.
            power_max_w=math.nan if scope == "module" else self._power_max_w,
            model=self.model,
            vendor="NVIDIA",
            scope=self._scope(scope),
            slice_share=self._share,
            seen_share=SEEN_SHARE if quantity == "power_w" else 1.0,
            assumed_used=self._chosen.assumed_used,
        )
        pacing = Pacing(DITHER) if primary and quantity == "energy_j" else None
        return Line(self, call, channel, POWER_NS if primary else INFORM_NS, pacing)
