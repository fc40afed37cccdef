"""Laws of knots: each lies in its bracket, in order, and in step with the refresh where it can."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, readings_of

from greenai.analysis.knots import brackets, knot_times
from greenai.record.types import CHANGE, FIRST, STILL


def refreshes(count: int, jitter_ms: float, seed: int) -> np.ndarray:
    late = np.random.default_rng(seed).uniform(0, jitter_ms, count)
    return ((np.arange(count) * 100 + late) * MS).astype(np.int64)


@given(
    widths_ms=st.lists(st.sampled_from([1, 2, 4, 20, 80, 150]), min_size=4, max_size=40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_a_knot_lies_in_its_bracket_and_after_the_one_before(
    widths_ms: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    t_ns = np.cumsum(random.integers(20, 150, len(widths_ms))) * MS
    share = random.uniform(0, 1, len(t_ns))
    width_ns = np.array(widths_ms) * MS
    low = np.maximum.accumulate(t_ns - (share * width_ns).astype(np.int64))
    high = np.maximum(t_ns, low + width_ns // 10)
    high = np.maximum.accumulate(high)
    kind = random.choice([CHANGE, CHANGE, CHANGE, FIRST, STILL], len(t_ns)).astype(np.uint8)
    knots = knot_times(low, high, kind)
    assert (np.diff(knots) >= 0).all()
    assert (knots <= high).all()
    assert (knots >= low).all()


def test_a_change_that_was_seen_late_is_dated_by_those_around_it() -> None:
    true_ns = refreshes(20, 1.0, seed=3)
    low, high = true_ns - MS, true_ns + MS
    low[8] -= 96 * MS  # the reader overslept: it last looked just after the change before
    high[14] += 60 * MS
    knots = knot_times(low, high, np.zeros(20, dtype=np.uint8))
    assert np.abs(knots - true_ns).max() <= 2 * MS


def test_a_change_that_hides_a_refresh_is_dated_by_the_latest_one() -> None:
    true_ns = np.delete(refreshes(20, 0.0, seed=0), 9)  # two refreshes between two looks
    low, high = true_ns - MS, true_ns + MS
    low[9] -= 99 * MS
    knots = knot_times(low, high, np.zeros(19, dtype=np.uint8))
    assert abs(knots[9] - true_ns[9]) <= 2 * MS


def test_a_refresh_that_was_missed_at_the_start_does_not_date_the_rest() -> None:
    true_ns = np.delete(refreshes(20, 0.0, seed=0), 1)  # the first two changes are two apart
    low, high = true_ns - MS, true_ns + MS
    low[9] -= 96 * MS
    knots = knot_times(low, high, np.zeros(19, dtype=np.uint8))
    assert abs(knots[9] - true_ns[9]) <= 2 * MS


def test_the_first_value_was_refreshed_one_period_before_the_second() -> None:
    true_ns = refreshes(10, 0.0, seed=0)
    low, high = true_ns - MS, true_ns + MS
    low[0], high[0] = true_ns[0] - 50 * MS, true_ns[0] + 70 * MS
    kind = np.array([FIRST] + [CHANGE] * 9, dtype=np.uint8)
    knots = knot_times(low, high, kind)
    assert abs(knots[0] - true_ns[0]) <= 2 * MS


def test_without_narrow_changes_the_middle_is_the_best_that_is_known() -> None:
    low = np.arange(5) * 100 * MS
    high = low + 20 * MS
    assert (knot_times(low, high, np.zeros(5, dtype=np.uint8)) == (low + high) // 2).all()


def test_a_value_that_is_only_confirmed_may_be_as_old_as_a_refresh() -> None:
    rows = [(0, 0, 1.0, FIRST), (99 * MS, 101 * MS, 2.0, CHANGE), (180 * MS, 181 * MS, 2.0, STILL)]
    low, high = brackets(readings_of(a_channel(refresh_ns=120 * MS), rows))
    assert low.tolist() == [-120 * MS, 99 * MS, 60 * MS]
    assert high.tolist() == [0, 101 * MS, 181 * MS]


def test_a_board_that_refreshes_slower_than_its_bound_widens_the_brackets_itself() -> None:
    slow = SimulatedCounter(lambda t: 300.0 * t, refresh_ms=500.0, phase=0.5, paced=True)
    readings = slow.readings(20, a_channel(refresh_ns=120 * MS))
    low, high = brackets(readings)
    first_refresh_ns = START_NS - 250 * MS
    assert low[0] <= first_refresh_ns <= high[0]
