"""Laws of the course: it goes through every knot, never falls, and breaks where a mark says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, readings_of

from greenai.analysis.course import course
from greenai.analysis.series import Series, covered_energy, series_from
from greenai.record.types import CHANGE, FIRST

S = 1000 * MS
NO_MARKS = np.empty(0, dtype=np.int64)


def series_of(t_ms: list[float], energy_j: list[float], **changes: object) -> Series:
    rows = [
        (int(t * MS), int(t * MS), e, FIRST if k == 0 else CHANGE)
        for k, (t, e) in enumerate(zip(t_ms, energy_j, strict=True))
    ]
    return series_from(readings_of(a_channel(refresh_ns=0, **changes), rows))


def steps_at(power_w: list[float], spacing_ms: float = 100.0) -> Series:
    t_ms = [k * spacing_ms for k in range(len(power_w) + 1)]
    return series_of(t_ms, [0.0, *np.cumsum(np.array(power_w) * spacing_ms / 1e3)])


@given(
    power_w=st.lists(st.floats(0, 800), min_size=1, max_size=30),
    marks_ms=st.lists(st.floats(0, 3000), max_size=20),
    seed=st.integers(0, 100),
)
@settings(max_examples=200, deadline=None)
def test_it_goes_through_every_knot_and_never_falls(
    power_w: list[float], marks_ms: list[float], seed: int
) -> None:
    spacing_ms = np.random.default_rng(seed).uniform(20, 150, len(power_w))
    t_ms = np.concatenate(([0.0], np.cumsum(spacing_ms)))
    series = series_of(t_ms.tolist(), [0.0, *np.cumsum(np.array(power_w) * spacing_ms / 1e3)])
    marks_ns = np.sort((np.array(marks_ms) * MS).astype(np.int64))
    found = course(series, marks_ns)
    assert found.energy_at(series.t_ns) == pytest.approx(series.energy_j, abs=1e-9)
    anywhere = np.linspace(-S, 6 * S, 3000).astype(np.int64)
    assert (np.diff(found.energy_at(anywhere)) >= -1e-9).all()
    assert found.energy_at(anywhere)[[0, -1]] == pytest.approx(
        [0.0, float(series.energy_j[-1])], abs=1e-9
    )


def test_constant_power_is_a_straight_line() -> None:
    series = steps_at([250.0] * 10)
    t_ns = np.arange(0, 1000, 7, dtype=np.int64) * MS
    assert course(series, NO_MARKS).energy_at(t_ns) == pytest.approx(0.25 * t_ns / MS)


def test_a_wave_is_followed_within_the_refresh() -> None:
    counter = SimulatedCounter(
        lambda t: 400 * t - 300 / (2 * math.pi) * math.cos(2 * math.pi * t), paced=True, phase=0.37
    )
    series = series_from(counter.readings(8))
    edges_ns = START_NS + np.arange(1 * S, 7 * S, 50 * MS)
    true_j = np.diff([counter.energy_j((t - START_NS) / 1e9) for t in edges_ns])
    smooth = np.diff(course(series, NO_MARKS).energy_at(edges_ns))
    chord = np.diff(covered_energy(series, edges_ns))
    assert np.median(np.abs(smooth - true_j) / true_j) < 0.03
    assert np.abs(smooth - true_j).mean() < 0.5 * np.abs(chord - true_j).mean()


@pytest.mark.parametrize("at_ms", [305, 330, 350, 395])
def test_a_mark_between_plateaus_is_where_the_power_changed(at_ms: int) -> None:
    mixed_w = (700 * (at_ms - 300) + 100 * (400 - at_ms)) / 100
    series = steps_at([700, 700, 700, mixed_w, 100, 100, 100])
    mark_ns = np.array([at_ms * MS])
    energy_j = course(series, mark_ns).energy_at(mark_ns)
    assert energy_j == pytest.approx([0.7 * at_ms], rel=1e-9)


def test_a_step_and_the_wait_behind_it_are_one_mark() -> None:
    series = steps_at([700, 700, 700, 400, 100, 100, 100])
    marks_ns = np.array([350 * MS, 350 * MS + 40_000, 352 * MS])
    energy_j = course(series, marks_ns).energy_at(marks_ns[:1])
    assert energy_j == pytest.approx([0.7 * 350], rel=1e-9)


@pytest.mark.parametrize(
    "marks_ms",
    [[320, 380], [250, 350], [350, 450]],
    ids=["two in the interval", "one in the interval before", "one in the interval after"],
)
def test_where_more_than_one_thing_happened_nothing_is_split(marks_ms: list[int]) -> None:
    series = steps_at([700, 700, 700, 400, 100, 100, 100])
    marks_ns = np.array(marks_ms) * MS
    with_marks = course(series, marks_ns).energy_at(marks_ns)
    assert with_marks == pytest.approx(course(series, NO_MARKS).energy_at(marks_ns))


def test_a_mark_that_explains_nothing_splits_nothing() -> None:
    series = steps_at([700, 700, 700, 650, 100, 100, 100])  # power fell long after the mark
    mark_ns = np.array([310 * MS])
    with_mark = course(series, mark_ns).energy_at(mark_ns)
    assert with_mark == pytest.approx(course(series, NO_MARKS).energy_at(mark_ns))


def test_gaps_add_nothing() -> None:
    rows = [(k * 100 * MS, k * 100 * MS, 50.0 * k, FIRST if k in {0, 6} else CHANGE)
            for k in range(12)]  # fmt: skip
    series = series_from(readings_of(a_channel(refresh_ns=0), rows))
    found = course(series, NO_MARKS)
    inside_ns = np.array([500, 540, 600]) * MS
    assert np.ptp(found.energy_at(inside_ns)) == 0.0
    assert found.energy_at(np.array([2 * S]))[0] == pytest.approx(50.0 * 10)


def test_an_integrated_power_holds_as_it_was_read() -> None:
    channel = a_channel(quantity="power_w", method="ram_model", trust="modelled")
    rows = [(0, S, 100.0, FIRST), (S, 2 * S, 300.0, CHANGE), (2 * S, 3 * S, 100.0, CHANGE)]
    series = series_from(readings_of(channel, rows))
    found = course(series, NO_MARKS).energy_at(np.array([S // 2, 3 * S // 2, 5 * S // 2]))
    assert found.tolist() == [50.0, 250.0, 450.0]


def test_without_readings_there_is_no_energy() -> None:
    series = series_from(readings_of(a_channel(), []))
    assert course(series, NO_MARKS).energy_at(np.array([S])).tolist() == [0.0]
