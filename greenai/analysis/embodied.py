"""The run's share of the emissions of making its hardware, M = TE · TiR/EL · RR/ToR."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from greenai.analysis.ranges import Range
from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Iterable

HOURS_PER_YEAR = 365.25 * 24


@dataclasses.dataclass(frozen=True, slots=True)
class Life:
    """For how long hardware serves.

    Attributes:
        years: Expected lifespan; the low end of the emissions belongs to the high end of it.
        utilisation: Share of the lifespan that jobs fill; 1 as in SCI, where nothing is divided.
        source: Where it comes from.
    """

    years: Range
    utilisation: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if not (self.years.low > 0 and 0 < self.utilisation <= 1):
            raise OrderError(
                f"A lifespan of {self.years.mid:g} years at a use of {self.utilisation:g}.",
                "The share of a run in it cannot be worked out.",
                "give years above 0 and a use above 0 and up to 1",
            )


DEFAULT_LIFE = Life(
    Range(3.0, 5.0, 6.0),
    source="assumed: 3 years (Boavizta, 26,280 h), 5 (LLMCarbon), 6 (Luccioni et al. 2022)",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """Hardware that a run used.

    Attributes:
        name: For people.
        made_kg: TE, emissions of making one; unknown stays unknown.
        count: How many the run used, the reserved ones included.
        share: RR/ToR, the part of each that was the run's.
        source: Where TE comes from, or why it is unknown.
    """

    name: str
    made_kg: Range
    count: float
    share: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.count < 0:
            raise OrderError(
                f"{self.name}: {self.count:g} with a share of {self.share:g}.",
                "No run uses less than nothing or more than all of a device.",
                "give a count of at least 0 and a share from 0 to 1",
            )


def embodied_g(devices: Iterable[Device], hours: float, life: Life = DEFAULT_LIFE) -> Range:
    """Emissions of making hardware that fall to a run.

    Args:
        devices: What the run used.
        hours: TiR, for how long.
        life: EL, for how long it serves.

    Returns:
        Grams; unknown where those of one device are, or without devices.

    Example:
        >>> node = Device("server", Range.exactly(1000.0), 1)
        >>> round(embodied_g([node], 1.0, Life(Range.exactly(4.0))).mid, 1)
        28.5

    Source: ISO/IEC 21031:2024. The paper on BLOOM (arXiv:2211.02001) divides by the use too.
    """
    total, found = Range.exactly(0.0), False
    for one in devices:
        total, found = total + one.made_kg.times(one.count * one.share), True
    if not found or math.isnan(hours):
        return Range.unknown()
    served = (life.years.high, life.years.mid, life.years.low)
    parts = Range(*[hours / (years * HOURS_PER_YEAR * life.utilisation) for years in served])
    return total * parts.times(1000.0)
