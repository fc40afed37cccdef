"""The statistics of a comparison against scipy, and against what they are defined by."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from greenai.analysis.contrast import Contrast, contrast
from greenai.analysis.effects import effects
from greenai.analysis.resampling import ratio_of_repeats
from greenai.analysis.student import detectable_shift

VALUES = st.integers(10, 1000).map(lambda hundredths: hundredths / 100)
"""Alike or clearly apart: of values that differ in their last digits scipy refuses the spread."""
ABBA = [1, -1, -1, 1, 1, -1]
"""How many places after A is B, in six pairs of a balanced order."""


def with_p(p: float) -> Contrast:
    return Contrast(stats.t.isf(p / 2, 9), 1.0, df=9, n=10, paired=True, lacking="")


def keys(n: int) -> list[str | None]:
    return [f"seed {k}" for k in range(n)]


def places(offsets: list[int]) -> tuple[list[int | None], list[int | None]]:
    """Places of B and of A in pairs where B comes so many places after A."""
    return [max(o, 0) for o in offsets], [max(-o, 0) for o in offsets]


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=12))
@settings(deadline=None)
def test_pairs_are_judged_by_students_t(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (list(side) for side in zip(*pairs, strict=True))
    found = contrast(ours, theirs, keys(len(pairs)), keys(len(pairs)))
    differences = np.log(ours) - np.log(theirs)
    if found.lacking:
        assert found.lacking == "no variation"
        assert np.std(differences) == pytest.approx(0, abs=1e-11)
        return
    effect = effects({"a": found}, {})["a"]
    expected = stats.ttest_1samp(differences, 0)
    interval = np.exp(expected.confidence_interval(0.95))
    assert (effect.low, effect.high) == pytest.approx(tuple(interval), rel=1e-6)
    assert effect.p_adjusted == pytest.approx(expected.pvalue, rel=1e-6)
    assert effect.method == "paired t"


@given(
    st.lists(VALUES, min_size=2, max_size=12, unique=True),
    st.lists(VALUES, min_size=2, max_size=12, unique=True),
)
@settings(deadline=None)
def test_runs_without_pairs_are_judged_by_welch(ours: list[float], theirs: list[float]) -> None:
    found = contrast(ours, theirs, [None] * len(ours), [None] * len(theirs))
    effect = effects({"a": found}, {})["a"]
    if found.lacking:
        return
    expected = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=False)
    assert found.df == pytest.approx(expected.df)
    interval = np.exp(expected.confidence_interval(0.95))
    assert (effect.low, effect.high) == pytest.approx(tuple(interval), rel=1e-6)
    assert effect.p_adjusted == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert effect.method == "Welch"


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=6))
@settings(deadline=None)
def test_holms_p_values_are_those_of_the_closed_test(p_values: list[float]) -> None:
    # What Holm's procedure is a shortcut for: a variant differs if Bonferroni rejects every set
    # of variants that it is in.
    names = [f"v{k}" for k in range(len(p_values))]
    judged = effects({name: with_p(p) for name, p in zip(names, p_values, strict=True)}, {})
    for k, name in enumerate(names):
        sets = [
            chosen
            for size in range(1, len(names) + 1)
            for chosen in itertools.combinations(range(len(names)), size)
            if k in chosen
        ]
        expected = max(min(1.0, len(one) * min(p_values[i] for i in one)) for one in sets)
        assert judged[name].p_adjusted == pytest.approx(expected)


def test_a_verdict_follows_the_adjusted_p_value() -> None:
    p_values = {"a": 0.03, "b": 0.001, "c": 0.02, "d": 0.6}
    judged = effects({name: with_p(p) for name, p in p_values.items()}, {})
    found = [judged[name].verdict for name in "abcd"]
    assert found == ["not resolved", "more", "not resolved", "not resolved"]
    assert judged["a"].low > 1 > judged["a"].low_adjusted
    assert judged["b"].low > judged["b"].low_adjusted > 1


def test_a_refused_variant_keeps_its_figures() -> None:
    each = Contrast(-0.5, 0.05, df=4, n=5, paired=True, lacking="")
    open_, refused = effects({"a": each}, {})["a"], effects({"a": each}, {"a": "modelled"})["a"]
    assert refused == dataclasses.replace(open_, verdict="not resolved", reason="modelled")


@pytest.mark.parametrize("variants", [1, 2, 4])
@pytest.mark.parametrize("n", [2, 3, 5, 6, 10, 30])
def test_the_detectable_effect_has_80_percent_power_by_the_noncentral_t(
    n: int, variants: int
) -> None:
    error, df = 0.01, n - 1
    each = Contrast(0.0, error, df=df, n=n, paired=True, lacking="")
    mde = effects({f"v{k}": each for k in range(variants)}, {})["v0"].mde
    shift, critical = math.log1p(mde) / error, stats.t.isf(0.05 / variants / 2, df)
    power = stats.nct.sf(critical, df, shift) + stats.nct.sf(critical, df, -shift)
    assert power == pytest.approx(0.8, abs=1e-8)


def test_the_detectable_effect_is_as_uncertain_as_its_spread() -> None:
    each = Contrast(0.0, 0.01, df=4, n=5, paired=True, lacking="")
    effect = effects({"a": each}, {})["a"]
    factors = np.sqrt(4 / stats.chi2.ppf([0.975, 0.025], 4))
    expected = np.expm1(detectable_shift(0.05, 4) * 0.01 * factors)
    assert (effect.mde_low, effect.mde_high) == pytest.approx(tuple(expected))
    assert effect.mde_low < effect.mde < effect.mde_high


def test_a_balanced_orders_drift_is_no_scatter() -> None:
    offsets = [1, -1, -1, 1, 1, -1]
    rng = np.random.default_rng(3)
    logs = -0.2 + 0.05 * np.array(offsets) + rng.normal(0, 0.01, 6)
    ours, theirs = np.exp(logs).tolist(), [1.0] * 6
    found = contrast(ours, theirs, keys(6), keys(6), *places(offsets))
    expected = stats.linregress(offsets, logs)
    assert found.position_removed
    assert (found.log_ratio, found.standard_error, found.df) == pytest.approx(
        (expected.intercept, expected.intercept_stderr, 4)
    )
    plain = contrast(ours, theirs, keys(6), keys(6))
    assert found.log_ratio == pytest.approx(plain.log_ratio)
    assert found.standard_error < plain.standard_error / 3


@pytest.mark.parametrize(
    "offsets",
    [[1, -1, -1, 1], [1] * 6, [1, -1, 1, -1, 1, 1], [0] * 6],
    ids=["too few pairs", "always after", "out of balance", "same place"],
)
def test_what_is_no_balanced_order_changes_no_interval(offsets: list[int]) -> None:
    n = len(offsets)
    ours = [1.0, 1.1, 1.3, 1.05, 1.2, 1.15][:n]
    found = contrast(ours, [1.0] * n, keys(n), keys(n), *places(offsets))
    assert dataclasses.replace(found, shown=(0, 0)) == dataclasses.replace(
        contrast(ours, [1.0] * n, keys(n), keys(n)), shown=(0, 0)
    )


def test_a_place_that_is_unknown_changes_no_interval() -> None:
    ours = [1.0, 1.1, 1.3, 1.05, 1.2, 1.15]
    own, other = places(ABBA)
    own[0] = None
    assert not contrast(ours, [1.0] * 6, keys(6), keys(6), own, other).position_removed


def test_the_percentile_interval_is_shown_from_twenty_repeats_and_never_decides() -> None:
    rng = np.random.default_rng(5)
    ours = np.exp(rng.normal(0.005, 0.01, 20)).tolist()
    few = effects({"a": contrast(ours[:19], [1.0] * 19, keys(19), keys(19))}, {})["a"]
    many = effects({"a": contrast(ours, [1.0] * 20, keys(20), keys(20))}, {})["a"]
    assert math.isnan(few.bootstrap_low)
    oracle = stats.bootstrap(
        (np.log(ours),), np.mean, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    assert np.log([many.bootstrap_low, many.bootstrap_high]) == pytest.approx(oracle, abs=3e-4)
    without = dataclasses.replace(
        contrast(ours, [1.0] * 20, keys(20), keys(20)), shown=(math.nan, math.nan)
    )
    assert effects({"a": without}, {})["a"].verdict == many.verdict


def test_unpaired_repeats_are_resampled_on_both_sides() -> None:
    rng = np.random.default_rng(6)
    ours, theirs = rng.normal(0.1, 0.02, 25), rng.normal(0, 0.02, 20)
    low, high = ratio_of_repeats([ours.tolist(), theirs.tolist()])
    oracle = stats.bootstrap(
        (ours, theirs),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        n_resamples=10_000,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert np.log([low, high]) == pytest.approx(oracle, abs=5e-4)
    assert math.isnan(ratio_of_repeats([ours.tolist(), theirs[:19].tolist()])[0])
