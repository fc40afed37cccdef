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


def test_a_step_of_unknown_energy_makes_no_curve_too_cheap() -> None:
    energy_j = np.full(10, 1.0)
    energy_j[3] = np.nan
    assert len(loss_curve(energy_j, np.ones(10))[0]) == 0
