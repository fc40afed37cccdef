"""When the GPU came to the end of a step: one timing event a step, read later and never waited for.

The host hands work over and runs ahead of the GPU, so a step's mark on the host is early by the
length of the queue. An event recorded right after the mark is reached by the GPU when the step's
work is done. Where it has been reached by a later boundary, its time is left as a mark that points
back; ``greenai.analysis.gpu_time`` makes times of the host's clock of such marks.

Only the thread that trains records and asks, never while it captures a CUDA graph: a query from
another thread, or in a capture, invalidates the capture. Nothing is synchronised: to find the
clock, now and then one more event goes to a stream that is always idle, where the GPU comes to it
at once, and is asked for a few times in a row.
"""

from __future__ import annotations

from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch

from greenai.callbacks.used_devices import UsedDevices
from greenai.record.types import FIXED_NAMES, GPU_TIME
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.live.marks import MarkWriter

POOL = 256
"""Events at most; a training that runs further ahead of its GPU leaves its marks to the host."""
READ_MAX = 2
"""Events that are read at one boundary at most, so that a backlog shrinks and no step pays it."""
REANCHOR_MS = 16_000.0
"""Elapsed time is a float32 of milliseconds: within this it is good to 1 µs, in a day to 8 ms."""
PRECISE_MS = 64_000.0
"""Beyond this elapsed time is only good to 4 µs and worse, and is not used to find the clock."""
PROBE_NS = 2 * NS_PER_S
"""The clocks may drift by 100 ppm: no step's end is further than 0.1 ms from a probe's bounds."""
PROBE_QUERIES = 8
"""Queries in a row for a probe; some 10 µs, and no more where its stream is not idle after all."""

_PROBE = FIXED_NAMES.index("gpu_probe")
_STEP = 0


class GpuClock:
    """Dates the ends of steps on one GPU. A ``greenai.live.hook.StepHook``.

    It belongs to the thread that makes it. What fails in it ends it and nothing else: the steps
    that follow have the host's marks alone.

    Args:
        device: The GPU on which the steps are done; CUDA is initialised.
        cuda: ``torch.cuda``; a parameter so that it can be tried without a GPU.

    Attributes:
        failure: What ended it; None while it works.
    """

    def __init__(self, device: Any, cuda: Any = torch.cuda) -> None:
        self.failure: Exception | None = None
        self._owner = get_ident()
        self._cuda = cuda
        self._device = device
        self._devices: UsedDevices | None = UsedDevices(cuda)
        self._capturing = cuda.is_current_stream_capturing
        self._free: list[Any] = []
        self._made = 0
        self._pending: deque[tuple[int, int, Any]] = deque()
        self._anchor: Any = None
        self._anchor_ms = 0.0
        self._origin_ns = 0
        self._idle_stream: Any = None
        self._probe: tuple[int, int, Any] | None = None
        self._probe_due_ns = 0

    def step(
        self,
        writer: MarkWriter,
        batches: float,
        tokens: float | None,
        samples: float | None,
        loss: float | None,
    ) -> None:
        """Leave the marks of a step's end, and the GPU's times that are known by now."""
        works = self.failure is None and get_ident() == self._owner and not self._in_capture()
        # Asked before the mark is left, so that the mark's time is one by which it was seen.
        passed = self._passed(READ_MAX) if works else ()
        if not writer.step(batches, tokens, samples, loss):
            return
        index = writer.next_index - 1
        for earlier, late_us in passed:
            writer.mark_again(GPU_TIME, _STEP, earlier, late_us)
        if works and self.failure is None:
            self._record(writer, index, writer.last_ns)

    def look(self) -> Iterable[str]:
        """UUIDs of GPUs that torch was seen to use since the last call."""
        if self._devices is None or get_ident() != self._owner:
            return ()
        try:
            return self._devices.seen()
        except Exception:  # noqa: BLE001 - the border; an allocator without statistics raises
            self._devices = None
            return ()

    def finish(self, writer: MarkWriter) -> None:
        """Leave what the GPU has done by now; what it has not is left to the host's marks."""
        if self.failure is not None or get_ident() != self._owner or self._in_capture():
            return
        for earlier, late_us in self._passed(POOL):
            writer.mark(GPU_TIME, _STEP, earlier, late_us)

    def _in_capture(self) -> bool:
        try:
            return bool(self._capturing())
        except Exception as error:  # noqa: BLE001 - the border: the training must go on
            self.failure = error
            return True

    def _passed(self, most: int) -> list[tuple[int, float]]:
        """Oldest boundaries that the GPU has passed: the step's index, and how late it was."""
        passed: list[tuple[int, float]] = []
        pending = self._pending
        try:
            while pending and len(passed) < most and pending[0][2].query():
                index, t_ns, event = pending.popleft()
                if self._anchor is None:
                    self._anchor, self._origin_ns = event, t_ns
                    passed.append((index, 0.0))
                    continue
                elapsed_ms = self._anchor.elapsed_time(event)
                passed.append((index, self._late_us(t_ns, elapsed_ms)))
                if elapsed_ms >= REANCHOR_MS:
                    self._anchor_ms += elapsed_ms
                    self._anchor, event = event, self._anchor
                self._free.append(event)
        except Exception as error:  # noqa: BLE001 - the border: the training must go on
            self.failure = error
        return passed

    def _late_us(self, t_ns: int, elapsed_ms: float) -> float:
        """Microseconds from a mark to its event, by a clock that stood even at the first event."""
        gpu_us = (self._anchor_ms + elapsed_ms) * 1000.0
        return float(round(gpu_us - (t_ns - self._origin_ns) / 1000))

    def _record(self, writer: MarkWriter, index: int, t_ns: int) -> None:
        try:
            event = self._event()
            if event is None:
                return
            event.record(self._cuda.current_stream(self._device))
            self._pending.append((index, t_ns, event))
            if self._probe is not None:
                self._read_probe(writer)
            elif t_ns >= self._probe_due_ns and self._anchor is not None:
                self._send_probe(writer, index, t_ns)
        except Exception as error:  # noqa: BLE001 - the border: the training must go on
            self.failure = error

    def _event(self) -> Any:
        """An event that is free; None where all are under way."""
        if self._free:
            return self._free.pop()
        if self._made == POOL:
            return None
        self._made += 1
        return self._cuda.Event(enable_timing=True)

    def _send_probe(self, writer: MarkWriter, index: int, t_ns: int) -> None:
        event = self._event()
        if event is None:
            return
        if self._idle_stream is None:
            # Of the streams with priority, which trainings seldom use: torch hands out its 32
            # streams in turn, so that one of the others might be shared with the training.
            self._idle_stream = self._cuda.Stream(device=self._device, priority=-1)
        event.record(self._idle_stream)
        self._probe = (index, t_ns, event)
        self._probe_due_ns = t_ns + PROBE_NS
        for _ in range(PROBE_QUERIES):
            if self._read_probe(writer):
                return

    def _read_probe(self, writer: MarkWriter) -> bool:
        if self._probe is None or not self._probe[2].query():
            return False
        index, t_ns, event = self._probe
        self._probe = None
        elapsed_ms = self._anchor.elapsed_time(event)
        if elapsed_ms < PRECISE_MS:
            writer.mark(GPU_TIME, _PROBE, index, self._late_us(t_ns, elapsed_ms))
        else:  # after a pause; the next step's event becomes the anchor, and is waited for
            self._probe_due_ns = 0
        self._free.append(event)
        return True


def clock_in_use(device: Any = None) -> GpuClock | None:
    """Give a clock for the GPU that this thread computes on; None while torch has used none.

    Args:
        device: The GPU; None takes the current one.
    """
    if not torch.cuda.is_initialized() or torch.version.cuda is None:
        return None
    return GpuClock(torch.cuda.current_device() if device is None else device)
