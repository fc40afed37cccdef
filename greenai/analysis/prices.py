"""Price of electricity over time, and what the energy of a run cost."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.spans import spans_of
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.analysis.spans import Row
    from greenai.units import Floats, Ns

CLOSES = 1e-9
"""Energy outside of a series that is below this share of the whole is rounding."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PriceSeries:
    """Price of n consecutive spans of UTC.

    Attributes:
        edges_utc_ns: Edges of the spans, in nanoseconds since 1970, increasing. Shape (n + 1,).
        price_per_kwh: In the currency; may be negative; NaN is a hole. Shape (n,).
        currency: Such as EUR; empty is not stated.
        source: Where the prices come from.
    """

    edges_utc_ns: Ns
    price_per_kwh: Floats
    currency: str
    source: str


def price_series(rows: Iterable[Row], *, currency: str, source: str) -> PriceSeries:
    """Make a series of rows in any order; time between two rows is a hole.

    Raises:
        GridError: There are no rows, or one overlaps another or ends before it starts.
    """
    edges_utc_ns, figures, _ = spans_of(rows, source, signed=True)
    return PriceSeries(edges_utc_ns, figures, currency, source)


def cost_of(energy_j: Floats, total_j: float, prices: PriceSeries, pue: float = 1.0) -> float:
    """What the energy cost at the meter, each span at its own price.

    Args:
        energy_j: IT energy of each span, in joules. Shape (n,).
        total_j: IT energy of the run.
        prices: The prices.
        pue: Power usage effectiveness.

    Returns:
        Money in the currency; NaN where any of the energy has no price.

    Example:
        >>> from greenai.analysis.spans import Row
        >>> two = price_series([Row(0, 1, 0.5), Row(1, 2, -0.125)], currency="EUR", source="a file")
        >>> cost_of(np.array([3.6e6, 7.2e6]), 10.8e6, two, pue=1.5)
        0.375
    """
    known = np.isfinite(prices.price_per_kwh)
    outside_j = total_j - float(energy_j[known].sum())
    if not outside_j <= CLOSES * total_j:
        return math.nan
    paid = float((energy_j[known] * prices.price_per_kwh[known]).sum())
    return paid / J_PER_KWH * pue
