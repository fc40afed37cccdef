"""NVIDIA GPUs through NVML: the energy counter, or power that is integrated where there is none.

The counter counts millijoules since the driver was loaded, but is refreshed only every 20 ms
(Volta) to 100 ms (newer). Power means the latest 25 to 100 ms in field 186, and up to one second
in the plain call on Ampere and newer (nvml.h; Yang, Adamek, Armour, SC 2024). Every call takes a
lock of the driver, so only energy is read at every turn; what informs is read once a second.
"""

from __future__ import annotations

import contextlib
import os
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors.base import Reading, Refusal, Sensor
from greenai.sensors.nvml_board import Gpu
from greenai.sensors.nvml_choice import NO_PERMISSION_HINT, choose
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenai.sensors.nvml_line import Line

PERIOD_NS = 20 * NS_PER_MS
TOGETHER_NS = NS_PER_MS // 4
"""What is due within this time is read at once: a wake costs more than a call."""

NO_PERMISSION = 4
HINTS = {
    # NVML return codes at start: what is the matter and the one thing that mends it.
    NO_PERMISSION: (
        "NVML may not be used by this user",
        NO_PERMISSION_HINT,
    ),
    9: ("the NVIDIA driver is not loaded", "sudo modprobe nvidia"),
    12: ("NVML library not found: no NVIDIA driver on this machine", ""),
    18: ("the NVIDIA driver was upgraded while the old one was in use", "reboot the machine"),
}
OFFICIAL = "pip install --force-reinstall nvidia-ml-py"
UNOFFICIAL = (
    "The installed module pynvml is the old package pynvml, which hides NVIDIA's own "
    "(nvidia-ml-py) and lacks some of its calls."
)


class NvmlSensor:
    """The metered GPUs of this machine.

    Args:
        nvml: The module pynvml, initialised.
        lines: What is read of the boards.
        init_ns: How long the driver took to initialise, which no reading could precede.
    """

    name = "nvml"
    period_ns = PERIOD_NS

    def __init__(self, nvml: Any, lines: Sequence[Line], init_ns: int) -> None:
        self.init_ns = init_ns
        self._nvml = nvml
        self._open = True
        self._metering = [line for line in lines if line.channel.primary]
        self._informing = [line for line in lines if not line.channel.primary]
        self._lines = self._metering + self._informing
        self._turn = -1
        self.due_ns = 0
        self.channels = tuple(line.channel for line in self._lines)

    def read(self) -> list[Reading]:
        """Read what is due: energy first, then of what informs one line a time.

        So that facts of eight boards do not hold up the energy of one, a single one of them is
        looked at in each call, by turns.
        """
        now_ns = monotonic_ns() + TOGETHER_NS
        readings = [
            line.read(position)
            for position, line in enumerate(self._metering)
            if line.due_ns <= now_ns
        ]
        if self._informing:
            self._turn = (self._turn + 1) % len(self._informing)
            line = self._informing[self._turn]
            if line.due_ns <= now_ns:
                readings.append(line.read(len(self._metering) + self._turn))
        # What informs is read along: it wakes nobody where energy does so all the time.
        self.due_ns = min(line.due_ns for line in self._metering or self._informing)
        return readings

    def close(self) -> None:
        """Let go of the driver; a second call does nothing."""
        if self._open:
            self._open = False
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def read_all(self) -> list[Reading]:
        """Read energy and power of every GPU, due or not, and what else is due."""
        now_ns = monotonic_ns()
        return [
            line.read(position)
            for position, line in enumerate(self._lines)
            if line.channel.quantity in {"energy_j", "power_w"} or line.due_ns <= now_ns
        ]


def open_nvml(
    devices: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[list[Sensor], list[Refusal]]:
    """Open the GPUs that the process uses.

    Args:
        devices: UUIDs of the GPUs to meter, or beginnings that fit one alone, with or without
            ``GPU-``, or UUIDs of MIG slices; None takes those that CUDA_VISIBLE_DEVICES leaves,
            and their channels say that their use is assumed.
        environment: Variables of the training process.

    Returns:
        One sensor for all GPUs, or none; and what is refused. Never raises.
    """
    try:
        import pynvml  # noqa: PLC0415 - 60 ms that a machine without sensors wanted need not pay
    except ImportError as error:
        return [], [Refusal("nvml", f"No NVML bindings: {error}.", OFFICIAL)]
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        return [], [Refusal("nvml", UNOFFICIAL, "pip uninstall -y pynvml && " + OFFICIAL)]
    start_ns = monotonic_ns()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        reason, hint = HINTS.get(error.value, (f"NVML does not start: {error}", ""))
        return [], [Refusal("nvml", f"{reason[0].upper()}{reason[1:]}.", hint)]
    init_ns = monotonic_ns() - start_ns
    chosen, refusals = choose(pynvml, devices, environment)
    lines: list[Line] = []
    for one in chosen:
        try:
            lines += Gpu(pynvml, one).lines()
        except pynvml.NVMLError as error:
            reason = f"{one.board.uuid} cannot be metered: {error}."
            refusals.append(Refusal("nvml", reason, "see what nvidia-smi says of it"))
    sensor = NvmlSensor(pynvml, lines, init_ns)
    if not lines:
        sensor.close()
    return [sensor] if lines else [], refusals
