"""All questions that can be put to a driver, so that two drivers can be compared.

As a program: puts them to the C library at the moments of the monotonic clock that it is given.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BY_HANDLE = (
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetName",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetCurrentClocksEventReasons",
)
FIELDS = [83, 185, (185, 1), 186, (186, 1), (186, 2), 189, 190, 191, (191, 1), 7]


def answers(
    nvml: Any, freeze: Callable[[int], object], moments_ns: list[int]
) -> list[dict[str, object]]:
    """What a driver says at these moments: values, or the codes of its errors."""
    freeze(moments_ns[0])
    said: list[dict[str, object]] = [{"init": value_of(nvml, nvml.nvmlInit)}]
    if said[0]["init"] is not None:
        return said
    for t_ns in moments_ns:
        freeze(t_ns)
        count = nvml.nvmlDeviceGetCount()
        said.extend([of_board(nvml, index) for index in range(count + 1)])
    return said


def of_board(nvml: Any, index: int) -> dict[str, object]:
    try:
        board = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        return {"open": error.value}
    said = of_handle(nvml, board)
    for number in range(3):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(board, number)
        except nvml.NVMLError as error:
            said[f"slice {number}"] = error.value
            continue
        parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
        said[f"slice {number}"] = of_handle(nvml, part)
        said[f"parent {number}"] = nvml.nvmlDeviceGetUUID(parent)
    said["parent"] = value_of(nvml, nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, board)
    return said


def of_handle(nvml: Any, handle: Any) -> dict[str, object]:
    said = {name: value_of(nvml, getattr(nvml, name), handle) for name in BY_HANDLE}
    said["temperature"] = value_of(nvml, nvml.nvmlDeviceGetTemperature, handle, 0)
    said["clocks"] = [value_of(nvml, nvml.nvmlDeviceGetClockInfo, handle, k) for k in (1, 9)]
    said["bus"] = value_of(nvml, lambda: place_of(nvml.nvmlDeviceGetPciInfo(handle)))
    said["used"] = value_of(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
    said["busy"] = value_of(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    said["size"] = value_of(nvml, lambda: size_of(nvml.nvmlDeviceGetAttributes_v2(handle)))
    said["fields"] = value_of(nvml, lambda: fields_of(nvml, handle))
    said["found"] = value_of(nvml, lambda: found_again(nvml, handle))
    return said


def place_of(pci: Any) -> list[object]:
    return [pci.domain, pci.bus, pci.device, str(pci.busId), str(pci.busIdLegacy)]


def size_of(attributes: Any) -> list[int]:
    return [
        attributes.multiprocessorCount,
        attributes.gpuInstanceSliceCount,
        attributes.computeInstanceSliceCount,
        attributes.memorySizeMB,
    ]


def fields_of(nvml: Any, handle: Any) -> list[object]:
    return [
        [field.nvmlReturn, None if field.nvmlReturn else (field.valueType, field.value.ullVal)]
        for field in nvml.nvmlDeviceGetFieldValues(handle, FIELDS)
    ]


def found_again(nvml: Any, handle: Any) -> str:
    uuid = nvml.nvmlDeviceGetUUID(handle)
    return str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByUUID(uuid)))


def value_of(nvml: Any, call: Callable[..., object], *arguments: object) -> object:
    try:
        return call(*arguments)
    except nvml.NVMLError as error:
        return f"error {error.value}"


def main() -> None:
    import pynvml  # noqa: PLC0415 - the twin's tests import this module without a driver

    def freeze(t_ns: int) -> None:
        pynvml.nvmlLib.fake_nvml_freeze(ctypes.c_int64(t_ns))

    pynvml._LoadNvmlLibrary()  # freezing comes before nvmlInit
    print(json.dumps(answers(pynvml, freeze, json.loads(sys.argv[1]))))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
