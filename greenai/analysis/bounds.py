"""Hard bounds on energy: what brackets and the greatest power of a device leave possible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.series import LOST, covered_energy, is_covered
from greenai.analysis.stretches import stretches
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.analysis.series import Series
    from greenai.units import Floats, Ns

    Positions = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

QUANTUM_J = 0.002
"""Counters show whole millijoules: a contradiction of less than this is none."""


def bounds_between(series: Series, start_ns: Ns, end_ns: Ns) -> tuple[Floats, Floats]:
    """Hard bounds on the energy of spans, under the premise 0 ≤ P ≤ ``power_max_w``.

    Each knot's energy was reached somewhere in its bracket. So at a moment t, E(t) is at least
    what every bracket that ended before t says, and at least what the next knot says less
    what full power could have added since; and at most likewise. A span's bounds are the
    differences of its ends' bounds, and never more than full power over its length.

    Args:
        series: Cumulative energy of one channel; where its channel states no greatest power, only
            the counter itself bounds.
        start_ns: Starts of the spans. Shape (n,).
        end_ns: Their ends. Shape (n,).

    Returns:
        Lower and upper bounds in joules. Shape (n,) each. NaN where a span is not covered.

    Source: the chord bound of piecewise integration; greenai's docs/method.md.
    """
    edges_ns = np.concatenate((start_ns, end_ns))
    first = np.arange(len(start_ns))
    energy_j = covered_energy(series, end_ns) - covered_energy(series, start_ns)
    low, high, _ = bounds_of_pieces(series, edges_ns, first, first + len(start_ns), energy_j)
    known = is_covered(series, start_ns, end_ns)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def bounds_of_pieces(
    series: Series, edges_ns: Ns, first: Positions, last: Positions, energy_j: Floats
) -> tuple[Floats, Floats, Bools]:
    """Bounds on the energy of spans between given edges, as ``bounds_between``.

    Args:
        series: Cumulative energy of one channel.
        edges_ns: Moments. Shape (m,).
        first: Position of each span's start among them. Shape (n,).
        last: Position of its end. Shape (n,).
        energy_j: Estimated energy of the spans, which their bounds contain. Shape (n,).

    Returns:
        Lower and upper bounds in joules, and whether the counter says more than the greatest power
        allows, so that the premise of the bounds does not hold. Shape (n,) each; meaningless where
        a span is not covered.
    """
    low_at, high_at = bounds_at(series, edges_ns)
    low, high = np.empty(len(first)), np.empty(len(first))
    beyond = np.zeros(len(first), dtype=bool)
    limit_w = series.channel.power_max_w
    for some in stretches(len(first)):
        begin, end = first[some], last[some]
        start_ns, end_ns = edges_ns[begin], edges_ns[end]
        least = low_at[end] - high_at[begin]
        least -= _slack_between(series, series.slack_low_j, start_ns, end_ns)
        least = np.maximum(0.0, least)
        most = high_at[end] - low_at[begin]
        most += _slack_between(series, series.slack_high_j, start_ns, end_ns)
        if math.isfinite(limit_w):
            full_j = limit_w * (end_ns - start_ns) / NS_PER_S
            beyond[some] = least > np.minimum(most, full_j) + QUANTUM_J
            most = np.minimum(most, full_j)
        low[some] = np.minimum(least, energy_j[some])
        high[some] = np.maximum(most, energy_j[some])
    return low, high, beyond


def widened(
    low: Floats, high: Floats, slack_ns: Floats, power_max_w: float
) -> tuple[Floats, Floats]:
    """Bounds on the energy of consecutive steps whose ends are not known to the nanosecond.

    Args:
        low: Lower bounds between the ends as they are estimated, in joules. Shape (n,).
        high: Upper bounds, likewise. Shape (n,).
        slack_ns: How far each step's true end can lie to either side; NaN where nobody knows, and
            the bounds then are those of the host's mark. Shape (n,).
        power_max_w: Greatest power of the device; without it a slack leaves nothing bounded.

    Returns:
        Lower and upper bounds. Shape (n,) each.

    Example:
        >>> import numpy as np
        >>> widened(np.array([4.0]), np.array([5.0]), np.array([10**6]), 1000.0)
        (array([3.]), array([6.]))
    """
    end_ns = np.nan_to_num(slack_ns)
    if not end_ns.any():
        return low, high
    both_ns = end_ns + np.concatenate(([0.0], end_ns[:-1]))
    limit_w = power_max_w if math.isfinite(power_max_w) else math.inf
    doubt_j = np.where(both_ns > 0, limit_w * np.maximum(both_ns, 1.0) / NS_PER_S, 0.0)
    return np.maximum(0.0, low - doubt_j), high + doubt_j


def _slack_between(series: Series, slack_j: Floats, start_ns: Ns, end_ns: Ns) -> Floats:
    """What a cumulative uncertainty grew by within spans; none for a counter."""
    if len(slack_j) == 0 or slack_j[-1] == 0:
        return np.zeros(len(start_ns))
    if not np.isfinite(slack_j[-1]):
        return np.full(len(start_ns), np.inf)
    at_end = np.interp(end_ns, series.t_ns, slack_j)
    return np.asarray(at_end - np.interp(start_ns, series.t_ns, slack_j), dtype=np.float64)


def bounds_at(series: Series, t_ns: Ns) -> tuple[Floats, Floats]:
    """Bounds on E(t), in joules since the first knot; NaN without knots. Shape (n,) each."""
    if len(series.t_ns) == 0:
        return np.full(len(t_ns), np.nan), np.full(len(t_ns), np.nan)
    power_max_w = series.channel.power_max_w
    energy_j, last = series.energy_j, len(series.t_ns) - 1
    t_lo_ns = np.maximum.accumulate(series.t_lo_ns)
    t_hi_ns = np.minimum.accumulate(series.t_hi_ns[::-1])[::-1]
    resets = np.concatenate(([0], np.cumsum(series.state == LOST)))
    low, high = np.empty(len(t_ns)), np.empty(len(t_ns))
    for some in stretches(len(t_ns)):
        now_ns = t_ns[some]
        here = resets[np.clip(np.searchsorted(series.t_ns, now_ns, side="right") - 1, 0, last)]
        ended = np.searchsorted(t_hi_ns, now_ns, side="right") - 1
        begun = np.searchsorted(t_lo_ns, now_ns, side="left")
        low[some] = _at(energy_j, ended, resets, here, -np.inf)
        high[some] = _at(energy_j, begun, resets, here, np.inf)
        if math.isfinite(power_max_w):
            after, before = np.minimum(ended + 1, last), np.maximum(begun - 1, 0)
            ahead_j = power_max_w * (t_hi_ns[after] - now_ns) / NS_PER_S
            behind_j = power_max_w * (now_ns - t_lo_ns[before]) / NS_PER_S
            ahead_j = _at(energy_j, ended + 1, resets, here, -np.inf) - ahead_j
            behind_j = _at(energy_j, begun - 1, resets, here, np.inf) + behind_j
            low[some] = np.maximum(low[some], ahead_j)
            high[some] = np.minimum(high[some], behind_j)
    return low, high


def _at(
    energy_j: Floats, position: Positions, resets: Positions, here: Positions, absent: float
) -> Floats:
    """Energy at knots, ``absent`` where there is no such knot or a reset lies between."""
    inside = (position >= 0) & (position < len(energy_j))
    at = np.clip(position, 0, len(energy_j) - 1)
    return np.where(inside & (resets[at] == here), energy_j[at], absent)


def run_bounds(series: Series, start_ns: int, end_ns: int) -> tuple[float, float]:
    """Bounds on the known energy of the run: each stretch between resets has its own ends."""
    if len(series.t_ns) == 0:
        return 0.0, 0.0
    lost = np.flatnonzero(series.state == LOST)
    firsts = np.clip(series.t_ns[np.concatenate(([0], lost + 1))], start_ns, end_ns)
    lasts = np.clip(series.t_ns[np.concatenate((lost, [len(series.t_ns) - 1]))], start_ns, end_ns)
    low_f, high_f = bounds_at(series, firsts)
    low_l, high_l = bounds_at(series, lasts)
    real = lasts > firsts
    span = (np.array([start_ns]), np.array([end_ns]))
    low = float(np.maximum(0.0, low_l - high_f)[real].sum())
    low -= float(_slack_between(series, series.slack_low_j, *span)[0])
    high = float((high_l - low_f)[real].sum())
    high += float(_slack_between(series, series.slack_high_j, *span)[0])
    return max(0.0, low), high
