"""Intervals by resampling: blocks of one run, and many repeats. None decides."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenai.units import Floats

RESAMPLES = 10_000
SEED = 20_251
"""Of the resampling, so that the same runs give the same interval."""
REPEATS_ENOUGH = 20
"""Repeats from which a percentile interval is shown; with 5 it covers 85 % and not 95 %."""
BLOCKS_ENOUGH = 10
"""Blocks that a run must have; fewer cannot show how blocks scatter."""
BLOCKS_MOST = 200
"""A long run has longer blocks instead of more."""
BLOCK_S = 10.0
"""Shortest block: neighbouring steps share temperature and clocks for seconds."""
BLOCK_REFRESHES = 10
"""And so many refreshes of its sensor, so that their dating is a small part of its energy."""

_PERCENTILES = (2.5, 97.5)


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """Consecutive steps of one run.

    Attributes:
        energy_j: IT energy of the steps.
        duration_s: Their time.
        amounts: Their work by unit.
    """

    energy_j: float
    duration_s: float
    amounts: Mapping[str, float]


def blocks_of(
    energy_j: Floats, duration_s: Floats, amounts: Mapping[str, Floats], refresh_s: float
) -> tuple[Block, ...]:
    """Cut one run into blocks that may be resampled as if they were independent.

    Blocks are at least 10 s and ten refreshes of the sensor long. The rest after the last whole
    block belongs to it.

    Args:
        energy_j: Joules of each step, all known. Shape (n,).
        duration_s: Seconds of each step. Shape (n,).
        amounts: Work of each step by unit. Shape (n,) each.
        refresh_s: Period of the slowest sensor, in seconds; NaN is unknown and no reason for more.

    Example:
        >>> steps = np.full(100, 0.5)
        >>> [block.duration_s for block in blocks_of(50 * steps, steps, {"step": steps}, 0.1)]
        [10.0, 10.0, 10.0, 10.0, 10.0]
    """
    end_s = np.cumsum(duration_s)
    if not len(end_s) or not math.isfinite(end_s[-1]):
        return ()
    least_s = max(BLOCK_S, float(end_s[-1]) / BLOCKS_MOST)
    if refresh_s > 0:
        least_s = max(least_s, BLOCK_REFRESHES * refresh_s)
    edges, start_s = [0], 0.0
    while (end := int(np.searchsorted(end_s, start_s + least_s * (1 - 1e-9)))) < len(end_s):
        edges.append(end + 1)
        start_s = float(end_s[end])
    if len(edges) == 1:
        return ()
    edges[-1] = len(end_s)
    return tuple(
        Block(
            float(energy_j[first:last].sum()),
            float(duration_s[first:last].sum()),
            {unit: float(amount[first:last].sum()) for unit, amount in amounts.items()},
        )
        for first, last in itertools.pairwise(edges)
    )


def ratio_within_runs(
    variant: tuple[Sequence[float], Sequence[float]],
    baseline: tuple[Sequence[float], Sequence[float]],
) -> tuple[float, float]:
    """95 % interval of the ratio of two runs, from how the blocks inside each of them scatter.

    It holds what these two runs were, and says nothing about another seed or another day.

    Args:
        variant: Energy (or time) of each block, and work of each block.
        baseline: The same of the baseline's run.

    Returns:
        Both ends; NaN where a run has fewer than ten blocks.

    Example:
        >>> steady = ([100.0] * 10, [1e6] * 10)
        >>> ratio_within_runs(steady, steady)
        (1.0, 1.0)

    Source: Künsch, Annals of Statistics 17, 1989, for blocks.
    """
    if min(len(variant[0]), len(baseline[0])) < BLOCKS_ENOUGH:
        return math.nan, math.nan
    rng = np.random.default_rng(SEED)
    totals = []
    for amounts in (variant, baseline):
        used, work = np.asarray(amounts, np.float64)
        drawn = rng.integers(len(used), size=(RESAMPLES, len(used)))
        totals.append(used[drawn].sum(axis=1) / work[drawn].sum(axis=1))
    low, high = np.percentile(totals[0] / totals[1], _PERCENTILES)
    return float(low), float(high)


def ratio_of_repeats(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95 % percentile interval of a ratio, from repeats drawn with replacement.

    Args:
        groups: Log-ratios of the pairs; or logs of the variant and logs of the baseline.

    Returns:
        Both ends; NaN where a group has fewer than twenty members.

    Example:
        >>> low, high = ratio_of_repeats([[-0.2, -0.1] * 10])
        >>> low < math.exp(-0.15) < high
        True

    Source: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if min(map(len, groups)) < REPEATS_ENOUGH:
        return math.nan, math.nan
    rng = np.random.default_rng(SEED)
    means = [
        np.asarray(logs)[rng.integers(len(logs), size=(RESAMPLES, len(logs)))].mean(axis=1)
        for logs in groups
    ]
    low, high = np.percentile(means[0] - (means[1] if len(means) > 1 else 0.0), _PERCENTILES)
    return math.exp(low), math.exp(high)
