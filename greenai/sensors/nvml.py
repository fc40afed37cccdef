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
from typing import TYPE_CHECKING, Any, NamedTuple

from greenai.sensors.base import Reading, Refusal, Sensor
from greenai.sensors.nvml_board import Gpu, Line
from greenai.sensors.visible import Board, board_of, visible_boards, visible_items
from greenai.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PERIOD_NS = 20 * NS_PER_MS

NO_PERMISSION = 4
HINTS = {
    # NVML return codes at start: what is the matter and the one thing that mends it.
    NO_PERMISSION: (
        "NVML may not be used by this user",
        "give the container its GPUs: docker run --gpus all",
    ),
    9: ("the NVIDIA driver is not loaded", "sudo modprobe nvidia"),
    12: ("NVML library not found: no NVIDIA driver on this machine", ""),
    18: ("the NVIDIA driver was upgraded while the old one was in use", "reboot the machine"),
}


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
        self._lines = sorted(lines, key=lambda line: not line.channel.primary)
        self.channels = tuple(line.channel for line in self._lines)

    def read(self) -> list[Reading]:
        """Read the energy of every GPU, each between its own two times, then what is due."""
        now_ns = monotonic_ns()
        return [
            line.read(position)
            for position, line in enumerate(self._lines)
            if line.channel.primary or line.due_ns <= now_ns
        ]

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
            ``GPU-``; None takes those that CUDA_VISIBLE_DEVICES leaves.
        environment: Variables of the training process.

    Returns:
        One sensor for all GPUs, or none; and what is refused. Never raises.
    """
    try:
        import pynvml  # noqa: PLC0415 - 60 ms that a machine without sensors wanted need not pay
    except ImportError as error:
        return [], [Refusal("nvml", f"No NVML bindings: {error}.", "pip install nvidia-ml-py")]
    start_ns = monotonic_ns()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        reason, hint = HINTS.get(error.value, (f"NVML does not start: {error}", ""))
        return [], [Refusal("nvml", f"{reason[0].upper()}{reason[1:]}.", hint)]
    init_ns = monotonic_ns() - start_ns
    boards, refusals = _boards(pynvml, devices, environment)
    lines: list[Line] = []
    for board, scope in boards:
        try:
            lines += Gpu(pynvml, board, scope).lines()
        except pynvml.NVMLError as error:
            reason = f"{board.uuid} cannot be metered: {error}."
            refusals.append(Refusal("nvml", reason, "see what nvidia-smi says of it"))
    sensor = NvmlSensor(pynvml, lines, init_ns)
    if not lines:
        sensor.close()
    return [sensor] if lines else [], refusals


class Machine(NamedTuple):
    """The GPUs that NVML lists, in its order.

    Attributes:
        uuids: Of those that may be opened.
        models: Their product names.
        closed: How many may not be opened by this user.
    """

    uuids: list[str]
    models: set[str]
    closed: int


def _machine(nvml: Any) -> Machine:
    machine = Machine([], set(), 0)
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            machine.uuids.append(str(nvml.nvmlDeviceGetUUID(handle)))
            machine.models.add(str(nvml.nvmlDeviceGetName(handle)))
        except nvml.NVMLError:
            machine = machine._replace(closed=machine.closed + 1)
    return machine


def _boards(
    nvml: Any, devices: Sequence[str] | None, environment: Mapping[str, str]
) -> tuple[list[tuple[Board, str]], list[Refusal]]:
    """Choose the boards to meter, each with what must be said of it; and why others are not."""
    try:
        machine = _machine(nvml)
    except nvml.NVMLError as error:
        return [], [Refusal("nvml", f"NVML lists no GPUs: {error}.")]

    def parent_of(mig: str) -> str | None:
        return _parent_of(nvml, mig)

    if devices is not None:
        return _named(devices, machine, parent_of)
    text = environment.get("CUDA_VISIBLE_DEVICES")
    boards = visible_boards(text, machine.uuids, parent_of)
    if not boards:
        return [], [_none_visible(text, machine)]
    by_number = text is not None and isinstance(visible_items(text)[0], int)
    by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    # CUDA counts the fastest first, NVML by bus: the same only on machines of one model.
    unsure = by_number and not by_bus and len(machine.models) > 1
    return [(board, "order assumed" if unsure else "") for board in boards], []


def _named(
    devices: Sequence[str], machine: Machine, parent_of: Callable[[str], str | None]
) -> tuple[list[tuple[Board, str]], list[Refusal]]:
    if not devices:
        return [], [Refusal("nvml", "This process uses no GPU: its list of devices is empty.")]
    boards: list[Board] = []
    refusals = []
    for name in devices:
        board = board_of(name, machine.uuids, parent_of)
        if board is None:
            reason = f"{name!r} is not the UUID of one GPU of this machine: {_described(machine)}."
            refusals.append(Refusal("nvml", reason, "give UUIDs as nvidia-smi -L lists them"))
        elif board not in boards:
            boards.append(board)
    return [(board, "") for board in boards], refusals


def _none_visible(text: str | None, machine: Machine) -> Refusal:
    if text is None or not machine.uuids:
        hint = HINTS[NO_PERMISSION][1] if machine.closed else ""
        return Refusal("nvml", f"No GPU can be used: {_described(machine)}.", hint)
    reason = f"CUDA_VISIBLE_DEVICES is {text!r}, which leaves no GPU: {_described(machine)}."
    return Refusal("nvml", reason, "unset CUDA_VISIBLE_DEVICES, or name a GPU in it")


def _described(machine: Machine) -> str:
    closed = f", {machine.closed} that this user may not open" if machine.closed else ""
    return f"NVML lists {', '.join(machine.uuids) or 'none'}{closed}"


def _parent_of(nvml: Any, mig: str) -> str | None:
    """UUID of the board that a MIG slice belongs to; None where there is none."""
    try:
        slice_handle = nvml.nvmlDeviceGetHandleByUUID(mig)
        board = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slice_handle)
        return str(nvml.nvmlDeviceGetUUID(board))
    except nvml.NVMLError:
        return None
