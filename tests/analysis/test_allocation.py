"""Laws of the best size: no other split of the FLOPs has less loss, and errors are carried."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.analysis.allocation import best_for_flops, flops_for_loss, loss_nats
from greenai.errors import OrderError


@given(st.floats(18, 26), st.floats(0.3, 3.0))
def test_no_other_split_of_the_flops_has_less_loss(power: float, factor: float) -> None:
    best = best_for_flops(10**power)
    other = loss_nats(best.parameters * factor, best.tokens / factor)
    assert other >= best.loss_nats * (1 - 1e-12)


@given(st.floats(1.9, 3.5))
def test_the_loss_of_the_fewest_flops_is_the_one_asked_for(target: float) -> None:
    low, mid, high = flops_for_loss(target)
    assert best_for_flops(mid).loss_nats == pytest.approx(target, rel=1e-9)
    assert low < mid < high


@pytest.mark.parametrize(
    ("flops", "tokens_per_parameter"), [(1e20, 22.9), (1e21, 21.6), (1e23, 19.2), (1e25, 17.1)]
)
def test_tokens_a_parameter_are_those_of_the_refit(
    flops: float, tokens_per_parameter: float
) -> None:
    best = best_for_flops(flops)
    assert best.tokens / best.parameters == pytest.approx(tokens_per_parameter, abs=0.05)


def test_the_interval_widens_away_from_what_was_fitted_and_is_said() -> None:
    near, far = best_for_flops(1e21), best_for_flops(1e25)
    assert near.parameters_high / near.parameters < far.parameters_high / far.parameters
    assert far.extrapolated
    assert not near.extrapolated


def test_a_loss_within_the_error_of_the_floor_has_no_upper_bound() -> None:
    assert math.isinf(flops_for_loss(1.85)[2])


@pytest.mark.parametrize("target", [1.8, 0.0, -1.0, math.nan, math.inf])
def test_a_loss_that_no_model_reaches_is_refused(target: float) -> None:
    with pytest.raises(OrderError, match="not above"):
        flops_for_loss(target)


@pytest.mark.parametrize("flops", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_of_nothing_is_refused(flops: float) -> None:
    with pytest.raises(OrderError, match="above 0"):
        best_for_flops(flops)
