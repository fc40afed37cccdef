"""How often a comparison errs: many simulated experiments whose truth is known.

What is shipped decides each of them. 20,000 experiments leave a share of 5 % uncertain by 0.3
points (two standard errors), a share of 80 % by 0.6.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from greenai.analysis.comparable import RunFigures
from greenai.analysis.compare import compare
from greenai.analysis.contrast import Contrast, contrast
from greenai.analysis.effects import Effect, effects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXPERIMENTS = 20_000
SEEDS_SD, RUN_SD = 0.03, 0.01
"""Seeds matter more than the noise of a run, which is why runs are paired by them."""


@dataclasses.dataclass
class Shares:
    """What became of many experiments."""

    any_verdict: float
    covered: float
    all_covered: float
    found: float
    mde_covered: float


def offsets_of(n: int) -> list[int]:
    """ABBA: in every other pair the variant comes first."""
    return [1 if k % 2 else -1 for k in range(n)]


def experiments(
    n: int, variants: int, *, effect: float, paired: bool, drift: float
) -> Iterator[list[list[float]]]:
    """Joules of variant 0, the baseline, and of the others; the first of them has an effect."""
    rng = np.random.default_rng([n, variants, int(paired), int(effect * 1e6), int(drift * 1e6)])
    seeds = rng.normal(0, SEEDS_SD, (EXPERIMENTS, 1 if paired else variants + 1, n))
    logs = seeds + rng.normal(0, RUN_SD, (EXPERIMENTS, variants + 1, n))
    logs[:, 1] += effect
    logs[:, 1] += drift * np.array(offsets_of(n))
    yield from np.exp(logs).tolist()


def judge(runs: Sequence[Sequence[float]], *, paired: bool, placed: bool) -> list[Effect]:
    n = len(runs[0])
    pairs: list[str | None] = [f"seed {k}" if paired else None for k in range(n)]
    own = [max(o, 0) for o in offsets_of(n)] if placed else []
    other = [max(-o, 0) for o in offsets_of(n)] if placed else []
    contrasts = {
        f"v{k}": contrast(one, runs[0], pairs, pairs, own, other)
        for k, one in enumerate(runs[1:], 1)
    }
    return list(effects(contrasts, {}).values())


def simulate(
    n: int,
    variants: int = 1,
    *,
    effect: float = 0.0,
    paired: bool = True,
    drift: float = 0.0,
    placed: bool = False,
) -> Shares:
    true_mde = effects({"v1": known(n, placed=placed)} | others(n, variants), {})["v1"].mde
    verdicts = covered = all_covered = found = mde_covered = 0
    made = experiments(n, variants, effect=effect, paired=paired, drift=drift)
    for runs in made:
        judged = judge(runs, paired=paired, placed=placed)
        first = judged[0]
        verdicts += any(one.verdict != "not resolved" for one in judged)
        covered += first.low <= math.exp(effect) <= first.high
        all_covered += all(one.low_adjusted <= 1 <= one.high_adjusted for one in judged)
        found += first.verdict == "more"
        mde_covered += first.mde_low <= true_mde <= first.mde_high
    counts = (verdicts, covered, all_covered, found, mde_covered)
    return Shares(*(count / EXPERIMENTS for count in counts))


def known(n: int, *, placed: bool = False) -> Contrast:
    """What an experiment would state that knew the spread of its runs."""
    error = RUN_SD * math.sqrt(2 / n)
    return Contrast(0.0, error, df=n - 1 - placed, n=n, paired=True, lacking="")


def others(n: int, variants: int) -> dict[str, Contrast]:
    return {f"v{k}": known(n) for k in range(2, variants + 1)}


@pytest.mark.parametrize("n", [5, 6, 10])
def test_one_variant_errs_in_5_percent_and_its_interval_covers_in_95(n: int) -> None:
    shares = simulate(n)
    assert 0.045 <= shares.any_verdict <= 0.055
    assert 0.945 <= shares.covered <= 0.955
    assert 0.945 <= shares.mde_covered <= 0.955


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 6, 10])
@pytest.mark.parametrize("variants", [2, 4])
def test_several_variants_err_together_in_at_most_5_percent(n: int, variants: int) -> None:
    shares = simulate(n, variants)
    assert shares.any_verdict <= 0.055
    assert shares.all_covered >= 0.945
    assert 0.945 <= shares.covered <= 0.955


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 6, 10])
@pytest.mark.parametrize("variants", [1, 2, 4])
def test_an_effect_as_large_as_the_detectable_one_is_found_in_80_percent(
    n: int, variants: int
) -> None:
    mde = effects({"v1": known(n)} | others(n, variants), {})["v1"].mde
    shares = simulate(n, variants, effect=math.log1p(mde))
    assert shares.found == pytest.approx(0.8, abs=0.02)
    assert 0.945 <= shares.covered <= 0.955


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 10])
@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_a_balanced_orders_drift_changes_no_error_rate_and_no_power(n: int, drift: float) -> None:
    shares = simulate(n, drift=drift, placed=True)
    assert 0.045 <= shares.any_verdict <= 0.055
    assert 0.945 <= shares.covered <= 0.955
    mde = effects({"v1": known(n, placed=True)}, {})["v1"].mde
    found = simulate(n, effect=math.log1p(mde), drift=drift, placed=True).found
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "least"), [(5, 0.04), (10, 0.045)])
def test_unpaired_runs_err_in_no_more_than_5_percent(n: int, least: float) -> None:
    # Welch's method is known to be a little cautious for few runs of equal spread.
    shares = simulate(n, paired=False)
    assert least <= shares.any_verdict <= 0.055
    assert 0.945 <= shares.covered <= 1 - least


def test_the_whole_comparison_decides_as_its_statistics_do() -> None:
    made = experiments(6, 2, effect=0.02, paired=True, drift=0.0)
    resolved = 0
    for runs in (next(made) for _ in range(300)):
        figures = [
            RunFigures(
                f"{k}-{seed}",
                f"v{k}",
                1000 * joules,
                joules,
                {"step": 1.0},
                {"measured": 1.0},
                pair=f"seed {seed}",
                coverage=1.0,
            )
            for k, one in enumerate(runs)
            for seed, joules in enumerate(one)
        ]
        results = compare(figures, "v0", per="step").results
        for result, expected in zip(results, judge(runs, paired=True, placed=False), strict=True):
            assert result.verdict == result.time_verdict == expected.verdict
            assert result.low_adjusted == pytest.approx(expected.low_adjusted)
            assert result.mde == pytest.approx(expected.mde)
            resolved += result.verdict != "not resolved"
    assert 100 < resolved < 500
