"""Which GPUs torch uses, told by its own books: no driver is asked."""

from __future__ import annotations

from typing import Any

LOOKS_LEAST = 64
"""Calls between two looks at most; each costs some 50 µs a GPU."""


class UsedDevices:
    """Finds the GPUs on which torch's allocator holds memory.

    Memory that torch has reserved is in its allocator's own statistics. A device's properties
    were read and kept by torch when it initialised CUDA. So neither asks the driver.

    Args:
        cuda: ``torch.cuda``; a parameter so that it can be tried without a GPU.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._unused: set[int] | None = None
        self._calls = 0
        self._next_look = 1

    def seen(self) -> list[str]:
        """UUIDs of the GPUs that are newly in use; looks at every call, then ever more rarely."""
        self._calls += 1
        if self._calls < self._next_look:
            return []
        self._next_look = self._calls + min(self._calls, LOOKS_LEAST)
        if self._unused is None:
            self._unused = set(range(self._cuda.device_count()))
        used = [one for one in sorted(self._unused) if self._cuda.memory_reserved(one) > 0]
        self._unused.difference_update(used)
        uuids = [getattr(self._cuda.get_device_properties(one), "uuid", None) for one in used]
        return [f"GPU-{uuid}" for uuid in uuids if uuid is not None]
