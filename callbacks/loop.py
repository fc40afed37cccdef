"""What an adapter tells of the loop that calls it: framework, ranks and device."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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
        strategy: What can ``broadcast`` rank 0's word to all ranks; None where nothing can, and
            the ranks meet by the launcher's id.
    """

    framework: str = ""
    device: torch.device | None = None
    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None
    strategy: Any = None
