"""What the adapters of all training loops have in common: settings, one run at a time, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from greenai.callbacks.arguments import checked_config, checked_counter, checked_flops
from greenai.callbacks.late_losses import LateLosses
from greenai.callbacks.logging_targets import LoggingTargets
from greenai.callbacks.metering import Metering
from greenai.callbacks.place import Place
from greenai.callbacks.shield import Shielded, protected
from greenai.callbacks.summary import summary_text
from greenai.live.tracker import Totals, Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from greenai.callbacks.batches import Counter
    from greenai.settings import Settings


class Adapter(Shielded):
    """Stands between the hooks of a loop and a tracker.

    A framework's adapter turns its hooks into ``_enter`` and the calls of ``Metering``; what a run
    is told, how it starts and how it ends is here.

    Args:
        settings: Checked.
        config: Facts of the run to keep with the record, JSON-safe.
        tokens: Tokens of a batch, or a function of the batch that counts them.
        batch_size: Samples of a batch, likewise.
        flops_per_token: FLOPs that training takes for a token; None leaves FLOPs unknown.
        print_summary: Whether rank 0 prints a summary at the end.

    Raises:
        OrderError: A value is out of range.
    """

    _left: ClassVar[Adapter | None] = None
    """Whose loop tells nobody of an exception, and was not seen to end."""

    def __init__(
        self,
        settings: Settings,
        *,
        config: Mapping[str, Any] | None = None,
        tokens: Counter = None,
        batch_size: Counter = None,
        flops_per_token: float | None = None,
        print_summary: bool = True,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.print_summary = print_summary
        self._config = checked_config(config)
        self._tokens = checked_counter(tokens, "tokens")
        self._batch_size = checked_counter(batch_size, "batch_size")
        self._flops_per_token = checked_flops(flops_per_token)
        self._place = Place()
        self._targets = LoggingTargets()

    def __getstate__(self) -> dict[str, Any]:
        """Copies, also those sent to other processes, meter nothing and own no run yet."""
        return {**vars(self), "_place": Place()}

    @property
    def run_folder(self) -> Path | None:
        """Folder of the run; None before it has started."""
        return None if self._place.tracker is None else self._place.tracker.run_folder

    @property
    def tracker(self) -> Tracker | None:
        """Tracker of the current or the latest stage, for values of one's own; None before it."""
        return self._place.tracker

    @property
    def run_id(self) -> str | None:
        """Identity of the run; None before it has started."""
        return None if self._place.tracker is None else self._place.tracker.run_id

    @property
    def totals(self) -> Totals:
        """What is settled of the current or the latest stage; NaN where nothing is known."""
        return Totals() if self._place.tracker is None else self._place.tracker.totals()

    @protected
    def stop(self) -> None:
        """End the record where the loop does not say so; nothing happens where it has ended."""
        self._finish(in_haste=True, silently=True)

    def _take_over(self) -> None:
        """End what a loop has left open that failed before: it has told nobody."""
        if Adapter._left is not None:
            Adapter._left.stop()
        Adapter._left = self

    def _meter(self, tracker: Tracker) -> None:
        """Take over a tracker that has started."""
        self._place.tracker = tracker
        self._place.metering = Metering(tracker, flops_per_token=self._flops_per_token)
        self._targets.look()

    def _steps_begin(self, index: int, device: torch.device | None) -> None:
        """End the setup: steps begin here, the next one with this number."""
        self._place.index = index
        if self._place.metering is None:
            return
        on_gpu = device is not None and device.type == "cuda"
        late_losses = self.attempt("Fetching losses from the GPU", LateLosses) if on_gpu else None
        self._place.metering.train_start(index, late_losses)

    @protected
    def _enter(self, phase: str | None) -> None:
        if self._place.metering is not None:
            self._place.metering.enter(phase)

    def _finish(self, *, in_haste: bool = False, silently: bool = False) -> None:
        """End the record, and say what the stage used; a second call does nothing."""
        if Adapter._left is self:
            Adapter._left = None
        metering, self._place.metering = self._place.metering, None
        if metering is None:
            return
        metering.take_late_losses()
        totals = metering.finish(in_haste=in_haste)
        launch = metering.tracker.launch
        self._targets.log(totals, world_size=launch.world_size)
        if self.print_summary and not silently and launch.rank == 0:
            text = summary_text(
                totals,
                metering.tracker.settings,
                duration_s=metering.age_s,
                folder=metering.tracker.run_folder,
                rank=launch.rank,
                world_size=launch.world_size,
            )
            print(text, flush=True)  # noqa: T201 - what the user asked for with print_summary

    def _close(self) -> None:
        self._place.metering = None
        if self._place.tracker is not None:
            self._place.tracker.stop()  # where it was stopped before, nothing happens
