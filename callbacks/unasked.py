"""Callbacks that nobody in the training has asked for: they give way to those that somebody has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from greenai.callbacks.fabric import EnergyCallback
from greenai.callbacks.lightning import EnergyMonitor
from greenai.callbacks.shield import Shielded
from greenai.live import active

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Unasked(Shielded):
    """No error leaves a hook, not even at the desk: who trains has not asked for metering."""

    def _hook(
        self,
        passing: tuple[type[Exception], ...],
        hook: Callable[..., T],
        *arguments: Any,
        **more: Any,
    ) -> T | None:
        del passing
        return super()._hook((), hook, *arguments, **more)


class AutomaticMonitor(Unasked, EnergyMonitor):
    """Meters a Trainer's training by the environment's settings, unless it is metered already.

    Example:
        >>> AutomaticMonitor().state_key  # a second callback with one key would be refused
        'greenai.AutomaticMonitor'
    """

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint, beside that of an ``EnergyMonitor``."""
        return "greenai.AutomaticMonitor"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Start, unless the user's own callback or tracker meters this training."""
        monitors = [one for one in trainer.callbacks if isinstance(one, EnergyMonitor)]
        if monitors == [self] and active.latest() is None:
            super().setup(trainer, pl_module, stage)


class AutomaticCallback(Unasked, EnergyCallback):
    """Meters a loop with Fabric by the environment's settings, unless it is metered already."""

    def on_after_setup(self, fabric: Any, module: Any = None) -> None:
        """Note who trains, unless the user's own callback does."""
        callbacks = [one for one in fabric._callbacks if isinstance(one, EnergyCallback)]  # noqa: SLF001 - told nowhere else
        if callbacks == [self]:
            super().on_after_setup(fabric, module)

    def _start(self) -> None:
        if self._fabric is not None and (self._place.tracker or active.latest() is None):
            super()._start()
