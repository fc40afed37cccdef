"""Updates for any number of viewers: each is made once, kept for a while, and shared."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

CHANGES_KEPT = 120
"""A viewer that was away for no longer than so many updates gets these, and not all anew."""
QUIET_S = 10.0
"""A viewer hears something at least this often, so that a connection that is gone is seen."""
RETRY_MS = 1_000


class Feed:
    """Server-sent events of a state that changes.

    Args:
        whole: Makes the whole state; called at most once for each update, from any thread.

    Example:
        >>> feed = Feed(lambda: {"runs": {}})
        >>> closing = threading.Event()
        >>> events = feed.events("", closing)
        >>> (next(events) + next(events)).decode().splitlines()[:2]
        ['retry: 1000', 'event: whole']
    """

    def __init__(self, whole: Callable[[], dict[str, Any]]) -> None:
        self._make = whole
        self._epoch = format(time.time_ns(), "x")
        self._number = 0
        self._changes: deque[tuple[int, bytes]] = deque(maxlen=CHANGES_KEPT)
        self._whole: tuple[int, bytes] = (-1, b"")
        self._changed = threading.Condition()

    def publish(self, change: dict[str, Any]) -> None:
        """Tell all viewers of a change."""
        with self._changed:
            self._number += 1
            message = self._message("change", self._number, change)
            self._changes.append((self._number, message))
            self._changed.notify_all()

    def whole(self) -> tuple[int, bytes]:
        """The whole state as an event, and the number of the last change that is in it."""
        with self._changed:
            if self._whole[0] != self._number:
                data = self._message("whole", self._number, self._make())
                self._whole = (self._number, data)
            return self._whole

    def events(self, last_id: str, closing: threading.Event) -> Generator[bytes, None, None]:
        """Events for one viewer: what it has missed, then what comes.

        Args:
            last_id: Id of the last event it got; empty, or one of another server, gets all.
            closing: Ends the stream.
        """
        epoch, _, number = last_id.partition("-")
        at = int(number) if epoch == self._epoch and number.isdecimal() else -1
        yield f"retry: {RETRY_MS}\n".encode()
        while not closing.is_set():
            with self._changed:
                if at == self._number:
                    self._changed.wait(QUIET_S)
                oldest = self._changes[0][0] if self._changes else self._number + 1
                missed = [data for one, data in self._changes if one > at]
                newest = self._number
            if at > newest or at < oldest - 1:
                at, data = self.whole()
                yield data
            elif missed:
                at = newest
                yield b"".join(missed)
            else:
                yield b": still here\n\n"

    def _message(self, event: str, number: int, content: dict[str, Any]) -> bytes:
        data = json.dumps(content, separators=(",", ":"), allow_nan=False)
        return f"event: {event}\nid: {self._epoch}-{number}\ndata: {data}\n\n".encode()
