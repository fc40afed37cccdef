"""Low, mid and high of a quantity that is not negative, carried through sums and products."""

from __future__ import annotations

import dataclasses
import itertools
import math

from greenai.errors import OrderError

ROUNDING = 1e-9
"""Share by which sums in another order may differ."""


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """A quantity with its bounds, in the unit that its name says.

    Attributes:
        low: Lower bound; NaN is unknown.
        mid: Best figure; NaN is unknown.
        high: Upper bound; NaN is unknown.

    Example:
        >>> Range(1.0, 2.0, 4.0) * Range.exactly(3.0) + Range.exactly(1.0)
        Range(low=4.0, mid=7.0, high=13.0)
        >>> Range(2.0, 1.0, 3.0)
        Traceback (most recent call last):
        greenai.errors.OrderError: A range of 2, 1, 3 is out of order...
    """

    low: float
    mid: float
    high: float

    def __post_init__(self) -> None:
        known = [x for x in (self.low, self.mid, self.high) if not math.isnan(x)]
        falls = any(b < a * (1 - ROUNDING) for a, b in itertools.pairwise(known))
        if falls or any(x < 0 for x in known):
            raise OrderError(
                f"A range of {self.low:g}, {self.mid:g}, {self.high:g} is out of order or below 0.",
                "Bounds cannot be worked out with it.",
                "give low, mid and high in this order, at least 0",
            )

    @classmethod
    def exactly(cls, value: float) -> Range:
        """A quantity without uncertainty."""
        return cls(value, value, value)

    @classmethod
    def unknown(cls) -> Range:
        """A quantity of which nothing is known."""
        return cls.exactly(math.nan)

    @property
    def is_known(self) -> bool:
        """Whether there is a best figure."""
        return not math.isnan(self.mid)

    def __mul__(self, other: Range) -> Range:
        return Range(self.low * other.low, self.mid * other.mid, self.high * other.high)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def times(self, factor: float) -> Range:
        """The same quantity in another unit."""
        return self * Range.exactly(factor)

    def to_json(self) -> dict[str, float | None]:
        """Low, mid and high; unknown is None."""
        plain = {"low": self.low, "mid": self.mid, "high": self.high}
        return {name: value if math.isfinite(value) else None for name, value in plain.items()}
