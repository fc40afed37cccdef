"""The statistics of a comparison: t intervals on log-ratios, paired or not, adjusted by Holm."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean, variance
from typing import TYPE_CHECKING, Literal

from greenai.analysis.student import critical_value, detectable_shift, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verdict = Literal["less", "more", "not resolved"]

ALPHA = 0.05
"""Chance of any false verdict in a family of comparisons; intervals cover with 1 - ALPHA."""
ROUNDING = 1e-12
"""Spread of logs below which values differ by rounding alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Contrast:
    """How the log of a quantity differs between a variant and the baseline.

    Attributes:
        log_ratio: Mean difference of the logs; NaN is unknown.
        standard_error: Of the mean difference; NaN where it cannot be estimated.
        df: Degrees of freedom; NaN where the standard error is.
        n: Pairs, or runs of the variant where nothing is paired.
        paired: Whether runs were compared pair by pair.
        lacking: Why there is no standard error; empty where there is one.
    """

    log_ratio: float
    standard_error: float
    df: float
    n: int
    paired: bool
    lacking: str


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """A ratio to the baseline with what is known about it; NaN is unknown.

    Attributes:
        ratio: Ratio of geometric means, variant to baseline.
        low: Lower end of the 95 % interval of this ratio alone.
        high: Upper end of it.
        low_adjusted: Lower end of the interval at Holm's level for this ratio.
        high_adjusted: Upper end of it; 1 lies outside exactly where there is a verdict.
        p_adjusted: Holm's adjusted p-value of a ratio of 1.
        mde: Minimum detectable effect: the smallest ratio, minus 1, that would get a verdict in
            80 % of such experiments, were no other variant found to differ.
        verdict: ``less``, ``more`` or ``not resolved``.
        reason: Why it is not resolved; empty where it is.
    """

    ratio: float
    low: float = math.nan
    high: float = math.nan
    low_adjusted: float = math.nan
    high_adjusted: float = math.nan
    p_adjusted: float = math.nan
    mde: float = math.nan
    verdict: Verdict = "not resolved"
    reason: str = ""


def contrast(
    variant: Sequence[float],
    baseline: Sequence[float],
    variant_pairs: Sequence[str | None],
    baseline_pairs: Sequence[str | None],
) -> Contrast:
    """Compare the logs of positive values, pair by pair where every run has its partner.

    Unpaired values are compared by Welch's method, which lets the two spreads differ.

    Args:
        variant: One positive value a run; NaN is unknown and makes the ratio so.
        baseline: The same of the baseline.
        variant_pairs: What each run of the variant is paired by; None is nothing.
        baseline_pairs: The same of the baseline.

    Example:
        >>> c = contrast([2.0, 2.2], [1.0, 1.1], ["seed 0", "seed 1"], ["seed 0", "seed 1"])
        >>> round(math.exp(c.log_ratio), 6), c.paired, c.lacking
        (2.0, True, 'no variation')

    Source: Welch, Biometrika 34, 1947; degrees of freedom by Satterthwaite.
    """
    ours = [math.log(value) for value in variant]
    theirs = [math.log(value) for value in baseline]
    log_ratio = fmean(ours) - fmean(theirs)
    if _all_paired(variant_pairs, baseline_pairs):
        partner = dict(zip(baseline_pairs, theirs, strict=True))
        differences = [log - partner[pair] for log, pair in zip(ours, variant_pairs, strict=True)]
        n, paired, groups = len(differences), True, [differences]
    else:
        n, paired, groups = len(ours), False, [ours, theirs]
    nothing = Contrast(log_ratio, math.nan, math.nan, n, paired, "")
    if math.isnan(log_ratio):
        return dataclasses.replace(nothing, lacking="unknown")
    if min(map(len, groups)) == 1:
        alone = len(ours) == len(theirs) == 1
        lacking = "one run each" if alone else "one run of a side"
        return dataclasses.replace(nothing, lacking=lacking)
    squares = [variance(group) / len(group) for group in groups]
    error = math.sqrt(sum(squares))
    if error < ROUNDING:
        return dataclasses.replace(nothing, lacking="no variation")
    df = error**4 / sum(
        square**2 / (len(group) - 1) for square, group in zip(squares, groups, strict=True)
    )
    return Contrast(log_ratio, error, df, n, paired, "")


def effects(contrasts: Mapping[str, Contrast], refused: Mapping[str, str]) -> dict[str, Effect]:
    """Judge a family of contrasts, so that the chance of any false verdict stays at 5 %.

    Holm's procedure: the smallest p-value is held against 5 % / m, the next against
    5 % / (m - 1), and so on until the first that fails; all after it fail too. The adjusted
    interval of each is at the level it was held against. It agrees with the verdict; unlike
    Bonferroni's intervals those of a family do not cover together with 95 %.

    Args:
        contrasts: By variant.
        refused: Why a variant may not get a verdict, whatever its p-value; its ratio and
            intervals are still given.

    Example:
        >>> less = Contrast(-0.5, 0.05, df=4, n=5, paired=True, lacking="")
        >>> effects({"moe": less}, {})["moe"].verdict
        'less'

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    p_values = {
        name: two_sided_p(each.log_ratio / each.standard_error, each.df)
        for name, each in contrasts.items()
        if not each.lacking
    }
    judged = {
        name: Effect(math.exp(each.log_ratio), reason=refused.get(name) or each.lacking)
        for name, each in contrasts.items()
    }
    left, p_adjusted, level = len(p_values), 0.0, 0.0
    for name in sorted(p_values, key=p_values.__getitem__):
        if p_adjusted <= ALPHA:
            level = ALPHA / left
        p_adjusted = min(1.0, max(p_adjusted, p_values[name] * left))
        judged[name] = _judge(
            contrasts[name], level, ALPHA / len(p_values), p_adjusted, refused.get(name, "")
        )
        left -= 1
    return judged


def _judge(
    each: Contrast, level: float, first_level: float, p_adjusted: float, refused: str
) -> Effect:
    low, high = _interval(each, ALPHA)
    low_adjusted, high_adjusted = _interval(each, level)
    verdict: Verdict = "less" if each.log_ratio < 0 else "more"
    reason = refused or ("" if p_adjusted <= ALPHA else "interval includes 1")
    return Effect(
        ratio=math.exp(each.log_ratio),
        low=low,
        high=high,
        low_adjusted=low_adjusted,
        high_adjusted=high_adjusted,
        p_adjusted=p_adjusted,
        mde=_exp(detectable_shift(first_level, each.df) * each.standard_error) - 1,
        verdict="not resolved" if reason else verdict,
        reason=reason,
    )


def _interval(each: Contrast, alpha: float) -> tuple[float, float]:
    half = critical_value(alpha, each.df) * each.standard_error
    return _exp(each.log_ratio - half), _exp(each.log_ratio + half)


def _exp(log: float) -> float:
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf


def _all_paired(ours: Sequence[str | None], theirs: Sequence[str | None]) -> bool:
    """Whether each run has one partner: the same keys on both sides, none missing or twice."""
    return (
        None not in ours and len(set(ours)) == len(ours) == len(theirs) and set(ours) == set(theirs)
    )
