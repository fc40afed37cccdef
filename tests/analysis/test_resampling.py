"""Laws of blocks: long enough to be independent, nothing lost between them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.analysis.resampling import BLOCKS_MOST, blocks_of, ratio_within_runs


@given(st.lists(st.floats(0.01, 30), max_size=300), st.floats(0, 5))
def test_blocks_are_long_and_hold_everything(durations: list[float], refresh_s: float) -> None:
    duration_s = np.array(durations)
    steps = np.ones(len(durations))
    blocks = blocks_of(50 * duration_s, duration_s, {"step": steps}, refresh_s)
    assert len(blocks) <= BLOCKS_MOST + 1
    assert all(block.duration_s >= max(10, 10 * refresh_s) * (1 - 1e-6) for block in blocks)
    if blocks:
        assert sum(block.duration_s for block in blocks) == pytest.approx(duration_s.sum())
        assert sum(block.energy_j for block in blocks) == pytest.approx(50 * duration_s.sum())
        assert sum(block.amounts["step"] for block in blocks) == len(durations)
    else:
        assert duration_s.sum() < max(10, 10 * refresh_s) * (1 + 1e-6)


def test_a_day_is_cut_into_longer_blocks_and_not_into_more() -> None:
    second = np.ones(86_400)
    blocks = blocks_of(second, second, {"step": second}, 0.1)
    assert len(blocks) == BLOCKS_MOST
    assert blocks[0].duration_s == pytest.approx(432)


def test_unknown_refresh_and_unknown_time_break_nothing() -> None:
    ones = np.ones(25)
    assert len(blocks_of(ones, ones, {}, math.nan)) == 2
    assert blocks_of(ones, np.full(25, math.nan), {}, 0.1) == ()


def test_the_interval_of_blocks_covers_when_blocks_are_independent() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        used = 100 * np.exp(rng.normal(0, 0.05, (2, 40)))
        low, high = ratio_within_runs(
            ((0.8 * used[0]).tolist(), [1.0] * 40), (used[1].tolist(), [1.0] * 40)
        )
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 400 <= 0.98


def test_the_same_runs_give_the_same_interval() -> None:
    rng = np.random.default_rng(4)
    one = (rng.uniform(90, 110, 12).tolist(), [1.0] * 12)
    assert ratio_within_runs(one, one) == ratio_within_runs(one, one)


def test_steps_of_unequal_work_are_weighted_by_it() -> None:
    # Twice the work for twice the energy: every resample gives the same joules per token.
    work = [1.0, 2.0] * 6
    low, high = ratio_within_runs(([3 * w for w in work], work), ([6 * w for w in work], work))
    assert (low, high) == pytest.approx((0.5, 0.5))
