"""The chi-square distribution against scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from greenai.analysis.chi_square import quantile, share_below, spread_interval

DEGREES = st.floats(0.9, 2000)


@given(st.floats(1e-4, 0.9999), DEGREES)
def test_quantiles_are_scipys(share: float, df: float) -> None:
    assert quantile(share, df) == pytest.approx(stats.chi2.ppf(share, df), rel=1e-9)


@given(st.floats(1e-6, 4000), DEGREES)
def test_chances_are_scipys(x: float, df: float) -> None:
    assert share_below(x, df) == pytest.approx(stats.chi2.cdf(x, df), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("df", [1, 2.5, 4, 9, 200])
def test_the_interval_of_a_spread_is_that_of_its_square(df: float) -> None:
    low, high = spread_interval(df)
    assert low == pytest.approx(math.sqrt(df / stats.chi2.ppf(0.975, df)))
    assert high == pytest.approx(math.sqrt(df / stats.chi2.ppf(0.025, df)))
    assert low < 1 < high
