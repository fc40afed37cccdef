"""Carbon intensity and prices over time from a user's CSV."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from greenai.analysis.intensity import series_of
from greenai.analysis.prices import PriceSeries, price_series
from greenai.timed_csv import read_table
from greenai.units import G_PER_KWH_PER_LB_PER_MWH

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.analysis.intensity import Basis, IntensitySeries, Signal

FIGURES = ("g_per_kwh", "lb_per_mwh")
WORDS: dict[str, tuple[str, ...]] = {
    "basis": ("direct", "lifecycle", "unknown"),
    "signal": ("average", "marginal"),
    "source": (),
    "place": (),
}


def read_intensity(path: Path, *, now_utc_ns: int | None = None) -> IntensitySeries:
    """Read a table of intensities.

    Columns ``start_utc``, ``end_utc`` (ISO 8601; without an offset UTC) and ``g_per_kwh``, or
    ``lb_per_mwh``, which is converted. An empty figure is a hole. The columns ``basis``,
    ``signal``, ``source`` and ``place`` may follow and say the same in every row.

    Args:
        path: The file.
        now_utc_ns: The moment after which no row may end; now where None.

    Returns:
        The series; its basis is ``unknown`` and its signal ``average`` where no column says it.

    Raises:
        GridError: The file cannot be read, or a row overlaps another, lies in the future, is
            negative, ends before it starts, or has a time that is none.
    """
    rows, figure, words = read_table(path, FIGURES, WORDS)
    in_pounds = figure == "lb_per_mwh"
    if in_pounds:
        rows = [row._replace(figure=row.figure * G_PER_KWH_PER_LB_PER_MWH) for row in rows]
    return series_of(
        rows,
        basis=cast("Basis", words["basis"] or "unknown"),
        signal=cast("Signal", words["signal"] or "average"),
        source=(words["source"] or path.name)
        + (", lb/MWh converted to g/kWh" if in_pounds else ""),
        place=words["place"],
        now_utc_ns=time.time_ns() if now_utc_ns is None else now_utc_ns,
    )


def read_prices(path: Path) -> PriceSeries:
    """Read a table of prices.

    Columns ``start_utc``, ``end_utc`` and ``price_per_kwh``, which may be negative; ``currency``
    and ``source`` may follow. Prices of tomorrow are known today: rows may lie in the future.

    Args:
        path: The file.

    Returns:
        The series.

    Raises:
        GridError: As from ``read_intensity``.
    """
    rows, _, words = read_table(path, ("price_per_kwh",), {"currency": (), "source": ()})
    return price_series(rows, currency=words["currency"], source=words["source"] or path.name)
