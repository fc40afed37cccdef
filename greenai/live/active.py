"""The trackers of this process: found by ``greenai.phase``, disarmed in a forked child."""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.live.tracker import Tracker

_TRACKERS: weakref.WeakValueDictionary[int, Tracker] = weakref.WeakValueDictionary()
"""By the order in which they were started."""
_ORDER = itertools.count()


def enter(tracker: Tracker) -> None:
    """Take in a tracker that has started."""
    _TRACKERS[next(_ORDER)] = tracker


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
    tracker = next((one for _, one in sorted(_TRACKERS.items(), reverse=True) if one.active), None)
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
