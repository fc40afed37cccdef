"""One stage of a training while it is metered: its tracker, open phase and step under way."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch

from greenai.callbacks.batches import StepFacts, plain_number

if TYPE_CHECKING:
    from greenai.callbacks.late_losses import LateLosses
    from greenai.live.tracker import Totals, Tracker

START_S = 2.0
"""A sampler has published its first totals by then."""


class Metering:
    """Turns what happens in a training loop into marks.

    Args:
        tracker: Started.
        index: Number of the step that comes next.
        flops_per_token: FLOPs that training takes for a token; None leaves FLOPs unknown.
    """

    def __init__(self, tracker: Tracker, *, index: int = 0, flops_per_token: float | None) -> None:
        self.tracker = tracker
        self.index = index
        self.late_losses: LateLosses | None = None
        self._flops_per_token = flops_per_token
        self._started_s = time.monotonic()
        self._phase: str | None = None
        self._part: str | None = None
        self._facts = StepFacts()
        self._device_losses: list[torch.Tensor] = []

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_s

    @property
    def phase(self) -> str | None:
        """The open phase; None between batches' arrival and the step's end."""
        return self._phase

    def train_start(self, index: int, late_losses: LateLosses | None) -> None:
        """Steps begin here; the next one has this number."""
        self.index, self.late_losses = index, late_losses
        self._facts = StepFacts()
        self._device_losses = []
        self.tracker.train_start()

    def enter(self, phase: str | None) -> None:
        """Go over to a phase, or (None) to the step itself; the phase before ends."""
        if self._phase is not None:
            self.tracker.end(self._phase)
        if phase is not None:
            self.tracker.begin(phase)
        self._phase = phase

    def enter_part(self, part: str | None) -> None:
        """Go over to a part of the step (forward, backward, optimizer), or (None) to none."""
        if self._part is not None:
            self.tracker.end(self._part)
        if part is not None:
            self.tracker.begin(part)
        self._part = part

    def batch(
        self, *, tokens: float | None, samples: float | None, loss: Any, factor: float, due: bool
    ) -> None:
        """Add a batch to the step under way.

        Args:
            tokens: Tokens; None is unknown.
            samples: Samples; None is unknown.
            loss: A number, a tensor on the CPU, or one on a GPU, which is not waited for.
            factor: What takes back the trainer's division of the loss.
            due: Whether the loss of this step is wanted where it must be fetched from a GPU.
        """
        number = plain_number(loss)
        self._facts.add(
            tokens=tokens, samples=samples, loss=None if number is None else number * factor
        )
        if due and self.late_losses is not None and isinstance(loss, torch.Tensor) and loss.is_cuda:
            self._device_losses.append(loss)

    def step(self, epoch: int, factor: float) -> int:
        """End the step under way and return its number."""
        facts, index = self._facts, self.index
        flops = None
        if self._flops_per_token is not None and facts.tokens is not None:
            flops = self._flops_per_token * facts.tokens
        self.tracker.step(
            tokens=facts.tokens,
            samples=facts.samples,
            loss=facts.mean_loss,
            batches=facts.batches,
            flops=flops,
            index=index,
            epoch=epoch,
        )
        self.index = index + 1
        self._facts = StepFacts()
        if self._device_losses and self.late_losses is not None:
            self.take_late_losses()
            if len(self._device_losses) == facts.batches:
                self.late_losses.offer(self._device_losses, factor, index)
            self._device_losses = []
        return index

    def take_late_losses(self) -> None:
        """Leave a mark for each loss that has come from the GPU since."""
        if self.late_losses is not None:
            for index, loss in self.late_losses.ready():
                self.tracker.value("loss", loss, index)

    def finish(self, *, in_haste: bool = False) -> Totals:
        """End the open phase and the record.

        A training that was shorter than the sampler's own start (about half a second) waits for
        that, so that its record can be loaded as soon as the trainer returns.

        Args:
            in_haste: Do not wait, because the training has failed or was interrupted.
        """
        self.enter(None)
        while not in_haste and self.age_s < START_S and math.isnan(self.tracker.totals().steps):
            time.sleep(0.01)
        return self.tracker.stop()
