"""A GPU's queue simulated in closed form: when each step is done is known exactly.

It stands in for ``torch.cuda``: streams that work off what the host hands over, events with the
real ones' rules (a query in a capture kills the capture, elapsed time is a float32 of milliseconds,
events that have not been passed have none), and a clock of the GPU's own that runs too fast or too
slow. The host's clock is moved by the test alone, so the moments are exact.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np

MS = 1_000_000
US = 1_000


class CaptureError(RuntimeError):
    """A CUDA graph capture was invalidated: the training would end here."""


@dataclasses.dataclass
class Stream:
    """Work in order; ``busy_until_ns`` is when the last of it is done, on the host's clock."""

    busy_until_ns: int = 0


class GpuQueue:
    """One GPU and the host that feeds it.

    Args:
        drift_ppm: How much faster the GPU's clock runs than the host's.
        launch_ns: Time from the host's call until an idle GPU does what it was handed.
        call_ns: Host time that every call of the driver takes.
        run_ahead: Pieces of work that fit into the queue; the host waits where it is full.
        devices: UUIDs, and whether torch holds memory on each.
    """

    def __init__(
        self,
        *,
        drift_ppm: float = 0.0,
        launch_ns: int = 4 * US,
        call_ns: int = 500,
        run_ahead: int = 1024,
        devices: tuple[tuple[str, int], ...] = (("aa", 1),),
    ) -> None:
        self.now_ns = 10**12
        self.drift_ppm = drift_ppm
        self.launch_ns = launch_ns
        self.call_ns = call_ns
        self.run_ahead = run_ahead
        self.devices = list(devices)
        self.main = Stream()
        self.idle_streams: list[Stream] = []
        self.idle_is_shared = False
        self.capturing = False
        self.calls: dict[str, int] = {}
        self.threads: set[int] = set()
        self.passes_ns: list[int] = []
        self._leaps: list[tuple[int, int]] = []
        self._done_ns: list[int] = []

    # What the test does.

    def work(self, service_ns: int) -> int:
        """Hand over work that takes the GPU so long; when it will be done. None in a capture."""
        self.now_ns += self.launch_ns
        if self.capturing:
            return self.main.busy_until_ns
        behind = [done for done in self._done_ns if done > self.now_ns]
        if len(behind) >= self.run_ahead:
            self.now_ns = behind[-self.run_ahead]
        self._done_ns = behind
        self.main.busy_until_ns = max(self.main.busy_until_ns, self.now_ns) + service_ns
        self._done_ns.append(self.main.busy_until_ns)
        return self.main.busy_until_ns

    def time_ns(self) -> int:
        """The host's monotonic clock."""
        return self.now_ns

    def host(self, ns: int) -> None:
        """Let the host do something else."""
        self.now_ns += ns

    def leap(self, ns: int) -> None:
        """Suspend the machine: the GPU's clock runs on while the host's monotonic one stands."""
        self._leaps.append((self.now_ns, ns))

    def wait(self) -> None:
        """Let the training itself wait for the GPU, as ``loss.item()`` does."""
        self.now_ns = max(self.now_ns, self.main.busy_until_ns)

    def gpu_between_ns(self, begin_ns: int, end_ns: int) -> float:
        """What the GPU's clock counts between two moments of the host's."""
        leapt_ns = sum(ns for at_ns, ns in self._leaps if begin_ns < at_ns <= end_ns)
        return (end_ns - begin_ns) * (1.0 + self.drift_ppm * 1e-6) + leapt_ns

    # What the training may call.

    def is_current_stream_capturing(self) -> bool:
        self._call("capturing")
        return self.capturing

    def current_stream(self, device: Any = None) -> Stream:
        del device
        return self.main

    def Stream(self, device: Any = None, priority: int = 0) -> Stream:  # noqa: N802 - torch's name
        del device, priority
        self._call("stream")
        self.idle_streams.append(self.main if self.idle_is_shared else Stream())
        return self.idle_streams[-1]

    def Event(self, *, enable_timing: bool = False) -> Event:  # noqa: N802 - torch's name
        assert enable_timing
        self._call("event")
        return Event(self)

    def synchronize(self, device: Any = None) -> None:
        del device
        self._call("synchronize")
        self.wait()

    def device_count(self) -> int:
        return len(self.devices)

    def memory_reserved(self, device: int) -> int:
        self._call("memory_reserved")
        return self.devices[device][1]

    def get_device_properties(self, device: int) -> Any:
        return type("Properties", (), {"uuid": self.devices[device][0]})()

    def _call(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        self.threads.add(threading.get_ident())
        self.now_ns += self.call_ns


class Event:
    """A timing event; ``passed_ns`` is the moment, on the host's clock, that nobody may see."""

    def __init__(self, queue: GpuQueue) -> None:
        self._queue = queue
        self.passed_ns: int | None = None

    def record(self, stream: Stream) -> None:
        self._queue._call("record")
        if self._queue.capturing:
            raise CaptureError("an event of ours became a node of the graph")
        arrives_ns = self._queue.now_ns + self._queue.launch_ns
        self.passed_ns = max(stream.busy_until_ns, arrives_ns)
        stream.busy_until_ns = self.passed_ns
        if stream is self._queue.main:
            self._queue.passes_ns.append(self.passed_ns)

    def query(self) -> bool:
        self._queue._call("query")
        if self._queue.capturing:
            raise CaptureError("operation not permitted when stream is capturing")
        return self.passed_ns is not None and self.passed_ns <= self._queue.now_ns

    def elapsed_time(self, end: Event) -> float:
        if not (self.query() and end.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        self._queue._call("elapsed")
        assert self.passed_ns is not None
        assert end.passed_ns is not None
        between_ns = self._queue.gpu_between_ns(self.passed_ns, end.passed_ns)
        return float(np.float32(np.floor(between_ns / 500) * 500 / MS))  # it counts in 0.5 µs

    def synchronize(self) -> None:
        self._queue._call("synchronize")
        self._queue.wait()
