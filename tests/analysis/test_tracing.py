"""Laws of the curves of a run that goes on: they are those of the report, however it is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

from greenai.analysis.attribution import attribute
from greenai.analysis.decimation import Decimated
from greenai.analysis.tracing import TracedAttribution
from greenai.record.types import NOTE, PHASE_BEGIN, PHASE_END, STEP_END, STOP

S = 1000 * MS


def a_run(step_s: float, seconds: float = 12.0, **channel: Any) -> Any:
    """Steps with a validation inside every tenth, under power that swings."""
    readings = [
        SimulatedCounter(lambda t: 300 * t + 30 * np.sin(3 * t), phase=shift).readings(
            seconds, a_channel(device=f"gpu{n}", device_key=f"GPU-{n}", **channel)
        )
        for n, shift in enumerate((0.0, 0.4))
    ]
    t_ns, rows, index = START_NS + S // 2, [(START_NS + S // 2, NOTE, "train_start", 0, 0.0)], 0
    while t_ns + int(step_s * S) < START_NS + int((seconds - 1.5) * S):
        t_ns += int(step_s * S)
        if index % 10 == 5:
            rows += [(t_ns - 30 * MS, PHASE_BEGIN, "validation", 0, 0.0)]
            rows += [(t_ns - 10 * MS, PHASE_END, "validation", 0, 0.0)]
        rows.append((t_ns, STEP_END, "", index, 1.0))
        index += 1
    rows.append((t_ns + 1, STOP, "", 0, 0.0))
    return attempt_of(readings, marks_of(rows))


def followed(attempt: Any, tail_s: float) -> TracedAttribution:
    """Feed the run tail by tail, as its record grows."""
    traced = TracedAttribution()
    traced.add_channels(attempt.channels)
    columns = [getattr(attempt.marks, n) for n in ("t_ns", "kind", "name", "index", "value")]
    marks = list(zip(*(column.tolist() for column in columns), strict=True))
    rows = sorted(
        (int(hi), position, int(lo), float(value), int(kind))
        for position, one in enumerate(attempt.readings)
        for lo, hi, value, kind in zip(one.t_lo_ns, one.t_hi_ns, one.value, one.kind, strict=True)
    )
    end_ns = START_NS
    while rows or marks:
        end_ns += int(tail_s * S)
        new = [(p, lo, hi, value, kind) for hi, p, lo, value, kind in rows if hi <= end_ns]
        left = [mark for mark in marks if mark[0] <= end_ns]
        rows, marks = rows[len(new) :], marks[len(left) :]
        traced.feed(new, left, attempt.marks.names)
        traced.settle()
    traced.settle(closed=True)
    return traced


@pytest.mark.parametrize("tail_s", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("step_s", [0.07, 0.9, 4.5])
def test_bounds_of_steps_are_those_of_the_report(step_s: float, tail_s: float) -> None:
    attempt = a_run(step_s)
    offline = attribute(attempt)
    low, high = offline.step_bounds_j()
    taken = followed(attempt, tail_s).take_steps()
    found = [np.concatenate(columns) for columns in zip(*(t[1:] for t in taken), strict=True)]
    energy_j = [step.energy_j for t in taken for step in t.steps]
    assert energy_j == pytest.approx(offline.step_j.tolist(), rel=1e-9)
    assert found[0].tolist() == offline.timeline.steps.end_ns.tolist()
    assert found[1] == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert found[2] == pytest.approx(high, rel=1e-9, abs=1e-9)
    assert (found[1] < found[2]).all()


@pytest.mark.parametrize("tail_s", [0.3, 1.0, 5.0])
def test_power_is_the_mean_of_its_span_and_holds_all_energy(tail_s: float) -> None:
    attempt = a_run(0.9)
    traced = followed(attempt, tail_s)
    power = [one for one in traced.take_power() if one.position == 1]
    t_s = (np.concatenate([one.t_ns for one in power]) - START_NS) / S
    power_w = np.concatenate([one.power_w for one in power])
    assert np.diff(t_s) == pytest.approx(0.5)
    truth_w = np.diff(300 * t_s + 30 * np.sin(3 * t_s)) / 0.5
    assert power_w[1:] == pytest.approx(truth_w, rel=0.08)
    assert power_w[1:].mean() == pytest.approx(truth_w.mean(), rel=0.01)


def test_a_long_curve_keeps_its_peaks_and_its_mean_in_bounded_memory() -> None:
    curve, rng = Decimated(buckets_max=1000), np.random.default_rng(5)
    y = rng.normal(10.0, 1.0, 1_000_003)
    y[123_456], y[777_777], y[500_000] = 99.0, -99.0, np.nan
    for at in range(0, len(y), 77_777):
        part = y[at : at + 77_777]
        curve.add(np.arange(at, at + len(part), dtype=float), part - 1, part, part + 1)
    rows = curve.rows()
    assert 500 < len(rows) <= 1000
    assert rows[:, 4].max() == 100.0
    assert rows[:, 2].min() == -100.0
    assert (rows[0, 0], rows[-1, 1]) == (0, 1_000_002)
    assert (np.diff(rows[:, 0]) > 0).all()
    assert rows[:-1, 3].mean() == pytest.approx(np.nanmean(y), abs=1e-3)


def test_a_curve_is_the_same_however_it_comes() -> None:
    y = np.sin(np.arange(5000) / 50)
    whole, single = Decimated(buckets_max=64), Decimated(buckets_max=64)
    whole.add(np.arange(5000.0), y, y, y)
    for at in range(5000):
        single.add(np.array([float(at)]), y[[at]], y[[at]], y[[at]])
    assert single.rows() == pytest.approx(whole.rows())


def test_what_is_not_known_is_a_hole_and_not_a_zero() -> None:
    curve = Decimated(buckets_max=4)
    nan = np.array([np.nan])
    curve.add(np.array([1.0]), nan, nan, nan)
    curve.add(np.array([2.0]), np.array([-np.inf]), np.array([5.0]), np.array([np.inf]))
    assert np.isnan(curve.rows()[0, 2:]).all()
    assert curve.rows()[1].tolist() == [2, 2, 5, 5, 5]
