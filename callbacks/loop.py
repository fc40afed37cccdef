"""What an adapter tells of the loop that calls it: framework, ranks and device."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Meeting(NamedTuple):
    """The place at which ranks that Lightning started find each other.

    Attributes:
        address: Of the main process.
        port: Of the main process.
        nodes: Number of machines.
    """

    address: str
    port: int
    nodes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Loop:
    """One process of a training.

    Attributes:
        framework: Name and version; empty where it is unknown.
        device: Device that this process trains on; None where nobody says, and every visible GPU
            counts.
        rank: Global rank; None takes the launcher's variables, as for the next two.
        local_rank: Rank on this host.
        world_size: Number of ranks.
        meeting: Where the ranks meet; None where there is one rank, or nobody says: the launcher's
            id is what they then have in common.
    """

    framework: str = ""
    device: torch.device | None = None
    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None
    meeting: Meeting | None = None
