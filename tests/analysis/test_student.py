"""Student's t against scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats  # type: ignore[import-untyped]  # it ships no types

from greenai.analysis.student import critical_value, detectable_shift, two_sided_p

DEGREES = st.floats(1, 1000)


@given(st.floats(1e-3, 60), DEGREES)
def test_p_values_are_scipys(t: float, df: float) -> None:
    assert two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-10, abs=1e-300)
    assert two_sided_p(-t, df) == two_sided_p(t, df)


@given(st.floats(1e-15, 1e6))
def test_p_values_of_one_degree_of_freedom_are_cauchys(t: float) -> None:
    # A closed form also where scipy has lost its digits, near 0.
    assert two_sided_p(t, 1) == pytest.approx(2 / math.pi * math.atan2(1, t), rel=1e-10)


@given(st.floats(1e-8, 0.999), DEGREES)
def test_critical_values_are_scipys(alpha: float, df: float) -> None:
    expected = stats.t.isf(alpha / 2, df)
    assert critical_value(alpha, df) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.05 / 3])
@pytest.mark.parametrize("df", [1, 1.5, 2, 3.3, 4, 5, 9, 30, 200])
def test_the_power_at_the_detectable_shift_is_80_percent(alpha: float, df: float) -> None:
    shift = detectable_shift(alpha, df)
    critical = stats.t.isf(alpha / 2, df)

    def found(chi: float) -> float:
        s = chi / math.sqrt(df)
        tails = stats.norm.sf(critical * s - shift) + stats.norm.cdf(-critical * s - shift)
        return float(stats.chi.pdf(chi, df) * tails)

    power, _ = integrate.quad(found, 0, math.sqrt(df) + 9, limit=200)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_nothing_is_certain_at_zero() -> None:
    assert two_sided_p(0, 4) == 1
    assert two_sided_p(math.inf, 4) == 0
