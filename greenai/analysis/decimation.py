"""Long curves in bounded memory: buckets of neighbours that keep their least, greatest and mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from greenai.units import Floats

BUCKETS_MAX = 1_000
"""A bucket is drawn by its least and its greatest value: 2,000 points a curve."""


class Decimated:
    """A curve that never takes more than ``buckets_max`` buckets, however long it grows.

    Each bucket holds the same number of points, but for the last. Where a new one would be one
    too many, neighbours are merged and all hold twice as many. No peak is lost.

    Args:
        buckets_max: Most buckets; an even number.

    Attributes:
        per_bucket: Points of a full bucket.
        points: Points so far.

    Example:
        >>> import numpy as np
        >>> curve = Decimated(buckets_max=2)
        >>> y = np.array([1.0, 9.0, 2.0, 4.0])
        >>> curve.add(np.arange(4.0), y, y, y)
        >>> curve.per_bucket, curve.rows()[:, 2:].tolist()
        (2, [[1.0, 5.0, 9.0], [2.0, 3.0, 4.0]])
    """

    def __init__(self, buckets_max: int = BUCKETS_MAX) -> None:
        self.per_bucket = 1
        self.points = 0
        self._size = buckets_max
        self._held = np.zeros((buckets_max, 6))
        """Of each bucket: first and last x, least low, sum of mid, greatest high, known points."""

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return -(-self.points // self.per_bucket)

    def add(self, x: Floats, low: Floats, mid: Floats, high: Floats) -> None:
        """Add points.

        Args:
            x: Where they are, non-decreasing; one that lies before the last is put there.
                Shape (n,).
            low: Their lower bounds; where one is unknown or infinite, the value. Shape (n,).
            mid: Their values; NaN is unknown and enters nothing. Shape (n,).
            high: Their upper bounds, likewise. Shape (n,).
        """
        last = self._held[self.buckets - 1, 1] if self.points else -np.inf
        x = np.maximum.accumulate(np.maximum(x, last))
        known = np.isfinite(mid)
        low = np.where(np.isfinite(low), low, mid)
        high = np.where(np.isfinite(high), high, mid)
        points = np.column_stack(
            (
                x,
                x,
                np.where(known, low, np.inf),
                np.where(known, mid, 0.0),
                np.where(known, high, -np.inf),
                known,
            )
        )
        while len(points):
            if self.points == self._size * self.per_bucket:
                self._merge()
            room = self._size * self.per_bucket - self.points
            self._take(points[:room])
            points = points[room:]

    def rows(self, start: int = 0) -> Floats:
        """Buckets from one on: first x, last x, least, mean, greatest. Shape (n, 5).

        NaN in the last three where nothing is known in the bucket.
        """
        held = self._held[start : self.buckets]
        known = held[:, 5] > 0
        rows = held[:, :5].copy()
        rows[:, 3] = np.divide(rows[:, 3], held[:, 5], out=np.zeros(len(held)), where=known)
        rows[~known, 2:] = np.nan
        return rows

    def _take(self, points: Floats) -> None:
        """Add points that there is room for."""
        bucket = (self.points + np.arange(len(points))) // self.per_bucket
        first = np.flatnonzero(np.concatenate(([True], np.diff(bucket) > 0)))
        last = np.append(first[1:], len(points)) - 1
        made = np.column_stack(
            (
                points[first, 0],
                points[last, 1],
                np.minimum.reduceat(points[:, 2], first),
                np.add.reduceat(points[:, 3], first),
                np.maximum.reduceat(points[:, 4], first),
                np.add.reduceat(points[:, 5], first),
            )
        )
        places = bucket[first]
        if self.points % self.per_bucket:  # the first ones go into a bucket that is begun
            made[0] = _joined(self._held[places[0]], made[0])
        self._held[places] = made
        self.points += len(points)

    def _merge(self) -> None:
        """Make one bucket of two neighbours."""
        self._held[: self._size // 2] = _joined(self._held[0::2], self._held[1::2])
        self.per_bucket *= 2


def _joined(one: Floats, other: Floats) -> Floats:
    """Buckets made of those before and those behind them. Shape (..., 6)."""
    columns = (
        one[..., 0],
        other[..., 1],
        np.minimum(one[..., 2], other[..., 2]),
        one[..., 3] + other[..., 3],
        np.maximum(one[..., 4], other[..., 4]),
        one[..., 5] + other[..., 5],
    )
    return np.stack(columns, axis=-1)
