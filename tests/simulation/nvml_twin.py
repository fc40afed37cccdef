"""The simulated NVML in Python: stands in for the module pynvml where there is no compiler.

Put it in the place of the module: ``monkeypatch.setitem(sys.modules, "pynvml", NvmlTwin(...))``.
The knobs and faults are those of the C library; constants, types and errors are pynvml's own.
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pynvml
from simulation.boards import Boards, Knobs
from simulation.fake_nvml import uuid_of

if TYPE_CHECKING:
    from collections.abc import Callable

ENERGY_FIELD, AVERAGE, INSTANT, SCOPED_ENERGY = 83, 185, 186, 191
LIMITS = (189, 190)
SCOPE_MODULE = 1
SLICES_MAX = 7
MIB = 2**20


class Handle(NamedTuple):
    """A board, or with a number from 1 one of its slices."""

    board: int
    slice: int = 0


class NvmlTwin:
    """What ``import pynvml`` gives, with simulated boards behind it.

    Args:
        t0_ns: Origin of the waveform on the clock.
        clock_ns: The monotonic clock, or what a test puts in its place.
        sleep: Takes the time that a call takes.
        **knobs: As in the C source, in small letters and without FAKE_NVML_.
    """

    def __init__(
        self,
        t0_ns: int = 0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
        **knobs: object,
    ) -> None:
        self.knobs = Knobs({name.upper(): str(value) for name, value in knobs.items()})
        self.boards = Boards(self.knobs)
        self.t0_ns = t0_ns
        self.calls = 0
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._fault_t0_s = 0.0
        self._glitch_reads: collections.Counter[int] = collections.Counter()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvml") and name[4:5].isupper() and callable(getattr(pynvml, name)):
            message = f"the twin has no {name}: add it here and to the C source"
            raise AttributeError(message)
        return getattr(pynvml, name)

    def energy_j(self, gpu: int, t0_ns: int, t1_ns: int, *, module: bool = False) -> float:
        """True energy of a GPU (of its module) between two moments."""
        start_s, end_s = (t0_ns - self.t0_ns) / 1e9, (t1_ns - self.t0_ns) / 1e9
        end_j = self.boards.energy_j(gpu, end_s, module=module)
        return end_j - self.boards.energy_j(gpu, start_s, module=module)

    # ruff: noqa: N802 - the driver's names

    def nvmlInit(self) -> None:
        self._sleep(self.knobs.number("INIT_MS", 0) / 1e3)
        if self.knobs.text("FAULT_CLOCK") == "init":
            self._fault_t0_s = self._since_t0_s()
        self._check(int(self.knobs.number("INIT_ERROR", 0)))

    def nvmlShutdown(self) -> None:
        return None

    def nvmlSystemGetDriverVersion(self) -> str:
        return "simulated"

    def nvmlDeviceGetCount(self) -> int:
        return self.boards.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:
        if not 0 <= index < self.boards.count:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._opened(Handle(index))

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Handle:
        for board in range(self.boards.count):
            for number in range(len(self._sevenths(board)) + 1):
                if uuid_of(board, number) == uuid:
                    return self._opened(Handle(board, number))
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetUUID(self, handle: Handle) -> str:
        return uuid_of(handle.board, handle.slice)

    def nvmlDeviceGetIndex(self, handle: Handle) -> int:
        return handle.board

    def nvmlDeviceGetName(self, handle: Handle) -> str:
        names = self.knobs.text("NAMES", "NVIDIA Simulated GPU").split(";")
        return names[min(handle.board, len(names) - 1)]

    def nvmlDeviceGetPciInfo(self, handle: Handle) -> Any:
        info = pynvml.nvmlPciInfo_t()
        buses = self.knobs.text("BUSES").split(",")[handle.board :]
        info.bus = int(buses[0]) if buses and buses[0] else handle.board + 1
        info.busIdLegacy = f"0000:{info.bus:02X}:00.0".encode()
        info.busId = f"00000000:{info.bus:02X}:00.0".encode()
        return info

    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]:
        if not self.knobs.text("MIG") or handle.slice:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [int(self.knobs.listed("MIG", handle.board))] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int:
        return SLICES_MAX if self._sevenths(handle.board) and not handle.slice else 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle:
        if handle.slice:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        if not 0 <= index < len(self._sevenths(handle.board)):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._opened(Handle(handle.board, index + 1))

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Handle) -> Handle:
        if not handle.slice:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return Handle(handle.board)

    def nvmlDeviceGetAttributes_v2(self, handle: Handle) -> Any:
        if not handle.slice:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        sevenths = self._sevenths(handle.board)[handle.slice - 1]
        attributes = pynvml.c_nvmlDeviceAttributes()
        attributes.multiprocessorCount = 16 * sevenths
        attributes.gpuInstanceSliceCount = attributes.computeInstanceSliceCount = sevenths
        attributes.memorySizeMB = 10240 * sevenths
        return attributes

    def nvmlDeviceGetAttributes(self, handle: Handle) -> Any:
        return self.nvmlDeviceGetAttributes_v2(handle)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:
        self._check(self._reading(handle))
        return self._counter_mj(handle, module=self.knobs.listed("SUPERCHIP", handle.board))

    def nvmlDeviceGetFieldValues(self, handle: Handle, wanted: list[Any]) -> Any:
        self._check(self._reading(handle))
        fields = (pynvml.c_nvmlFieldValue_t * len(wanted))()
        for field, one in zip(fields, wanted, strict=True):
            field.fieldId, field.scopeId = one if isinstance(one, tuple) else (one, 0)
            field.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
            try:
                self._fill(handle, field)
            except pynvml.NVMLError as error:
                field.nvmlReturn = error.value
        return fields

    def nvmlDeviceGetPowerUsage(self, handle: Handle) -> int:
        self._check_whole(handle)
        return int(self.boards.average_w(handle.board, self._since_t0_s()) * 1e3)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int:
        self._check_whole(handle)
        return int(self.knobs.number("LIMIT_W", 700) * 1e3)

    def nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int:
        self._check_whole(handle)
        return 40 + handle.board + 0 * sensor

    def nvmlDeviceGetClockInfo(self, handle: Handle, clock: int) -> int:
        if not 0 <= clock <= pynvml.NVML_CLOCK_VIDEO:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        self._check_whole(handle)
        return int(self.knobs.number("SM_MHZ", 1980))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Handle) -> int:
        self._check_whole(handle)
        return int(self.knobs.number("THROTTLE", 0))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Handle) -> int:
        if self.knobs.number("OLD_DRIVER", 0):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return self.nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Any:
        self._check_whole(handle)
        rates = pynvml.c_nvmlUtilization_t()
        rates.gpu = 0 if self.knobs.listed("IDLE", handle.board) else 50
        rates.memory = 25
        return rates

    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> Any:
        self._check(self._reading(handle))
        memory = pynvml.c_nvmlMemory_t()
        memory.total, memory.free, memory.used = (gib * 1024 * MIB for gib in (80, 60, 20))
        return memory

    def _since_t0_s(self) -> float:
        return (self._clock_ns() - self.t0_ns) / 1e9

    def _fault_s(self) -> float:
        return self._since_t0_s() - self._fault_t0_s

    def _check(self, code: int) -> None:
        if code:
            raise pynvml.NVMLError(code)

    def _check_whole(self, handle: Handle) -> None:
        """Refuse what a slice does not have."""
        self._check(self._reading(handle))
        self._check(pynvml.NVML_ERROR_NOT_SUPPORTED if handle.slice else 0)

    def _reading(self, handle: Handle) -> int:
        self.calls += 1
        every = int(self.knobs.number("TAIL_EVERY", 0))
        tail = every > 0 and self.calls % every == 0
        name, otherwise = ("TAIL_US", 20000) if tail else ("LATENCY_US", 0)
        self._sleep(self.knobs.number(name, otherwise) / 1e6)
        return self._failing(handle)

    def _failing(self, handle: Handle) -> int:
        from_s = self.knobs.number("FAIL_FROM_S", 0)
        until_s = self.knobs.number("FAIL_UNTIL_S", 1e18)
        failing = self.knobs.listed("FAIL", handle.board) and from_s <= self._fault_s() < until_s
        return int(self.knobs.number("FAIL_CODE", 15)) if failing else 0

    def _opened(self, handle: Handle) -> Handle:
        self.calls += 1
        denied = self.knobs.listed("NO_PERMISSION", handle.board)
        self._check(pynvml.NVML_ERROR_NO_PERMISSION if denied else self._failing(handle))
        return handle

    def _sevenths(self, board: int) -> list[int]:
        """Sizes of the slices of a board, none where it is whole."""
        if not self.knobs.listed("MIG", board):
            return []
        return [int(part) for part in self.knobs.text("SLICES", "1").split(",")][:SLICES_MAX]

    def _glitched(self, handle: Handle, value: float) -> float:
        from_s = self.knobs.number("GLITCH_FROM_S", 0)
        until_s = self.knobs.number("GLITCH_UNTIL_S", 1e18)
        if not self.knobs.listed("GLITCH", handle.board) or not from_s <= self._fault_s() < until_s:
            return value
        self._glitch_reads[handle.board] += 1
        every = int(self.knobs.number("GLITCH_EVERY", 1))
        wrong = self._glitch_reads[handle.board] % every == 0
        return value * self.knobs.number("GLITCH_FACTOR", 0) if wrong else value

    def _counter_mj(self, handle: Handle, *, module: bool) -> int:
        if handle.slice or self.knobs.listed("NO_COUNTER", handle.board):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        shown_j = self.boards.counted_j(handle.board, self._since_t0_s(), module=module)
        reset_s = self.knobs.number("RESET_S", 0)
        if self.knobs.listed("RESET", handle.board) and self._fault_s() >= reset_s:
            reset_s += self._fault_t0_s
            shown_j -= self.boards.counted_j(handle.board, reset_s, module=module)
            shown_j = max(shown_j, 0)
        else:
            shown_j += self.boards.base_j
        return int(self._glitched(handle, shown_j) * 1e3)

    def _tells_scope(self, handle: Handle, scope: int) -> bool:
        superchip = self.knobs.listed("SUPERCHIP", handle.board)
        if handle.slice or scope > SCOPE_MODULE:
            return False
        if scope == SCOPE_MODULE:
            return superchip
        return not (superchip and self.knobs.listed("NO_GPU_SCOPE", handle.board))

    def _fill(self, handle: Handle, field: Any) -> None:
        """Give a field its value, or raise what its own return code shall be."""
        what, module = field.fieldId, field.scopeId == SCOPE_MODULE
        known = what in {ENERGY_FIELD, AVERAGE, INSTANT, SCOPED_ENERGY, *LIMITS}
        scoped = what in {AVERAGE, INSTANT, SCOPED_ENERGY}
        lacks = scoped and not self._tells_scope(handle, field.scopeId)
        lacks |= what == INSTANT and self.knobs.listed("NO_INSTANT", handle.board)
        lacks |= what == SCOPED_ENERGY and bool(self.knobs.number("OLD_DRIVER", 0))
        lacks |= what in LIMITS and bool(handle.slice)
        self._check(0 if known and not lacks else pynvml.NVML_ERROR_NOT_SUPPORTED)
        if what in {ENERGY_FIELD, SCOPED_ENERGY}:
            of_module = module or self.knobs.listed("SUPERCHIP", handle.board)
            of_module = module if what == SCOPED_ENERGY else of_module
            field.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
            field.value.ullVal = self._counter_mj(handle, module=of_module)
        elif what in LIMITS:
            field.value.uiVal = int(self.knobs.number("LIMIT_W", 700) * 1e3)
        else:
            t_s = self._since_t0_s()
            read = self.boards.instant_w if what == INSTANT else self.boards.average_w
            watts = read(handle.board, t_s, module=module)
            field.value.uiVal = int(
                (self._glitched(handle, watts) if what == INSTANT else watts) * 1e3
            )
