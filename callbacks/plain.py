"""The tracker of a loop of one's own: a block, a decorator, or start and stop in a notebook."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from greenai.callbacks.logging_targets import LoggingTargets
from greenai.callbacks.summary import summary_text
from greenai.errors import OrderError
from greenai.live import active
from greenai.live.tracker import Totals, Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from greenai.live.hook import StepHook
    from greenai.settings import Settings

__all__ = ["PlainTracker"]

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("greenai")


class PlainTracker(Tracker):
    """What ``greenai.track`` returns.

    Shown by a notebook it says what the run has used so far, or had used when it ended.

    Args:
        settings: Checked settings.
        config: Facts of the run to keep with the record, JSON-safe.
        find_hook: Gives what knows the GPU; None as long as there is none.

    Example:
        >>> import tempfile, greenai
        >>> @greenai.track(tempfile.mkdtemp() + "/run", sensors=[])
        ... def train(steps):
        ...     for _ in range(steps):
        ...         greenai.step(tokens=512)
        ...     return steps
        >>> train(3)
        3
    """

    def __init__(
        self,
        settings: Settings,
        *,
        config: Mapping[str, Any] | None = None,
        find_hook: Callable[[], StepHook | None] | None = None,
    ) -> None:
        super().__init__(settings, config=config, find_hook=find_hook)
        self._again = functools.partial(PlainTracker, settings, config=config, find_hook=find_hook)
        self._started_s = self._ended_s = 0.0
        self._targets = LoggingTargets()

    def start(self) -> Self:
        """Start; the first step begins here.

        Raises:
            OrderError: The tracker was started before, or this process meters another run.
            RecordError: The run folder cannot be used.
        """
        super().start()
        self._started_s = time.monotonic()
        self._targets.look()
        self.train_start()
        return self

    def stop(self, *, wait: bool | None = None) -> Totals:
        """End the run, see ``Tracker.stop``, and log its totals where a logger is open."""
        was_active = self.active
        if was_active:
            self._ended_s = time.monotonic()
        totals = super().stop(wait=wait)
        if was_active:
            self._targets.log(totals, world_size=self.launch.world_size)
        return totals

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function: each call of it is a run, whose steps ``greenai.step`` marks.

        A call from within a run that is metered already belongs to that run: there each joule has
        its place, and a record of its own would count it twice.

        Raises:
            OrderError: It is no plain function: what a generator or a coroutine does, it does
                after the call.
        """
        if (
            not callable(function)
            or inspect.isgeneratorfunction(function)
            or inspect.iscoroutinefunction(function)
        ):
            raise OrderError(
                f"{function!r} cannot be metered as a function.",
                "Its work is done after the call, and the run would be empty.",
                "decorate the function that drives it, or use the tracker in a with block",
            )

        @functools.wraps(function)
        def metered(*arguments: P.args, **more: P.kwargs) -> T:
            outer = active.latest()
            if outer is not None:
                _log.info("%s is metered as a part of %s.", function, outer.run_folder)
                return function(*arguments, **more)
            with self._again():
                return function(*arguments, **more)

        return metered

    def summary(self) -> str:
        """Say in a few lines what the run has used so far, or had used when it ended."""
        if not self._started_s:
            return f"greenai: not started; the record will be in {self.run_folder}"
        totals, until_s = self.totals(), self._ended_s or time.monotonic()
        return summary_text(
            totals,
            self.settings,
            duration_s=until_s - self._started_s,
            folder=self.run_folder,
            rank=self.launch.rank,
            world_size=self.launch.world_size,
        )

    def _repr_html_(self) -> str:
        """Show the summary in a notebook; names of the user's are text there and nothing else."""
        return f"<pre>{html.escape(self.summary())}</pre>"

    def _repr_markdown_(self) -> str:
        """The same where only Markdown is shown: as code, in which nothing is markup."""
        return "\n".join(f"    {line}" for line in self.summary().splitlines())
