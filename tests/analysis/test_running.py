"""Law of the live figures: whatever way the rows come in, the end equals the offline numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

from greenai.analysis.attribution import attribute
from greenai.analysis.running import RunningAttribution
from greenai.metrics import PHASES
from greenai.record.types import (
    NOTE,
    PHASE_BEGIN,
    PHASE_END,
    STEP_END,
    STOP,
    VALUE,
    ChannelReadings,
    Marks,
)

S = 1000 * MS


def reading_rows(all_readings: list[ChannelReadings]) -> list[tuple[int, int, int, float, int]]:
    rows = [
        (place, int(lo), int(hi), float(value), int(kind))
        for place, one in enumerate(all_readings)
        for lo, hi, value, kind in zip(one.t_lo_ns, one.t_hi_ns, one.value, one.kind, strict=True)
    ]
    return sorted(rows, key=lambda row: row[2])


def mark_rows(marks: Marks) -> list[tuple[int, int, int, int, float]]:
    columns = (marks.t_ns, marks.kind, marks.name, marks.index, marks.value)
    return [
        (int(t), int(kind), int(name), int(index), float(value))
        for t, kind, name, index, value in zip(*columns, strict=True)
    ]


def random_marks(random: np.random.Generator, seconds: float, *, stopped: bool) -> list[tuple]:
    t, rows, open_, number = START_NS - int(0.2 * S), [], [], 0
    rows.append((t, PHASE_BEGIN, "setup", 0, 0.0))
    t += int(0.1 * S)
    rows.append((t, PHASE_END, "setup", 0, 0.0))
    rows.append((t, NOTE, "train_start", 0, 0.0))
    while t < START_NS + (seconds - 1) * S:
        t += int(random.exponential(0.12) * S)
        what = random.integers(0, 9)
        if what == 0:
            open_.append(str(random.choice(["validation", "checkpoint", "data_wait"])))
            rows.append((t, PHASE_BEGIN, open_[-1], 0, 0.0))
        elif what == 1 and open_:
            rows.append((t, PHASE_END, open_.pop(), 0, 0.0))
        elif what == 2 and random.uniform() < 0.2:
            rows.append((t, NOTE, str(random.choice(["train_start", "marks_dropped"])), 3, 3.0))
        else:
            rows.append((t, VALUE, "tokens", number, 64.0))
            rows.append((t, STEP_END, "", number, 1.0))
            number += 1
    if stopped:
        rows.append((t + int(0.2 * S), STOP, "", 0, 0.0))
    return rows


@example(seed=123, stopped=True, gap=False)
@given(seed=st.integers(0, 100_000), stopped=st.booleans(), gap=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_end_equals_the_offline_attribution(seed: int, stopped: bool, gap: bool) -> None:
    random = np.random.default_rng(seed)
    channels = [a_channel(device_key=f"GPU-{k}") for k in range(2)]
    all_readings = [
        SimulatedCounter(
            lambda t: 200 * t + 50 * math.sin(3 * t), seed=seed + k, phase=k / 3
        ).readings(8, channel)
        for k, channel in enumerate(channels)
    ]
    if gap:
        all_readings[1] = with_gap(all_readings[1])
    marks = marks_of(random_marks(random, 8, stopped=stopped))
    offline = attribute(attempt_of(all_readings, marks))
    running = RunningAttribution()
    running.add_channels(channels)
    waiting = reading_rows(all_readings), mark_rows(marks)
    steps = []
    now_ns = START_NS
    while any(waiting):
        now_ns += int(random.exponential(0.4) * S)
        readings = [row for row in waiting[0] if row[2] <= now_ns]
        left = [row for row in waiting[1] if row[0] <= now_ns]
        waiting = waiting[0][len(readings) :], waiting[1][len(left) :]
        running.feed(readings, left, marks.names)
        steps += running.settle()
    steps += running.settle(closed=True)
    # A device that is back after a gap speaks of time already settled: of a refresh and two polls,
    # and the step that these lie in is unknown to the live figures as a whole.
    off_j = 50 + float(np.nanmax([*offline.step_j, 0.0])) if gap else 1e-7
    for place, channel in enumerate(offline.channels):
        assert running.phase_j[place].sum() == pytest.approx(channel.covered_j, rel=1e-9)
        live = dict(zip(PHASES, running.phase_j[place], strict=True))
        known = dict(zip(PHASES, offline.phase_j(channel), strict=True))
        assert live == pytest.approx(known, rel=1e-9, abs=off_j)
    table = offline.timeline.steps
    assert [step.index for step in steps] == table.index.tolist()
    if not gap:
        assert [step.energy_j for step in steps] == pytest.approx(
            offline.step_j.tolist(), rel=1e-9, abs=1e-7, nan_ok=True
        )
    assert [step.duration_s for step in steps] == pytest.approx((table.duration_ns / 1e9).tolist())
    assert [step.tokens for step in steps] == table.tokens.tolist()


@pytest.mark.parametrize("stall_ms", [100, 400, 1500])
@pytest.mark.parametrize("seed", range(4))
def test_the_total_is_the_records_and_no_phase_falls_however_late_reads_come(
    seed: int, stall_ms: int
) -> None:
    random = np.random.default_rng(seed)
    readings = SimulatedCounter(
        lambda t: 100 * t + 300 * (t // 2 + min(t % 2, 1)), seed=seed, phase=0.3, stall_ms=stall_ms
    ).readings(12)
    marks = marks_of(random_marks(random, 12, stopped=bool(seed % 2)))
    offline = attribute(attempt_of([readings], marks)).channels[0]
    running = RunningAttribution()
    running.add_channels([readings.channel])
    waiting = reading_rows([readings]), mark_rows(marks)
    now_ns, before_j = START_NS, running.phase_j
    while any(waiting):
        now_ns += int(random.exponential(0.4) * S)
        rows = [row for row in waiting[0] if row[2] <= now_ns]
        left = [row for row in waiting[1] if row[0] <= now_ns]
        waiting = waiting[0][len(rows) :], waiting[1][len(left) :]
        running.feed(rows, left, marks.names)
        running.settle()
        assert (running.phase_j >= before_j).all()
        before_j = running.phase_j.copy()
    running.settle(closed=True)
    assert running.phase_j.sum() == pytest.approx(offline.covered_j, rel=1e-9)


def with_gap(readings: ChannelReadings) -> ChannelReadings:
    """Cut 4 s out: nobody was reading, and the first value after it says so."""
    keep = (readings.t_hi_ns < START_NS + 2 * S) | (readings.t_lo_ns > START_NS + 6 * S)
    kind = readings.kind.copy()
    kind[np.flatnonzero(readings.t_lo_ns > START_NS + 6 * S)[0]] = 1
    return ChannelReadings(
        readings.channel,
        readings.t_lo_ns[keep],
        readings.t_hi_ns[keep],
        readings.value[keep],
        kind[keep],
    )


def test_memory_stays_bounded() -> None:
    running = RunningAttribution()
    running.add_channels([a_channel()])
    names = marks_of([]).names
    for second in range(300):
        t_ns = START_NS + second * S
        rows = [
            (0, t_ns + k * 100 * MS, t_ns + k * 100 * MS, second * 10.0 + k, 0) for k in range(10)
        ]
        marks = [(t_ns + k * 10 * MS, STEP_END, 0, second * 100 + k, 1.0) for k in range(100)]
        running.feed(rows, marks, names)
        running.settle()
        assert len(running._rows[0]) < 60  # of 3,000
        assert len(running._marks) < 200


def test_nothing_settles_before_the_sensors_are_open() -> None:
    running = RunningAttribution()
    running.feed([], [(START_NS, STEP_END, 0, 0, 1.0)], marks_of([]).names)
    assert running.settle(wait=True) == []
    assert running.settled_ns is None


def test_power_is_that_of_the_latest_change() -> None:
    running = RunningAttribution()
    running.add_channels([a_channel(refresh_ns=0)])
    assert math.isnan(running.power_w[0])
    rows = [(0, t * S, t * S, t * 250.0, 1 if t == 5 else 0) for t in range(5, 9)]
    running.feed(rows, [(5 * S, NOTE, 15, 0, 0.0)], marks_of([]).names)
    running.settle()
    assert running.power_w == [250.0]
