"""The trackers of this process: found by ``greenai.phase``, disarmed in a forked child."""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.live.tracker import Tracker

_TRACKERS: weakref.WeakValueDictionary[int, Tracker] = weakref.WeakValueDictionary()
"""In the order in which they were started."""
_ORDER = itertools.count()


def enter(tracker: Tracker) -> None:
    """Take in a tracker that has started."""
    _TRACKERS[next(_ORDER)] = tracker


def latest() -> Tracker | None:
    """Tracker that meters this process; None where none does."""
    return next((one for one in reversed(list(_TRACKERS.values())) if one.active), None)


def refuse_second() -> None:
    """Refuse a run while this process meters another.

    Raises:
        OrderError: It does. Both records would hold all of the energy.
    """
    other = latest()
    if other is not None:
        raise OrderError(
            f"This process is being metered already, into {other.run_folder}.",
            "A second record would hold the same energy, and their sum would count it twice.",
            "mark a part of a run by greenai.phase, or end the other run first: greenai.stop()",
        )


def step(**facts: Any) -> None:
    """Mark that an optimizer step ends here, by the tracker that meters this process.

    Without one nothing happens, so a training may mark its steps whether it is metered or not.

    Args:
        **facts: As of ``Tracker.step``: tokens, samples, loss, batches, flops, index, epoch.

    Example:
        >>> import greenai
        >>> greenai.step(tokens=512, loss=0.5)
    """
    tracker = latest()
    if tracker is not None:
        tracker.step(**facts)


def stop() -> None:
    """End the run that this process meters; nothing happens where there is none.

    Example:
        >>> import greenai
        >>> greenai.stop()
    """
    tracker = latest()
    if tracker is not None:
        tracker.stop()


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark a phase around a block, by the tracker that meters this process.

    ``validation``, ``checkpoint``, ``data_wait``, ``test``, ``predict`` and ``other`` part the
    run's time, as ``Tracker.phase`` does. ``forward``, ``backward`` and ``optimizer`` are parts of
    a step: their energy stays in it and is shown in ``subphases.csv`` beside it. All of them are
    times of the host: on a GPU, whose work is queued, a part of a step says when work was handed
    over, not when it was done.

    Args:
        name: The phase. Without an active tracker nothing happens, so a model may name its parts
            whether it is metered or not.

    Example:
        >>> import greenai
        >>> with greenai.phase("forward"):
        ...     loss = 0.5
    """
    tracker = latest()
    if tracker is None:
        yield
        return
    with tracker.phase(name):
        yield


def _disarm_all() -> None:
    for tracker in list(_TRACKERS.values()):
        tracker.disarm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disarm_all)
