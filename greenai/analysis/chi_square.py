"""Quantiles of the chi-square distribution: how far an observed spread may be from the true one."""

from __future__ import annotations

import functools
import math

_STEPS = 500
_EPSILON = 1e-15
_TINY = 1e-300


def spread_interval(df: float, confidence: float = 0.95) -> tuple[float, float]:
    """Factors between which the true standard deviation lies, as a multiple of the observed one.

    Args:
        df: Degrees of freedom of the observed one, above 0; need not be whole.
        confidence: Chance that the interval holds the truth.

    Example:
        >>> [round(factor, 3) for factor in spread_interval(4)]
        [0.599, 2.874]
    """
    tail = (1 - confidence) / 2
    return math.sqrt(df / quantile(1 - tail, df)), math.sqrt(df / quantile(tail, df))


@functools.lru_cache(maxsize=4096)
def quantile(share: float, df: float) -> float:
    """The value below which a chi-square variable lies with a chance.

    Newton's steps from the cube-root normal approximation, halved wherever one leaves the bracket.

    Args:
        share: The chance, above 0 and below 1.
        df: Degrees of freedom, above 0; need not be whole.

    Example:
        >>> round(quantile(0.975, 4), 4)
        11.1433

    Source: Wilson, Hilferty, PNAS 17, 1931, for the start.
    """
    low, high = 0.0, df + 20 * math.sqrt(2 * df) + 100
    x = min(max(df * (1 - 2 / (9 * df)) ** 3, df / 100), high)
    for _ in range(_STEPS):
        excess = share_below(x, df) - share
        low, high = (low, x) if excess > 0 else (x, high)
        log_density = (df / 2 - 1) * math.log(x / 2) - x / 2 - math.lgamma(df / 2) - math.log(2)
        step = excess / math.exp(log_density)
        before, x = x, x - step
        if not low < x < high:
            x = (low + high) / 2
        if abs(x - before) <= 1e-13 * x:
            break
    return x


def share_below(x: float, df: float) -> float:
    """Chance that a chi-square variable is at most x.

    The regularised incomplete gamma function: its series below the mean, its continued fraction
    above it (DLMF 8.11.4 and 8.9.2).

    Args:
        x: At least 0.
        df: Degrees of freedom, above 0.

    Example:
        >>> round(share_below(9.487729, 4), 6)
        0.95
    """
    a, z = df / 2, x / 2
    if z <= 0:
        return 0.0
    front = math.exp(a * math.log(z) - z - math.lgamma(a))
    if z < a + 1:
        term = total = 1 / a
        for k in range(1, 20 * _STEPS):
            term *= z / (a + k)
            total += term
            if term < total * _EPSILON:
                break
        return front * total
    b = z + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for k in range(1, 20 * _STEPS):
        numerator = -k * (k - a)
        b += 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        fraction *= c * d
        if abs(c * d - 1) < _EPSILON:
            break
    return 1 - front * fraction
