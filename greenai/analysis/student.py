"""Student's t distribution, two-sided: p-values, critical values and detectable shifts."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np

POWER = 0.8
"""Chance of a verdict that a minimum detectable effect is stated for."""

_STEPS = 200
_TINY = 1e-300
_EPSILON = 1e-15
_NODES, _NODES_OF_TWO_RUNS = 96, 400
"""Points of the integral over the spread, which below two degrees of freedom is steeper."""


def two_sided_p(t: float, df: float) -> float:
    """Chance that |T| is at least |t|.

    Args:
        t: The statistic.
        df: Degrees of freedom, above 0; need not be whole.

    Returns:
        A probability; accurate far into the tails, where one minus a quantile would be 0.

    Example:
        >>> round(two_sided_p(2.776445, df=4), 6)
        0.05
    """
    if math.isinf(t):
        return 0.0
    whole = df + t * t
    return _beta_share(df / 2, 0.5, df / whole, t * t / whole)


@functools.lru_cache(maxsize=4096)
def critical_value(alpha: float, df: float) -> float:
    """The t above which |T| lies with chance alpha: the quantile at 1 - alpha / 2.

    Newton's steps from the normal quantile: the tail of t is convex and lies above the normal one,
    so that each step falls short of the answer and none passes it.

    Args:
        alpha: Two-sided chance, above 0 and below 1.
        df: Degrees of freedom, above 0.

    Example:
        >>> round(critical_value(0.05, df=4), 4)
        2.7764
    """
    t = NormalDist().inv_cdf(1 - alpha / 2)
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    for _ in range(_STEPS):
        density = math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))
        step = (two_sided_p(t, df) - alpha) / (2 * density)
        t += step
        if abs(step) <= 1e-13 * t:
            break
    return t


@functools.lru_cache(maxsize=4096)
def detectable_shift(alpha: float, df: float, power: float = POWER) -> float:
    """How many standard errors off zero a mean must be to be found with the given power.

    The noncentrality at which a two-sided t test at level alpha rejects with that chance. With 4
    degrees of freedom it is 3.76, and not 3.72 as the sum of two t quantiles has it.

    Args:
        alpha: Two-sided level of the test.
        df: Degrees of freedom, at least 1.
        power: Chance of rejection, above alpha.

    Example:
        >>> round(detectable_shift(0.05, df=4), 2)
        3.76
    """
    critical = critical_value(alpha, df)
    before = critical
    shift = critical + critical_value(2 * (1 - power), df)
    power_before = _power(before, critical, df)
    for _ in range(_STEPS):
        power_now = _power(shift, critical, df)
        slope = (power_now - power_before) / (shift - before)
        before, power_before = shift, power_now
        shift += (power - power_now) / slope
        if abs(shift - before) <= 1e-9 * shift:
            break
    return shift


def _power(shift: float, critical: float, df: float) -> float:
    """Chance that |Z + shift| exceeds critical times S, S being chi over the root of df."""
    spread = 7 / math.sqrt(2 * df)
    low, high = max(0.0, 1 - spread), 1 + spread
    half = (high - low) / 2
    log_scale = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2)
    total = 0.0
    for node, weight in _quadrature(_NODES if df >= 2 else _NODES_OF_TWO_RUNS):  # noqa: PLR2004 - see there
        s = low + half * (1 + node)
        density = math.exp(log_scale + (df - 1) * math.log(s) - df * s * s / 2)
        edge = critical * s
        missed = math.erf((edge - shift) / math.sqrt(2)) - math.erf((-edge - shift) / math.sqrt(2))
        total += weight * density * (1 - missed / 2)
    return half * total


@functools.cache
def _quadrature(points: int) -> list[tuple[float, float]]:
    """Gauss-Legendre nodes and weights on [-1, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return list(zip(nodes.tolist(), weights.tolist(), strict=True))


def _beta_share(a: float, b: float, x: float, rest: float) -> float:
    """Regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).

    ``rest`` is 1 - x, which the caller knows without cancellation.
    """
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, rest, x)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    )
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + numerator * d)
            c = _away_from_zero(1 + numerator / c)
            fraction *= c * d
        if abs(c * d - 1) < _EPSILON:
            break
    return math.exp(log_front) * fraction / a


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
