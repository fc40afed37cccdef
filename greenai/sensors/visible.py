"""Which GPUs a process may use: the grammar of CUDA_VISIBLE_DEVICES, down to boards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

OLD_MIG = re.compile(r"MIG-(GPU-[0-9a-fA-F-]+)/\d+/\d+")
NUMBER = re.compile(r"[+-]?\d+")


class Board(NamedTuple):
    """A GPU that a process uses.

    Attributes:
        uuid: Of the whole board.
        slices: Names of the MIG slices of it that the process has, each once; empty where it
            has the whole board, or where nobody said which slices.
    """

    uuid: str
    slices: tuple[str, ...] = ()


def visible_items(text: str) -> list[int] | list[str]:
    """Parse the variable as CUDA does, not yet knowing the machine's GPUs.

    Numbers are read as by strtoul ("1gpu2" is 1) and end at the first negative or invalid
    one; UUIDs end at the first item of another kind; a repeated item leaves nothing.

    Args:
        text: Value of CUDA_VISIBLE_DEVICES.

    Returns:
        Ordinals, or UUIDs and their beginnings; empty where no GPU is visible.

    Example:
        >>> visible_items("1gpu2,0,-1,3"), visible_items("GPU-ab,MIG-cd"), visible_items("0,0")
        ([1, 0], ['GPU-ab'], [])

    Source: CUDA C++ Programming Guide, environment variables; torch.cuda does the same.
    """
    parts = text.split(",")
    for prefix in ("GPU-", "MIG-"):
        if not text.startswith(prefix):
            continue
        names: list[str] = []
        for part in parts:
            if part in names:
                return []
            if not part.startswith(prefix):
                break
            names.append(part)
        return names
    ordinals: list[int] = []
    for part in parts:
        number = NUMBER.match(part.strip())
        ordinal = int(number.group()) if number else -1
        if ordinal in ordinals:
            return []
        if ordinal < 0:
            break
        ordinals.append(ordinal)
    return ordinals


def match(name: str, uuids: Sequence[str]) -> str | None:
    """Find the one UUID that begins with a name, with or without its ``GPU-``.

    Returns:
        The UUID; None where none or several fit.

    Example:
        >>> match("ab", ["GPU-abc", "GPU-abd"]), match("GPU-abd", ["GPU-abc", "GPU-abd"])
        (None, 'GPU-abd')
    """
    full = name if name.startswith("GPU-") else f"GPU-{name}"
    fitting = [uuid for uuid in uuids if uuid.lower().startswith(full.lower())]
    return fitting[0] if len(fitting) == 1 and full != "GPU-" else None


def board_of(
    name: str, uuids: Sequence[str], parent_of: Callable[[str], str | None]
) -> Board | None:
    """Find the board of a UUID, of its beginning or of a MIG slice.

    Args:
        name: ``GPU-…``, a UUID without prefix, ``MIG-<uuid>`` or ``MIG-GPU-<uuid>/<gi>/<ci>``.
        uuids: The machine's GPUs.
        parent_of: Finds the UUID of the board of a MIG UUID; None where there is none.

    Returns:
        The board; None where the name fits none, or several.
    """
    if not name.startswith("MIG-"):
        uuid = match(name, uuids)
        return None if uuid is None else Board(uuid)
    old = OLD_MIG.fullmatch(name)
    uuid = match(old.group(1), uuids) if old else parent_of(name)
    return None if uuid is None else Board(uuid, (name,))


def joined(boards: Iterable[Board]) -> list[Board]:
    """Put boards together that are one: the slices of a board are one share of it.

    Example:
        >>> joined([Board("GPU-a", ("MIG-1",)), Board("GPU-b"), Board("GPU-a", ("MIG-2",))])
        [Board(uuid='GPU-a', slices=('MIG-1', 'MIG-2')), Board(uuid='GPU-b', slices=())]
    """
    slices: dict[str, tuple[str, ...]] = {}
    for board in boards:
        slices[board.uuid] = (*slices.get(board.uuid, ()), *board.slices)
    return [Board(uuid, tuple(dict.fromkeys(names))) for uuid, names in slices.items()]


def visible_boards(
    text: str | None, uuids: Sequence[str], parent_of: Callable[[str], str | None]
) -> list[Board]:
    """Boards that CUDA_VISIBLE_DEVICES leaves to the process.

    Args:
        text: Value of the variable; None where it is not set.
        uuids: The GPUs of the machine in CUDA's order. CUDA puts the fastest first unless
            CUDA_DEVICE_ORDER says PCI_BUS_ID; on machines of one model both are the order of
            the PCI bus.
        parent_of: Finds the UUID of the board of a MIG UUID.

    Returns:
        Boards in the order of the variable; several slices of one board give it once.

    Example:
        >>> visible_boards("1,7", ["GPU-a", "GPU-b"], lambda mig: None)
        [Board(uuid='GPU-b', slices=())]
    """
    if text is None:
        return [Board(uuid) for uuid in uuids]
    boards: list[Board] = []
    for item in visible_items(text):
        if isinstance(item, int):
            board = Board(uuids[item]) if item < len(uuids) else None
        else:
            board = board_of(item, uuids, parent_of)
        if board is None:  # CUDA stops at the first item that it does not know
            break
        if board in boards:  # two beginnings of one UUID
            return []
        boards.append(board)
    return joined(boards)
