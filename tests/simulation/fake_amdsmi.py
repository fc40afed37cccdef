"""A stand-in for the package amdsmi 7.0: its calls, its answers, its exceptions, its faults."""

from __future__ import annotations

import dataclasses
import time
from types import ModuleType, SimpleNamespace
from typing import Any

UNIT_J = 2.0**-16
RESOLUTION_UJ = 15.300000190734863
"""As the library gives it: a 32-bit float that rounds 15.259."""
TABLE_NS = 1_000_000
"""The driver hands out its table again for a millisecond, with the timestamp of when it read it."""


@dataclasses.dataclass
class FakeDie:
    """One GPU as amdsmi lists it.

    Args:
        power_w: What it draws, constantly.
        bdf: Bus address.
        hip_id: Its place in HIP's order; None is a library older than ROCm 6.4.
        serial: Of the board.
        base_j: What the accumulator shows at the start.
        model: Product name.
        frozen: The accumulator stands still.
        silent: The second die of a module: an accumulator of 0 and no power.
        factor: The accumulator counts this many times what it should.
        other_clock: Timestamps are on a clock that is not the machine's.
        lost: Every call fails.
    """

    power_w: float = 300.0
    bdf: str = "0000:c1:00.0"
    hip_id: int | None = 0
    serial: str = "0x1111222233334444"
    base_j: float = 1000.0
    model: str = "AMD Simulated MI"
    frozen: bool = False
    silent: bool = False
    factor: float = 1.0
    other_clock: bool = False
    lost: bool = False
    t0_ns: int = dataclasses.field(default_factory=time.monotonic_ns)

    @property
    def uuid(self) -> str:
        return f"GPU-{self.serial.removeprefix('0x')}"


def fake_amdsmi(dies: list[FakeDie], *, init_fails: bool = False) -> Any:  # noqa: C901 - one module's functions
    """The module; put it into ``sys.modules``."""
    smi: Any = ModuleType("amdsmi")

    class AmdSmiException(Exception):  # noqa: N818 - its name there
        pass

    class AmdSmiLibraryException(AmdSmiException):
        def __str__(self) -> str:
            return f"Error code:\n\t{self.args[0]} | {self.args[1]}"

    def die_of(handle: object) -> FakeDie:
        if not isinstance(handle, SimpleNamespace):
            raise AmdSmiException("Invalid parameter")
        if handle.die.lost:
            raise AmdSmiLibraryException(32, "AMDSMI_STATUS_NOT_INIT - Device not initialized")
        die: FakeDie = handle.die
        return die

    def init() -> None:
        if init_fails:
            raise AmdSmiLibraryException(34, "AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded")
        smi.open += 1

    def shut_down() -> None:
        if not smi.open:
            raise AmdSmiLibraryException(32, "AMDSMI_STATUS_NOT_INIT - Device not initialized")
        smi.open -= 1

    def energy_count(handle: object) -> dict[str, Any]:
        die = die_of(handle)
        now_ns = time.monotonic_ns() // TABLE_NS * TABLE_NS
        energy_j = die.base_j + die.factor * die.power_w * (now_ns - die.t0_ns) / 1e9
        if die.frozen or die.silent:
            energy_j = 0.0 if die.silent else die.base_j
        boot_ns = now_ns + time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        return {
            "energy_accumulator": int(energy_j / UNIT_J),
            "counter_resolution": RESOLUTION_UJ,
            "timestamp": 12345 if die.other_clock else boot_ns,
        }

    def power_info(handle: object) -> dict[str, Any]:
        die = die_of(handle)
        watts: Any = "N/A" if die.silent else round(die.power_w)
        return {
            "socket_power": watts,
            "current_socket_power": watts,
            "average_socket_power": "N/A",
            "power_limit": 750,
        }

    def enumeration_info(handle: object) -> dict[str, Any]:
        die = die_of(handle)
        if die.hip_id is None:
            raise AmdSmiLibraryException(2, "AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported")
        return {"hip_id": die.hip_id, "hip_uuid": die.uuid, "drm_card": die.hip_id}

    smi.open = 0
    smi.AmdSmiException = AmdSmiException
    smi.AmdSmiLibraryException = AmdSmiLibraryException
    smi.AmdSmiTemperatureType = SimpleNamespace(EDGE=0, HOTSPOT=1)
    smi.AmdSmiTemperatureMetric = SimpleNamespace(CURRENT=0)
    smi.amdsmi_init = init
    smi.amdsmi_shut_down = shut_down
    smi.amdsmi_get_processor_handles = lambda: [SimpleNamespace(die=die) for die in dies]
    smi.amdsmi_get_energy_count = energy_count
    smi.amdsmi_get_power_info = power_info
    smi.amdsmi_get_gpu_enumeration_info = enumeration_info
    smi.amdsmi_get_gpu_device_bdf = lambda handle: die_of(handle).bdf
    smi.amdsmi_get_gpu_asic_info = lambda handle: {
        "market_name": die_of(handle).model,
        "asic_serial": die_of(handle).serial,
    }
    smi.amdsmi_get_power_cap_info = lambda handle: (
        die_of(handle) and {"power_cap": 750_000_000, "max_power_cap": 750_000_000}
    )
    smi.amdsmi_get_temp_metric = lambda handle, _kind, _metric: die_of(handle) and 55
    smi.amdsmi_get_gpu_activity = lambda handle: die_of(handle) and {"gfx_activity": 80}
    smi.amdsmi_get_gpu_vram_usage = lambda handle: die_of(handle) and {"vram_used": 1024}
    return smi
