"""A step while the run goes on: still open, or settled for good."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class SettledStep:
    """A step whose energy no later reading changes; NaN is unknown."""

    index: int
    epoch: float
    energy_j: float
    duration_s: float
    batches: float
    tokens: float
    samples: float
    flops: float


class PendingStep:
    """What has settled of the step that has not ended: per channel the energy of its two parts.

    Args:
        channels: How many are attributed.

    Example:
        >>> pending = PendingStep(2)
        >>> pending.choose(kept=[1], added=0)
        >>> len(pending.train_j)
        1
    """

    def __init__(self, channels: int) -> None:
        self.train_j = np.zeros(channels)
        self.wait_j = np.zeros(channels)
        self.duration_ns = 0.0
        self.known = True

    def choose(self, kept: list[int], added: int) -> None:
        """Keep the channels at these places and add new ones."""
        self.train_j = np.append(self.train_j[kept], np.zeros(added))
        self.wait_j = np.append(self.wait_j[kept], np.zeros(added))
