"""How logs of variant and baseline differ: paired by seed, or by Welch's method."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean, variance
from typing import TYPE_CHECKING

from greenai.analysis.resampling import ratio_of_repeats

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDING = 1e-12
"""Spread of logs below which values differ by rounding alone."""
POSITION_FROM = 6
"""Pairs from which a balanced order's drift is removed: below, the degree of freedom that it takes
widens the interval by more than a drift is likely to."""


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
        position_removed: Whether a drift along the places of a balanced order is taken out.
        shown: Ends of an interval of the ratio that is shown and never decides: of the percentiles
            from 20 repeats on, of the blocks inside one run each; NaN where there is none.
    """

    log_ratio: float
    standard_error: float
    df: float
    n: int
    paired: bool
    lacking: str
    position_removed: bool = False
    shown: tuple[float, float] = (math.nan, math.nan)


def contrast(
    variant: Sequence[float],
    baseline: Sequence[float],
    variant_pairs: Sequence[str | None],
    baseline_pairs: Sequence[str | None],
    variant_positions: Sequence[int | None] = (),
    baseline_positions: Sequence[int | None] = (),
) -> Contrast:
    """Compare the logs of positive values, pair by pair where every run has its partner.

    Unpaired values are compared by Welch's method, which lets the two spreads differ.

    Where the order was balanced by design (the places of variant and baseline differ, and by
    nothing on average over at least six pairs), the differences are fitted by a ratio and a slope
    along the places. The ratio stays what it is; drift no longer counts as scatter, and takes one
    degree of freedom. Whether that is done follows from the places alone, never from the values.

    Args:
        variant: One positive value a run; NaN is unknown and makes the ratio so.
        baseline: The same of the baseline.
        variant_pairs: What each run of the variant is paired by; None is nothing.
        baseline_pairs: The same of the baseline.
        variant_positions: Place of each run in the order; None or empty is unknown.
        baseline_positions: The same of the baseline.

    Example:
        >>> c = contrast([2.0, 2.2], [1.0, 1.1], ["seed 0", "seed 1"], ["seed 0", "seed 1"])
        >>> round(math.exp(c.log_ratio), 6), c.paired, c.lacking
        (2.0, True, 'no variation')

    Source: Welch, Biometrika 34, 1947; degrees of freedom by Satterthwaite.
    """
    ours = [math.log(value) for value in variant]
    theirs = [math.log(value) for value in baseline]
    log_ratio = fmean(ours) - fmean(theirs)
    if not _all_paired(variant_pairs, baseline_pairs):
        return _welch(ours, theirs, log_ratio)
    partner = dict(zip(baseline_pairs, theirs, strict=True))
    differences = [log - partner[pair] for log, pair in zip(ours, variant_pairs, strict=True)]
    n = len(differences)
    nothing = Contrast(log_ratio, math.nan, math.nan, n, paired=True, lacking="")
    if lacking := _lacking(log_ratio, n, n):
        return dataclasses.replace(nothing, lacking=lacking)
    offsets = _offsets(variant_pairs, variant_positions, baseline_pairs, baseline_positions)
    slope, df = 0.0, n - 1
    if removed := _is_balanced(offsets):
        weight = sum(offset * offset for offset in offsets)
        slope = sum(o * d for o, d in zip(offsets, differences, strict=True)) / weight
        df -= 1
    left = [d - log_ratio - slope * o for d, o in zip(differences, offsets, strict=True)]
    error = math.sqrt(sum(each * each for each in left) / df / n)
    if error < ROUNDING:
        return dataclasses.replace(nothing, lacking="no variation")
    shown = ratio_of_repeats([differences])
    return Contrast(log_ratio, error, float(df), n, True, "", removed, shown)


def _welch(ours: Sequence[float], theirs: Sequence[float], log_ratio: float) -> Contrast:
    n = len(ours)
    nothing = Contrast(log_ratio, math.nan, math.nan, n, paired=False, lacking="")
    if lacking := _lacking(log_ratio, n, len(theirs)):
        return dataclasses.replace(nothing, lacking=lacking)
    squares = [variance(group) / len(group) for group in (ours, theirs)]
    error = math.sqrt(sum(squares))
    if error < ROUNDING:
        return dataclasses.replace(nothing, lacking="no variation")
    df = error**4 / sum(
        square**2 / (len(group) - 1) for square, group in zip(squares, (ours, theirs), strict=True)
    )
    shown = ratio_of_repeats([ours, theirs])
    return dataclasses.replace(nothing, standard_error=error, df=df, shown=shown)


def _lacking(log_ratio: float, n: int, baseline_n: int) -> str:
    """Why the runs cannot say how sure their ratio is; empty where they can."""
    if math.isnan(log_ratio):
        return "unknown"
    if min(n, baseline_n) > 1:
        return ""
    return "one run each" if n == baseline_n else "one run of a side"


def _all_paired(ours: Sequence[str | None], theirs: Sequence[str | None]) -> bool:
    """Whether each run has one partner: the same keys on both sides, none missing or twice."""
    return (
        None not in ours and len(set(ours)) == len(ours) == len(theirs) and set(ours) == set(theirs)
    )


def _offsets(
    pairs: Sequence[str | None],
    positions: Sequence[int | None],
    baseline_pairs: Sequence[str | None],
    baseline_positions: Sequence[int | None],
) -> list[int]:
    """How many places after the baseline the variant came in each pair; zeros where unknown."""
    known = len(positions) == len(pairs) and len(baseline_positions) == len(baseline_pairs)
    if not known:
        return [0] * len(pairs)
    places = dict(zip(baseline_pairs, baseline_positions, strict=True))
    offsets = []
    for pair, own in zip(pairs, positions, strict=True):
        other = places[pair]
        if own is None or other is None:
            return [0] * len(pairs)
        offsets.append(own - other)
    return offsets


def _is_balanced(offsets: Sequence[int]) -> bool:
    return len(offsets) >= POSITION_FROM and any(offsets) and not sum(offsets)
