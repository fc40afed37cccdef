"""Where a monitor is in its trainings: run, step and stage."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from greenai.callbacks.metering import Metering
    from greenai.live.tracker import Tracker

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_STEPS_MAX = 2**32
"""Marks number their steps in 32 bits."""


@dataclasses.dataclass
class Place:
    """What a monitor knows of its runs; a copy of the monitor does not take it along.

    Attributes:
        tracker: Of the current or the latest stage.
        metering: Of the current stage.
        trainer: Weak reference to the trainer of the latest stage.
        index: Number of the step that comes next.
        global_step: The trainer's own count at the end of the latest step.
        restored: Run and step that a checkpoint told.
        in_epoch: Whether batches of a training epoch are being waited for.
        waits: Whether a fit is about to start, after its checkpoint.
        trains: Whether a training is on, as opposed to an evaluation by itself.
        evaluates: Whether an evaluation has been noticed that nothing announced.
    """

    tracker: Tracker | None = None
    metering: Metering | None = None
    trainer: Callable[[], Any] | None = None
    index: int = 0
    global_step: int = 0
    restored: tuple[str, int] | None = None
    in_epoch: bool = False
    waits: bool = False
    trains: bool = False
    evaluates: bool = False

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint tells; a checkpoint from elsewhere is data, not believed.

        Example:
            >>> place = Place()
            >>> place.restore({"run_id": "../else", "step": 3})
            >>> place.restored is None
            True
            >>> place.restore({"run_id": "4f2a", "step": 3})
            >>> place.restored
            ('4f2a', 3)
        """
        run_id, step = state.get("run_id"), state.get("step")
        known = isinstance(run_id, str) and _RUN_ID.fullmatch(run_id)
        if known and type(step) is int and 0 <= step < _STEPS_MAX:
            self.restored = (str(run_id), step)
