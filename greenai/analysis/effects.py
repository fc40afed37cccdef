"""Which contrasts are resolved: t intervals and p-values of ratios, adjusted together by Holm."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from greenai.analysis.chi_square import spread_interval
from greenai.analysis.student import critical_value, detectable_shift, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.contrast import Contrast

Verdict = Literal["less", "more", "not resolved"]
Method = Literal["paired t", "paired t, position removed", "Welch", "blocks inside one run", ""]
"""How an interval comes about; empty where there is none."""

ALPHA = 0.05
"""Chance of any false verdict in a family of comparisons; intervals cover with 1 - ALPHA."""


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
            80 % of such experiments, were no other variant found to differ. It is as uncertain as
            the spread of the repeats that it comes from.
        mde_low: Lower end of its 95 % interval.
        mde_high: Upper end of it.
        bootstrap_low: Lower end of the 95 % percentile interval, from 20 repeats on.
        bootstrap_high: Upper end of it. It is shown and never decides.
        method: How ``low`` and ``high`` come about.
        paired: Whether runs were compared pair by pair.
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
    mde_low: float = math.nan
    mde_high: float = math.nan
    bootstrap_low: float = math.nan
    bootstrap_high: float = math.nan
    method: Method = ""
    paired: bool = False
    verdict: Verdict = "not resolved"
    reason: str = ""


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
        >>> from greenai.analysis.contrast import Contrast
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
        name: _undecided(each, refused.get(name) or each.lacking)
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
    shift = detectable_shift(first_level, each.df) * each.standard_error
    mde_low, mde_high = (_exp(shift * factor) - 1 for factor in spread_interval(each.df))
    return Effect(
        ratio=math.exp(each.log_ratio),
        low=low,
        high=high,
        low_adjusted=low_adjusted,
        high_adjusted=high_adjusted,
        p_adjusted=p_adjusted,
        mde=_exp(shift) - 1,
        mde_low=mde_low,
        mde_high=mde_high,
        bootstrap_low=each.shown[0],
        bootstrap_high=each.shown[1],
        method=_method(each),
        paired=each.paired,
        verdict="not resolved" if reason else verdict,
        reason=reason,
    )


def _undecided(each: Contrast, reason: str) -> Effect:
    """A ratio that nothing can be tested about; what is shown may come from inside the runs."""
    low, high = each.shown
    return Effect(
        ratio=math.exp(each.log_ratio),
        low=low,
        high=high,
        method="" if math.isnan(low) else "blocks inside one run",
        paired=each.paired,
        reason=reason,
    )


def _method(each: Contrast) -> Method:
    if not each.paired:
        return "Welch"
    return "paired t, position removed" if each.position_removed else "paired t"


def _interval(each: Contrast, alpha: float) -> tuple[float, float]:
    half = critical_value(alpha, each.df) * each.standard_error
    return _exp(each.log_ratio - half), _exp(each.log_ratio + half)


def _exp(log: float) -> float:
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf
