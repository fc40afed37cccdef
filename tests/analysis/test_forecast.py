"""Laws of the forecast: it holds what it says, never less than is used."""

from __future__ import annotations

import math

import numpy as np
import pytest

from greenai.analysis.forecast import Settled, forecast
from greenai.errors import OrderError

EVEN = [Settled(0, 500.0), Settled(10, 600.0), Settled(20, 700.0)]


def test_even_steps_go_on_and_leave_no_doubt() -> None:
    found = forecast(EVEN, 120, intensity_g_per_kwh=360.0, pue=1.5, price_per_kwh=3.6)
    assert (found.energy_low_j, found.energy_j, found.energy_high_j) == (1700.0,) * 3
    assert found.steps_left == 100
    assert found.operational_co2e_g == pytest.approx(1700 / 3.6e6 * 360 * 1.5)
    assert found.cost == pytest.approx(1700 / 3.6e6 * 1.5 * 3.6)


def test_at_the_end_the_forecast_is_what_was_used() -> None:
    points = [*EVEN, Settled(30, 900.0)]
    found = forecast(points, 30)
    assert (found.energy_low_j, found.energy_j, found.energy_high_j) == (900.0,) * 3


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        steps_j = random.gamma(4.0, 2.5, size=400)
        used = np.concatenate([[0.0], np.cumsum(steps_j)])
        points = [Settled(float(at), float(used[at])) for at in range(0, 101, 10)]
        found = forecast(points, 400)
        held += found.energy_low_j <= used[-1] <= found.energy_high_j
    assert 0.92 < held / 400 < 0.98


def test_the_lower_bound_is_never_below_what_is_used() -> None:
    points = [Settled(0, 0.0), Settled(1, 1.0), Settled(2, 1000.0)]
    assert forecast(points, 10).energy_low_j >= 1000.0


@pytest.mark.parametrize("points", [[], EVEN[:2], [EVEN[0], EVEN[1], Settled(10, 650.0)]])
def test_two_points_with_steps_between_them_foresee_nothing(points: list[Settled]) -> None:
    found = forecast(points, 100)
    assert math.isnan(found.energy_j)
    assert math.isnan(found.operational_co2e_g)


def test_unknown_totals_are_passed_over_and_unknown_factors_stay_unknown() -> None:
    found = forecast([EVEN[0], Settled(math.nan, 550.0), *EVEN[1:]], 120)
    assert found.energy_j == pytest.approx(1700.0)
    assert math.isnan(found.operational_co2e_g)
    assert math.isnan(found.cost)


def test_energy_without_a_new_step_belongs_to_the_span_around_it() -> None:
    points = [Settled(0, 0.0), Settled(10, 100.0), Settled(10, 140.0), Settled(20, 200.0)]
    assert forecast(points, 40).energy_j == pytest.approx(400.0)


def test_totals_that_fall_and_steps_beyond_the_plan_are_refused() -> None:
    with pytest.raises(OrderError, match="fell"):
        forecast([*EVEN, Settled(30, 10.0)], 100)
    with pytest.raises(OrderError, match="15 steps are planned and 20 are done"):
        forecast(EVEN, 15)


@pytest.mark.parametrize(
    "factor", [{"pue": 0.9}, {"intensity_g_per_kwh": -1.0}, {"price_per_kwh": -0.1}]
)
def test_a_factor_out_of_range_is_refused(factor: dict[str, float]) -> None:
    with pytest.raises(OrderError):
        forecast(EVEN, 100, **factor)
