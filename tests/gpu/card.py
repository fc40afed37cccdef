"""The real thing: one CUDA device of torch, and its board as NVML tells of it."""

from __future__ import annotations

import importlib.util
import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 4096
SMALL = 256
POWER_INSTANT = 186
MJ_PER_J = 1e3
MW_PER_W = 1e3


def why_none() -> str:
    """Why there is no CUDA device to be had here; empty where there is one."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch  # noqa: PLC0415 - loads for seconds

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    return ""


class NvmlMeter:
    """One board of NVML.

    Args:
        uuid: ``GPU-…``; None takes the first.
    """

    def __init__(self, uuid: str | None = None) -> None:
        import pynvml  # noqa: PLC0415 - needs a driver

        self._nvml: Any = pynvml
        pynvml.nvmlInit()
        self._handle = (
            pynvml.nvmlDeviceGetHandleByIndex(0)
            if uuid is None
            else pynvml.nvmlDeviceGetHandleByUUID(uuid)
        )
        self.driver = str(pynvml.nvmlSystemGetDriverVersion())
        self.name = str(pynvml.nvmlDeviceGetName(self._handle))

    def energy_j(self) -> float:
        return self._known(self._nvml.nvmlDeviceGetTotalEnergyConsumption, MJ_PER_J)

    def instant_w(self) -> float:
        def field(handle: Any) -> int:
            (one,) = self._nvml.nvmlDeviceGetFieldValues(handle, [POWER_INSTANT])
            if one.nvmlReturn != self._nvml.NVML_SUCCESS:
                raise self._nvml.NVMLError(one.nvmlReturn)
            return int(one.value.uiVal)

        return self._known(field, MW_PER_W)

    def plain_w(self) -> float:
        return self._known(self._nvml.nvmlDeviceGetPowerUsage, MW_PER_W)

    def _known(self, call: Callable[[Any], int], per_unit: float) -> float:
        try:
            return float(call(self._handle)) / per_unit
        except self._nvml.NVMLError:
            return math.nan


class CudaCard:
    """The current CUDA device; a unit of heavy work is one product of two 4096 x 4096 matrices.

    The matrices hold normal numbers: the power of a product depends on its values.

    Args:
        device: Where the matrices lie.
        cuda: ``torch.cuda``, or what stands in for it.
    """

    def __init__(self, device: str = "cuda", cuda: Any = None) -> None:
        import torch  # noqa: PLC0415 - loads for seconds

        self._torch = torch
        self._cuda = cuda or torch.cuda
        half = torch.bfloat16 if self._cuda.is_bf16_supported() else torch.float16
        generator = torch.Generator(device=device).manual_seed(1)
        self._matrix, self._out, self._small, self._small_out = (
            torch.randn(size, size, device=device, dtype=half, generator=generator) / size**0.25
            for size in (SIZE, SIZE, SMALL, SMALL)
        )
        properties = self._cuda.get_device_properties(self._cuda.current_device())
        uuid = str(getattr(properties, "uuid", ""))
        self.uuid = uuid if uuid.startswith("GPU-") or not uuid else f"GPU-{uuid}"
        self.about = {"torch": torch.__version__, "cuda": torch.version.cuda}
        self.unit_s = self.light_s = 1e-3
        self.unit_s = self._seconds_of(self.heavy, 500)
        self.light_s = self._seconds_of(self.light, 5000)

    def heavy(self, units: int) -> None:
        for _ in range(units):
            self._torch.mm(self._matrix, self._matrix, out=self._out)

    def light(self, units: int) -> None:
        """Queue small work: as many launches, a fraction of the power."""
        for _ in range(units):
            self._torch.mm(self._small, self._small, out=self._small_out)

    def event(self) -> Any:
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def passed(self, event: Any) -> bool:
        return bool(event.query())

    def elapsed_ms(self, first: Any, last: Any) -> float:
        return float(first.elapsed_time(last))

    def synchronize(self) -> None:
        self._cuda.synchronize()

    def stream(self) -> Any:
        return self._cuda.current_stream()

    def capturing(self) -> bool:
        return bool(self._cuda.is_current_stream_capturing())

    def _seconds_of(self, work: Callable[[int], None], units: int) -> float:
        """Time of a unit, by the host's clock over many, after as many to warm up."""
        work(units)
        self.synchronize()
        start_s = time.monotonic()
        work(units)
        self.synchronize()
        return (time.monotonic() - start_s) / units
