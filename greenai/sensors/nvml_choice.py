"""Which of the machine's NVIDIA GPUs to meter, and what must be said of the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from greenai.sensors.base import Refusal
from greenai.sensors.visible import Board, board_of, joined, visible_boards, visible_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NO_PERMISSION_HINT = "give the container its GPUs: docker run --gpus all"


class Chosen(NamedTuple):
    """A board to meter.

    Attributes:
        board: Which one, and which slices of it.
        order_assumed: Whether its number may be another board's: CUDA counts the fastest first.
        assumed_used: Whether it is metered only because the process could use it.
    """

    board: Board
    order_assumed: bool = False
    assumed_used: bool = False


class Machine(NamedTuple):
    """The GPUs that NVML lists, in the order of the PCI bus.

    Attributes:
        uuids: Of those that may be opened.
        models: Their product names.
        closed: How many may not be opened by this user.
    """

    uuids: list[str]
    models: set[str]
    closed: int


def choose(
    nvml: Any, devices: Sequence[str] | None, environment: Mapping[str, str]
) -> tuple[list[Chosen], list[Refusal]]:
    """Choose the boards to meter.

    Args:
        nvml: The module pynvml, initialised.
        devices: UUIDs of GPUs or of MIG slices, or beginnings that fit one GPU alone; None takes
            those that CUDA_VISIBLE_DEVICES leaves, which are then only assumed to be used.
        environment: Variables of the training process.

    Returns:
        The boards, each once; and why others are not.
    """
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
    # CUDA counts the fastest first, else by bus: the same on machines of one model, and no matter
    # where all are visible.
    some = len(boards) < len(machine.uuids)
    unsure = by_number and not by_bus and some and len(machine.models) > 1
    return [Chosen(board, unsure, assumed_used=True) for board in boards], []


def slice_share(nvml: Any, handle: Any, slices: Sequence[str]) -> float:
    """Estimate which share of a board in slices the process has.

    The share is that of compute: the compute slices of its instances
    (``computeInstanceSliceCount``) of as many as the board can be cut into
    (``nvmlDeviceGetMaxMigDeviceCount``: 7, or 4 on an A30). Nothing meters a slice, so the
    board's energy times this share is an estimate.

    Args:
        nvml: The module pynvml, initialised.
        handle: The board.
        slices: UUIDs of the slices; none takes the only one that the process may open.

    Returns:
        Share from 0 to 1; NaN where it is not known.
    """
    try:
        total = int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle))
        named = [nvml.nvmlDeviceGetHandleByUUID(name) for name in slices]
        parts = named or _open_slices(nvml, handle, total)
        if not total or not parts or (not named and len(parts) > 1):
            return float("nan")
        sizes = [nvml.nvmlDeviceGetAttributes_v2(one).computeInstanceSliceCount for one in parts]
    except nvml.NVMLError:
        return float("nan")
    return min(1.0, sum(sizes) / total) if all(sizes) else float("nan")


def _open_slices(nvml: Any, handle: Any, total: int) -> list[Any]:
    slices = []
    for number in range(total):
        try:
            slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
        except nvml.NVMLError:
            continue
    return slices


def _machine(nvml: Any) -> Machine:
    found: list[tuple[tuple[int, ...], str]] = []
    models: set[str] = set()
    closed = 0
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append((_place_of(nvml, handle), str(nvml.nvmlDeviceGetUUID(handle))))
            models.add(str(nvml.nvmlDeviceGetName(handle)))
        except nvml.NVMLError:
            closed += 1
    # Without all the places the order is NVML's own, which is by bus but not promised to be.
    in_order = sorted(found) if all(place for place, _ in found) else found
    return Machine([uuid for _, uuid in in_order], models, closed)


def _place_of(nvml: Any, handle: Any) -> tuple[int, ...]:
    """Where a GPU sits on the PCI bus; empty where the driver does not say."""
    try:
        pci = nvml.nvmlDeviceGetPciInfo(handle)
    except nvml.NVMLError:
        return ()
    return int(pci.domain), int(pci.bus), int(pci.device)


def _named(
    devices: Sequence[str], machine: Machine, parent_of: Callable[[str], str | None]
) -> tuple[list[Chosen], list[Refusal]]:
    if not devices:
        return [], [Refusal("nvml", "This process uses no GPU: its list of devices is empty.")]
    boards: list[Board] = []
    refusals = []
    for name in devices:
        board = board_of(name, machine.uuids, parent_of)
        if board is None:
            reason = f"{name!r} is not the UUID of one GPU of this machine: {_described(machine)}."
            refusals.append(Refusal("nvml", reason, "give UUIDs as nvidia-smi -L lists them"))
        else:
            boards.append(board)
    return [Chosen(board) for board in joined(boards)], refusals


def _none_visible(text: str | None, machine: Machine) -> Refusal:
    if text is None or not machine.uuids:
        hint = NO_PERMISSION_HINT if machine.closed else ""
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
