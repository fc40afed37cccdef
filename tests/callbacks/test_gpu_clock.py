"""Laws of GPU time, on a simulated queue in which every step's end is known exactly."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.gpu_queue import MS, US, GpuQueue

import greenai.live.marks
from greenai.analysis import gpu_time
from greenai.analysis.gpu_time import StepTimes, step_times
from greenai.callbacks.gpu_clock import POOL, GpuClock, clock_in_use
from greenai.live.marks import MarkReader, MarkWriter
from greenai.live.shared import Region
from greenai.record.types import FIXED_NAMES, GPU_TIME, STEP_END, STOP, Marks

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 1000 * MS


@dataclasses.dataclass(frozen=True)
class Step:
    """What happens between two boundaries."""

    service_ns: int = 5 * MS
    host_ns: int = 1 * MS
    waits: bool = False
    captured: bool = False
    leap_ns: int = 0


@dataclasses.dataclass
class Trained:
    """What a training left, the truth, and what the analysis makes of it."""

    marks: Marks
    truth_ns: np.ndarray
    clock: GpuClock
    times: StepTimes
    problems: tuple[str, ...]

    @property
    def error_ns(self) -> np.ndarray:
        return np.abs(self.times.end_ns - self.truth_ns)

    @property
    def host_error_ns(self) -> np.ndarray:
        return np.abs(self.marks.t_ns[self.marks.kind == STEP_END] - self.truth_ns)


def train(queue: GpuQueue, steps: Sequence[Step], *, wait_at_end: bool = True) -> Trained:
    region = Region.create({})
    writer, reader = MarkWriter(region), MarkReader(region)
    rows, truth_ns = [], []
    with mock.patch.object(greenai.live.marks, "monotonic_ns", side_effect=queue.time_ns):
        clock = GpuClock(0, queue)
        for step in steps:
            if step.leap_ns:
                queue.wait()
                queue.leap(step.leap_ns)
            queue.capturing = step.captured
            queue.work(step.service_ns)
            queue.host(step.host_ns)
            if step.waits:
                queue.wait()
            before = len(queue.passes_ns)
            clock.step(writer, 1, 512, 4, 0.5)
            truth_ns.append(queue.passes_ns[before] if len(queue.passes_ns) > before else -1)
            rows += reader.drain(1 << 20)
            reader.release()
        queue.capturing = False
        if wait_at_end:
            queue.wait()
        clock.finish(writer)
        writer.mark(STOP, 0, 0, 0.0)
    rows += reader.drain(1 << 20)
    reader.close()
    writer.disarm()
    region.close()
    types = (np.int64, np.uint8, np.uint16, np.int64, np.float64)
    columns: Any = [
        np.array(one, kind) for one, kind in zip(zip(*rows, strict=True), types, strict=True)
    ]
    marks = Marks(*columns, FIXED_NAMES)
    return Trained(marks, np.array(truth_ns), clock, *step_times(marks))


some_steps = st.lists(
    st.builds(
        Step,
        service_ns=st.integers(10 * US, 400 * MS),
        host_ns=st.integers(10 * US, 400 * MS),
        waits=st.booleans(),
        captured=st.sampled_from([False] * 9 + [True]),
    ),
    min_size=1,
    max_size=60,
)
some_queues = st.builds(
    GpuQueue,
    drift_ppm=st.floats(-100, 100),
    launch_ns=st.integers(1 * US, 30 * US),
    run_ahead=st.sampled_from([2, 16, 1024]),
)


@settings(deadline=None)
@given(some_queues, some_steps, st.booleans(), st.booleans())
def test_the_true_end_lies_within_the_stated_half_width(
    queue: GpuQueue, steps: list[Step], shared: bool, waits: bool
) -> None:
    queue.idle_is_shared = shared
    with mock.patch.object(gpu_time, "SLACK_MAX_NS", 10**15):  # however wide it is
        trained = train(queue, steps, wait_at_end=waits)
    told = trained.times.on_gpu
    assert (trained.error_ns <= trained.times.slack_ns)[told].all()
    assert trained.clock.failure is None
    assert (np.diff(trained.times.end_ns) >= 0).all()


@settings(deadline=None)
@given(some_queues, some_steps)
def test_nothing_is_asked_in_a_capture_and_nothing_is_synchronised(
    queue: GpuQueue, steps: list[Step]
) -> None:
    trained = train(queue, steps)
    assert trained.clock.failure is None  # a query in a capture raises, as the real one does
    assert "synchronize" not in queue.calls
    assert queue.threads == {threading.get_ident()}
    captured = np.array([step.captured for step in steps])
    assert not trained.times.on_gpu[captured].any()


def test_a_step_asks_the_driver_for_no_more_than_it_must() -> None:
    queue = GpuQueue()
    train(queue, [Step(waits=True)] * 1000)
    assert queue.calls["record"] <= 1000 + 4  # one a step, and one every 2 s of the 6 s
    assert queue.calls["elapsed"] <= 1000 + 4
    # elapsed_time asks for both of its events once more
    assert queue.calls["query"] <= 4 * 1000 + 4 * 12
    assert queue.calls["event"] <= 4


@pytest.mark.parametrize("drift_ppm", [-100.0, -20.0, 0.0, 50.0, 100.0])
def test_an_asynchronous_loop_is_dated_to_a_fifth_of_a_millisecond(drift_ppm: float) -> None:
    queue = GpuQueue(drift_ppm=drift_ppm)
    rng = np.random.default_rng(1)
    steps = [
        Step(int(50 * MS * rng.uniform(0.5, 1.5)), int(48 * MS * rng.uniform(0.2, 1.8)))
        for _ in range(600)
    ]
    trained = train(queue, steps)
    assert trained.times.on_gpu.all()
    assert trained.problems == ()
    assert trained.times.slack_ns.max() < 0.2 * MS
    assert trained.error_ns.max() < 0.2 * MS
    assert np.median(trained.host_error_ns) > 20 * MS  # what the host's marks are off by


def test_clocks_are_chained_over_hours() -> None:
    queue = GpuQueue(drift_ppm=37.0)
    rng = np.random.default_rng(3)
    steps = [Step(int(rng.uniform(2, 4) * S), 3 * S, waits=n % 8 == 0) for n in range(5000)]
    trained = train(queue, steps)
    assert trained.times.on_gpu.all()
    assert (trained.error_ns <= trained.times.slack_ns).all()
    assert trained.times.slack_ns.max() < 0.5 * MS


def test_without_an_idle_stream_the_host_keeps_the_boundaries_and_says_so() -> None:
    queue = GpuQueue()
    queue.idle_is_shared = True
    trained = train(queue, [Step(500 * MS, 499 * MS)] * 50, wait_at_end=False)
    assert not trained.times.on_gpu.any()
    assert np.isnan(trained.times.slack_ns).all()
    assert any("known to ± 1 ms at best" in one for one in trained.problems)


def test_a_loop_that_waits_for_its_gpu_needs_no_idle_stream() -> None:
    queue = GpuQueue()
    queue.idle_is_shared = True
    rng = np.random.default_rng(2)
    trained = train(queue, [Step(int(rng.uniform(4, 6) * MS), MS, waits=True)] * 200)
    assert trained.times.on_gpu.all()
    assert trained.times.slack_ns.max() < 0.2 * MS


def test_a_queue_longer_than_the_pool_falls_back_and_recovers() -> None:
    queue = GpuQueue(run_ahead=10_000)
    ahead = [Step(10 * S, 10 * US), *[Step(10 * US, 10 * US)] * (POOL + 50)]
    trained = train(queue, [*[Step(waits=True)] * 3, *ahead, *[Step(5 * MS, waits=True)] * 400])
    told = trained.times.on_gpu
    # Of the pool one event is the anchor of all times and one may be a probe under way.
    assert 50 <= np.count_nonzero(~told) <= 56
    assert told[-100:].all()
    assert (trained.error_ns <= trained.times.slack_ns)[told].all()
    assert len(trained.problems) == 1
    lengths_ns = np.diff(trained.times.end_ns)
    assert (lengths_ns[trained.truth_ns[1:] < 0] >= 0).all()


def test_a_suspended_machine_parts_the_clocks_and_both_sides_stay_right() -> None:
    queue = GpuQueue()
    before, after = [Step(20 * MS, 15 * MS)] * 300, [Step(20 * MS, 15 * MS)] * 300
    trained = train(queue, [*before, Step(20 * MS, leap_ns=3600 * S), *after])
    told = trained.times.on_gpu
    assert np.count_nonzero(~told) <= 20
    assert (trained.error_ns <= trained.times.slack_ns)[told].all()


def test_a_driver_that_fails_ends_the_clock_and_nothing_else() -> None:
    queue = GpuQueue()
    real, calls = queue.current_stream, []

    def fails_at_the_tenth(device: Any = None) -> Any:
        calls.append(device)
        if len(calls) == 10:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return real(device)

    queue.current_stream = fails_at_the_tenth  # type: ignore[method-assign] # a driver that fails
    trained = train(queue, [Step(waits=True)] * 20)
    assert len(calls) == 10
    assert "illegal memory access" in str(trained.clock.failure)
    assert np.count_nonzero(trained.marks.kind == STEP_END) == 20


def test_another_thread_asks_nothing() -> None:
    queue = GpuQueue()
    region = Region.create({})
    clock = GpuClock(0, queue)

    def elsewhere() -> None:
        writer = MarkWriter(region)
        clock.step(writer, 1, None, None, None)
        clock.finish(writer)
        assert not list(clock.look())
        writer.disarm()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    region.close()
    assert queue.calls == {}


def test_steps_of_one_number_are_not_told_apart() -> None:
    queue = GpuQueue()
    trained = train(queue, [Step(waits=True)] * 50)
    index = np.where(trained.marks.kind == STEP_END, 0, trained.marks.index)
    index[trained.marks.kind == GPU_TIME] = 0
    times, problems = step_times(dataclasses.replace(trained.marks, index=index))
    assert not times.on_gpu.any()
    assert problems


def test_devices_in_use_are_told_once_and_looked_for_ever_more_rarely() -> None:
    queue = GpuQueue(devices=(("aa", 1), ("bb", 0)))
    clock = GpuClock(0, queue)
    assert list(clock.look()) == ["GPU-aa"]
    queue.devices[1] = ("bb", 1 << 20)
    told = [uuid for _ in range(1000) for uuid in clock.look()]
    assert told == ["GPU-bb"]
    assert queue.calls["memory_reserved"] < 10


def test_an_allocator_without_statistics_tells_no_device_and_harms_nothing() -> None:
    queue = GpuQueue()
    clock = GpuClock(0, queue)
    with mock.patch.object(queue, "memory_reserved", side_effect=RuntimeError("not supported")):
        assert list(clock.look()) == []
    assert list(clock.look()) == []
    assert clock.failure is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_there_is_no_clock() -> None:
    assert clock_in_use() is None
