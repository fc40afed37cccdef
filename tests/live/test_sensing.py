"""Laws of sensing: change points only, honest brackets, a failed read is a break and no value."""

from __future__ import annotations

import math
import threading
import time
from itertools import pairwise
from time import monotonic_ns

from greenai.live.sensing import STILL_NS, ChangePoints, Sensing
from greenai.record.types import CHANGE, FIRST, STILL
from greenai.sensors.base import Channel, Reading, Refusal, Sensor

MS = 1_000_000


def channel(quantity: str = "energy_j", *, primary: bool = True, refresh_ms: int = 120) -> Channel:
    return Channel(
        quantity=quantity,  # type: ignore[arg-type]
        kind="gpu",
        device="gpu0",
        device_key="GPU-0",
        method="simulated",
        trust="measured",
        primary=primary,
        refresh_ns=refresh_ms * MS,
    )


def test_only_the_reads_that_saw_a_change_are_kept() -> None:
    points = ChangePoints(channel(), 3)
    kept = [
        points.feed(t * MS, t * MS + 1000, value)
        for t, value in [(0, 5.0), (20, 5.0), (40, 5.0), (60, 7.0), (80, 7.0), (100, 9.0)]
    ]
    assert kept == [
        (3, 0, 1000, 5.0, FIRST),
        None,
        None,
        (3, 40 * MS, 60 * MS + 1000, 7.0, CHANGE),
        None,
        (3, 80 * MS, 100 * MS + 1000, 9.0, CHANGE),
    ]


def test_a_counter_that_refreshes_faster_than_it_is_read_has_a_narrow_bracket() -> None:
    points = ChangePoints(channel(refresh_ms=1), 0)
    points.feed(0, 10, 1.0)
    row = points.feed(100 * MS, 100 * MS + 10, 2.0)
    assert row == (0, 99 * MS, 100 * MS + 10, 2.0, CHANGE)


def test_rest_is_confirmed_once_a_second() -> None:
    points = ChangePoints(channel(), 0)
    rows = [points.feed(t * MS, t * MS, 5.0) for t in range(0, 3001, 20)]
    kept = [row for row in rows if row is not None]
    assert [row[4] for row in kept] == [FIRST, STILL, STILL, STILL]
    assert all(b[2] - a[2] >= STILL_NS for a, b in pairwise(kept))


def test_a_power_holds_since_the_read_before() -> None:
    points = ChangePoints(channel("power_w"), 0)
    points.feed(0, 10, 100.0)
    assert points.feed(50 * MS, 51 * MS, 120.0) == (0, 10, 51 * MS, 120.0, CHANGE)


def test_a_channel_for_information_is_kept_once_a_second() -> None:
    points = ChangePoints(channel("temperature_c", primary=False), 0)
    rows = [points.feed(t * MS, t * MS, float(t)) for t in range(0, 3001, 20)]
    assert len([row for row in rows if row is not None]) == 4


class Counter:
    """A counter that grows by 1 J every 10 ms, fails between two moments, and tells its reads."""

    name = "simulated"

    def __init__(self, fail_from_s: float = math.inf, fail_to_s: float = math.inf) -> None:
        self.channels = (channel(),)
        self.period_ns = 5 * MS
        self.start_ns = monotonic_ns()
        self.fail_from_ns = fail_from_s * 1e9
        self.fail_to_ns = fail_to_s * 1e9
        self.closed = False

    def read(self) -> list[Reading]:
        t0_ns = monotonic_ns()
        age_ns = t0_ns - self.start_ns
        if self.fail_from_ns <= age_ns < self.fail_to_ns:
            return [Reading(0, t0_ns, monotonic_ns(), math.nan, "the device is lost")]
        return [Reading(0, t0_ns, monotonic_ns(), float(age_ns // (10 * MS)))]

    def close(self) -> None:
        self.closed = True


def sense(sensor: Counter, seconds: float) -> Sensing:
    def opener() -> tuple[list[Sensor], list[Refusal]]:
        return [sensor], []

    thread = Sensing("simulated", opener, lambda *_: 7)
    thread.start()
    time.sleep(seconds)
    thread.stop(monotonic_ns())
    thread.join(2)
    assert not thread.is_alive()
    assert sensor.closed
    return thread


def test_after_stop_the_next_change_of_the_counter_is_awaited() -> None:
    before_ns = monotonic_ns()
    thread = sense(Counter(), 0.1)
    position, low_ns, _, value, kind = thread.rows[-1]
    assert (position, kind) == (7, CHANGE)
    assert low_ns >= thread._stop_ns > before_ns
    assert value > 5


def test_a_failing_device_leaves_a_reason_and_then_a_first_value() -> None:
    thread = sense(Counter(fail_from_s=0.05, fail_to_s=0.1), 0.25)
    assert [reason for _, _, reason in thread.failures] == ["the device is lost"]
    assert thread.errors > 1
    assert [row[4] for row in thread.rows].count(FIRST) == 2
    assert all(row[3] == row[3] for row in thread.rows)


def test_a_sensor_that_hangs_does_not_keep_the_thread_from_being_left() -> None:
    release = threading.Event()

    class Hanging(Counter):
        def read(self) -> list[Reading]:
            release.wait(5)
            return super().read()

    sensor = Hanging()
    thread = Sensing("simulated", lambda: ([sensor], []), lambda *_: 0)
    thread.start()
    thread.stop(monotonic_ns())
    thread.join(0.1)
    assert thread.is_alive()
    release.set()
    thread.join(2)


def test_an_interface_that_cannot_even_be_opened_is_refused_with_the_reason() -> None:
    told: list[tuple[str, list[Channel], list[Refusal]]] = []

    def broken() -> tuple[list[Sensor], list[Refusal]]:
        raise AttributeError("no such call")

    def number(name: str, channels: list[Channel], refusals: list[Refusal], _: int) -> int:
        told.append((name, channels, refusals))
        return 0

    thread = Sensing("nvml", broken, number)
    thread.start()
    thread.join(5)
    assert not thread.opening
    [(name, channels, [refusal])] = told
    assert (name, channels) == ("nvml", [])
    assert "AttributeError: no such call" in refusal.reason
