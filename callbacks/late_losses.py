"""Losses of a GPU, read when the GPU has computed them and never waited for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SLOTS = 16
"""Losses under way at most; one more is left out."""


class LateLosses:
    """Copies losses to pinned memory without a synchronisation and hands them out when they came.

    Make it before the training: pinned memory may take milliseconds and a synchronisation.

    Args:
        cuda: Makes events; a parameter so that it can be tried without a GPU.
        pin: Whether to pin the memory.
    """

    def __init__(self, cuda: Any = torch.cuda, *, pin: bool = True) -> None:
        self._cuda = cuda
        self._slots = torch.empty(SLOTS, dtype=torch.float32, pin_memory=pin)
        self._events = [cuda.Event() for _ in range(SLOTS)]
        self._free = deque(range(SLOTS))
        self._under_way: deque[tuple[int, int]] = deque()

    def offer(self, losses: Sequence[torch.Tensor], factor: float, index: int) -> bool:
        """Start to copy the mean of a step's losses, times ``factor``; False where all is in use.

        Args:
            losses: One a batch, each of one element, on one device.
            factor: What takes back a division by the trainer.
            index: The step's number.
        """
        if not self._free or not losses:
            return False
        slot = self._free.popleft()
        with torch.no_grad():
            mean = torch.stack([loss.detach().reshape(()).float() for loss in losses]).mean()
            self._slots[slot].copy_(mean * factor, non_blocking=True)
        self._events[slot].record(self._cuda.current_stream(losses[0].device))
        self._under_way.append((index, slot))
        return True

    def ready(self) -> Iterator[tuple[int, float]]:
        """Hand out each loss that has come, once: the step's number and its loss."""
        while self._under_way and self._events[self._under_way[0][1]].query():
            index, slot = self._under_way.popleft()
            self._free.append(slot)
            yield index, float(self._slots[slot])
