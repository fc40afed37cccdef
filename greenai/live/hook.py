"""What a tracker asks of the one who knows the GPU: live itself imports no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.live.marks import MarkWriter


class StepHook(Protocol):
    """Stands beside the marks at the boundaries of steps, on the thread that trains.

    Nothing in it raises, waits or synchronises a device.
    """

    def step(
        self,
        writer: MarkWriter,
        batches: float,
        tokens: float | None,
        samples: float | None,
        loss: float | None,
    ) -> None:
        """Leave the marks of a step's end, and what has become known of earlier ends."""

    def look(self) -> Iterable[str]:
        """UUIDs of GPUs that the training was seen to use since the last call."""

    def finish(self, writer: MarkWriter) -> None:
        """Leave what has become known, before the last mark."""
