"""Calls one way out now and then, in a thread that nobody waits for, and a last time at the end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from greenai.errors import GreenAIError
from greenai.exporters.delivery import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_S = 1.0
"""The first delivery comes this early, so that a short job is seen at all."""
AGAIN_S = 2.0
"""A last delivery that failed is tried again after this, unless the receiver says otherwise."""
TROUBLES_MAX = 20
"""Kinds of failure that are said; what fails in ever new words is not."""


class Way(Protocol):
    """One way out."""

    def __call__(self, *, final: bool) -> None:
        """Carry the latest figures out; the last ones where ``final``."""


class Delivery:
    """Calls one way out now and then, and a last time, in a thread that nobody waits for.

    Args:
        name: What people call it.
        way: Raises UndeliveredError or GreenAIError where it fails.
        interval_s: Seconds from one call to the next.
        say: Takes a sentence; called once for each kind of failure.
        only_last: Whether there is but the last call.
    """

    def __init__(
        self,
        name: str,
        way: Way,
        *,
        interval_s: float,
        say: Callable[[str], None],
        only_last: bool = False,
    ) -> None:
        self._name = name
        self._way = way
        self._interval_s = interval_s
        self._say = say
        self._said: set[str] = set()
        self._only_last = only_last
        self._ending = threading.Event()
        self._give_up_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"greenai-{name}", daemon=True)
        self._thread.start()

    def end(self, within_s: float) -> None:
        """Begin the last delivery; it is tried again for ``within_s``. Returns at once."""
        if not self._ending.is_set():
            self._give_up_s = time.monotonic() + within_s
            self._ending.set()

    def join(self) -> None:
        """Wait for the last delivery, however it ends."""
        self._thread.join(max(0.0, self._give_up_s - time.monotonic()) + AGAIN_S)

    def _run(self) -> None:
        wait_s = None if self._only_last else min(FIRST_S, self._interval_s)
        while not self._ending.wait(wait_s):
            wait_s = self._interval_s
            self._try(final=False)
        again_s = self._try(final=True)
        while again_s is not None and time.monotonic() + again_s < self._give_up_s:
            time.sleep(again_s)
            again_s = self._try(final=True)

    def _try(self, *, final: bool) -> float | None:
        """Call it once; seconds until it is worth trying again, None where it is not needed."""
        try:
            self._way(final=final)
        except UndeliveredError as error:
            self._say_once(
                f"{error.reason.rstrip('.')}. "
                + ("It is tried again." if error.again else "This is given up.")
            )
            return max(AGAIN_S, error.wait_s) if error.again else None
        except GreenAIError as error:
            self._say_once(f"{without_path(self._name, error)} It is tried again.")
            return AGAIN_S
        return None

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < TROUBLES_MAX:
            self._said.add(text)
            self._say(text)


def without_path(name: str, error: OSError | GreenAIError) -> str:
    """What went wrong, for the record, which holds no path of the user's."""
    cause = error.__cause__ if isinstance(error, GreenAIError) else error
    if isinstance(cause, OSError):
        return f"The {name} cannot be written: {cause.strerror}."
    return error.what if isinstance(error, GreenAIError) else str(error)
