"""Laws of what a run ends with: the last losses count, and unknown energy is no cheap loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from greenai.analysis.lens import CURVE_POINTS, final_loss, loss_curve


def test_a_run_ends_with_the_mean_of_its_last_tenth() -> None:
    assert final_loss(np.arange(100.0)) == 94.5


def test_losses_that_were_not_logged_do_not_count() -> None:
    loss = np.full(1000, np.nan)
    loss[::50] = np.linspace(5.0, 3.1, 20)
    assert final_loss(loss) == pytest.approx((3.2 + 3.1) / 2)


@pytest.mark.parametrize("last", [math.inf, -math.inf])
def test_a_run_that_diverged_has_no_loss(last: float) -> None:
    assert math.isnan(final_loss(np.array([3.0, 2.0, last])))


def test_a_run_without_a_loss_has_none() -> None:
    assert math.isnan(final_loss(np.full(10, np.nan)))


def test_a_curve_ends_where_the_energy_ends_and_is_thin() -> None:
    spent_j, loss = loss_curve(np.full(6000, 0.5), np.linspace(5, 2, 6000))
    assert len(spent_j) == len(loss) == CURVE_POINTS
    assert spent_j[-1] == pytest.approx(3000, rel=0.01)
    assert (np.diff(spent_j) > 0).all()


def test_a_curve_ends_before_a_step_of_unknown_energy() -> None:
    energy_j = np.full(10, 1.0)
    energy_j[6] = np.nan
    spent_j, loss = loss_curve(energy_j, np.arange(10.0))
    assert spent_j.tolist() == [1, 2, 3, 4, 5, 6]
    assert loss.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_curve_begins_with_the_first_metered_step() -> None:
    energy_j = np.array([np.nan, np.nan, 2.0, 2.0])
    spent_j, loss = loss_curve(energy_j, np.array([9.0, 8.0, 7.0, 6.0]))
    assert (spent_j.tolist(), loss.tolist()) == ([2.0, 4.0], [7.0, 6.0])


def test_a_run_of_unknown_energy_has_no_curve() -> None:
    assert len(loss_curve(np.full(4, np.nan), np.ones(4))[0]) == 0
