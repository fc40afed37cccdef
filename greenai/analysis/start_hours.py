"""When to start: the mean intensity over a training's time, for every start that a series has."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.intensity import mean_over
from greenai.errors import OrderError
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.analysis.intensity import IntensitySeries


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """One start.

    Attributes:
        at_utc_ns: When, in nanoseconds since 1970.
        g_per_kwh: Mean intensity from then on until the training ends.
    """

    at_utc_ns: int
    g_per_kwh: float


@dataclasses.dataclass(frozen=True, slots=True)
class Starts:
    """Starts compared.

    Attributes:
        first: The first one that can be compared; None where none can.
        least: The one with the least mean intensity, the earliest of several.
        most: The one with the greatest.
        compared: How many were.
        past_end: How many were not, because the training would go on past the series' end.
        in_holes: How many were not, because a part of its time has no figure.
    """

    first: Start | None
    least: Start | None
    most: Start | None
    compared: int
    past_end: int
    in_holes: int


def starts_of(series: IntensitySeries, length_s: float) -> Starts:
    """Compare every start of a row, at constant power over a given time.

    Args:
        series: The intensity, a forecast perhaps.
        length_s: How long the training takes, in seconds.

    Returns:
        The starts with the least and the greatest mean; a start is compared only where the whole
        training has figures.

    Raises:
        OrderError: The time is unknown or none.

    Example:
        >>> from greenai.analysis.intensity import series_of
        >>> from greenai.analysis.spans import Row
        >>> hour = 3_600_000_000_000
        >>> day = series_of([Row(n * hour, (n + 1) * hour, g) for n, g in enumerate((90, 30, 60))],
        ...                 basis="direct", signal="average", source="a file")
        >>> found = starts_of(day, 7200.0)
        >>> found.least.g_per_kwh, found.most.g_per_kwh, found.compared, found.past_end
        (45.0, 60.0, 2, 1)
    """
    if not 0 < length_s < math.inf:
        raise OrderError(
            f"The training takes {length_s:g} s.",
            "Start hours cannot be compared for a time that is unknown.",
            "give the number of accelerators, and what their hours follow from",
        )
    starts_ns = series.edges_utc_ns[:-1]
    ends_ns = starts_ns + round(length_s * NS_PER_S)
    means = mean_over(starts_ns, ends_ns, series)
    past_end = ends_ns > series.edges_utc_ns[-1]
    known = np.isfinite(means) & ~past_end
    places = np.flatnonzero(known)

    def start(place: int) -> Start:
        return Start(int(starts_ns[place]), float(means[place]))

    if not len(places):
        first = least = most = None
    else:
        first = start(int(places[0]))
        least = start(int(places[np.argmin(means[places])]))
        most = start(int(places[np.argmax(means[places])]))
    return Starts(
        first, least, most, len(places), int(past_end.sum()), int((~known & ~past_end).sum())
    )
