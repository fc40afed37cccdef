"""What a run's place in the order does to it: a drift of the machine, fitted."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.student import critical_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.units import Floats

CONFOUNDED = 1e-9
"""Share of the places' spread that must be left once variants and pairs are known."""


@dataclasses.dataclass(frozen=True, slots=True)
class PositionEffect:
    """How much more a run needs for each place later in the order; NaN is unknown.

    Attributes:
        per_place: Ratio of one place to the one before, minus 1.
        low: Lower end of the 95 % interval.
        high: Upper end of it.
        df: Degrees of freedom that the fit has left.
    """

    per_place: float
    low: float
    high: float
    df: float


UNKNOWN = PositionEffect(math.nan, math.nan, math.nan, math.nan)


def position_effect(
    values: Sequence[float],
    positions: Sequence[int | None],
    variants: Sequence[str],
    pairs: Sequence[str | None],
) -> PositionEffect:
    """Fit a drift along the order of the runs.

    Ordinary least squares of the log on a level for each variant, a level for each pair (where
    every run has one) and a slope along the places.

    Args:
        values: Joules per unit of each run, positive. Shape (n,).
        positions: Place of each run in the order; None is unknown.
        variants: Variant of each run.
        pairs: What each run is paired by; None is nothing.

    Returns:
        The slope; unknown where a value or a place is, or where the order says nothing that the
        variants and pairs do not (all of A before all of B).

    Example:
        >>> places, pairs = [0, 1, 1, 0, 0, 1], ["s0", "s0", "s1", "s1", "s2", "s2"]
        >>> drift = position_effect([100, 82, 102, 80, 100, 82], places, "ABABAB", pairs)
        >>> round(drift.per_place, 3)
        0.022

    Source: Jones, Kenward, Design and Analysis of Cross-Over Trials, 2014, chapter 4.
    """
    if None in positions or not all(0 < value < math.inf for value in values):
        return UNKNOWN
    log = np.log(np.asarray(values, np.float64))
    place = np.asarray(positions, np.float64)
    levels = _levels(variants)
    if None not in pairs:
        levels = np.hstack([levels, _levels([str(pair) for pair in pairs])])
    along, scatter = _rest(place, levels), _rest(log, levels)
    spread, whole = float(along @ along), float((place - place.mean()) @ (place - place.mean()))
    df = len(log) - int(np.linalg.matrix_rank(levels)) - 1
    if df < 1 or spread <= CONFOUNDED * max(whole, CONFOUNDED):
        return UNKNOWN
    slope = float(along @ scatter) / spread
    left = scatter - slope * along
    half = critical_value(0.05, df) * math.sqrt(float(left @ left) / df / spread)
    return PositionEffect(
        math.expm1(slope), math.expm1(slope - half), math.expm1(slope + half), float(df)
    )


def _levels(names: Sequence[str]) -> Floats:
    """One column a name: 1 where the run has it."""
    known = sorted(set(names))
    return np.asarray([[float(name == one) for one in known] for name in names])


def _rest(values: Floats, levels: Floats) -> Floats:
    """What the levels do not explain (Frisch, Waugh, Lovell)."""
    return np.asarray(values - levels @ np.linalg.lstsq(levels, values, rcond=None)[0])
