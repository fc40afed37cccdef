"""What all of the trainings train: one model, one data set, one order of batches.

Two epochs of 22 samples in batches of 4, two batches a step: three steps an epoch, of 8, 8 and 6
samples with 8 tokens each. Each epoch is validated once and saved once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from greenai.live import active

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLES = [8, 8, 6] * 2
EPOCHS = [0, 0, 0, 1, 1, 1]
LENGTH = 8
FAILS_AT = 7
"""Batch at whose beginning a training fails: three steps are whole by then."""
SETTINGS: dict[str, Any] = {"variant": "small", "sensors": ["assumed:x=100"]}


class BugError(RuntimeError):
    """Of the user's training."""


@dataclass
class Task:
    """One training to be done.

    Attributes:
        folder: Run folder; other files go beside it.
        metered: Whether greenai is there.
        fails: Whether the training raises in the middle.
    """

    folder: Path
    metered: bool = True
    fails: bool = False
    batches: int = 0

    def batch(self) -> None:
        """Stand at the beginning of a training batch: fail, or wait for the first reading."""
        if self.fails and self.batches == FAILS_AT:
            raise BugError("in the middle")
        self.batches += 1
        give_up = time.monotonic() + 10
        while self.metered and self.batches == 1 and time.monotonic() < give_up:
            if any(one.totals().power_w > 0 for one in active._TRACKERS.values()):
                return
            time.sleep(0.01)

    def model(self) -> Model:
        torch.manual_seed(5)
        return Model(self.batch)


class Model(torch.nn.Module):
    """A little language model; dropout tells whether the random numbers stay the same."""

    def __init__(self, at: Callable[[], None]) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(32, 8)
        self.dropout = torch.nn.Dropout(0.2)
        self.head = torch.nn.Linear(8, 32)
        self.at = at

    def forward(self, input_ids: Any, labels: Any = None) -> dict[str, Any]:
        if self.training:
            self.at()
            time.sleep(0.005)
        logits = self.head(self.dropout(self.embedding(input_ids)))
        if labels is None:
            return {"logits": logits}
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return {"loss": loss, "logits": logits}


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [one.detach().cpu().clone() for one in model.parameters()]


def rows(count: int = 22) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(32, (count, LENGTH), generator=generator)
    return [{"input_ids": one, "labels": one.roll(1)} for one in ids]


def loader(count: int = 22) -> Any:
    return torch.utils.data.DataLoader(rows(count), batch_size=4)  # type: ignore[arg-type] # a list is a data set
