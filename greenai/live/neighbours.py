"""Other runs that are metered on this host: both show the whole machine, so both must say so.

Every sampler holds a Unix socket with an abstract name, which says which run it meters (as a hash)
and vanishes with the process; it is connected to nothing and no file is made. The system lists the
names in ``/proc/net/unix``. Where there are no abstract names (macOS), or the other run is in a
container with a network of its own, it is not seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 1.0
SEEN_TIMES = 2
"""A run that has just ended is still there for a moment: it is no neighbour of the next one."""
BYTES_MAX = 4 * 2**20
"""Of the list of sockets; on a host with more of them, what comes after is not looked at."""
REASON = (
    "another run was metered on this host at the same time; what is read of the whole host is in "
    "both runs, and their sum would count it twice"
)
_PREFIX = "greenai-sampler/"


def announce(run_id: str) -> socket.socket | None:
    """Hold the name that tells other samplers of this host that the run is metered here.

    Returns:
        The socket, which keeps the name until it is closed; None where there are no such names.
    """
    if not sys.platform.startswith("linux"):
        return None
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        held.bind(f"\0{_PREFIX}{_digest(run_id)}/{os.getpid()}")
    except OSError:
        held.close()
        return None
    return held


def others(run_id: str, proc: str = "/proc") -> int:
    """How many other runs are metered on this host now; 0 also where nobody can tell."""
    found = set()
    with contextlib.suppress(OSError), Path(proc, "net/unix").open("rb") as file:
        for line in file.read(BYTES_MAX).decode(errors="replace").splitlines():
            _, at, name = line.rpartition(f" @{_PREFIX}")
            if at:
                found.add(name.partition("/")[0])
    return len(found - {_digest(run_id)})


def watch(run_id: str, say: Callable[[str, str], None]) -> None:
    """Look for other runs now and then, in a thread that nobody waits for, and say it once.

    Args:
        run_id: The run that is metered here.
        say: Leaves an event, with its word and reason.
    """

    def look() -> None:
        held = announce(run_id)
        seen = 0
        while held is not None and seen < SEEN_TIMES:
            time.sleep(LOOK_S)
            seen = seen + 1 if others(run_id) else 0
        if held is not None:
            say("shared", REASON)
            threading.Event().wait()  # keeps the name for the others

    threading.Thread(target=look, name="greenai-neighbours", daemon=True).start()


def _digest(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()[:16]
