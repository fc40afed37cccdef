"""Energy and emissions in everyday terms, each with its factor, source and year."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greenai.analysis.ranges import Range


@dataclasses.dataclass(frozen=True, slots=True)
class Equivalence:
    """One comparison, to illustrate and not to account with.

    Attributes:
        name: What is counted.
        amount: How much of it.
        factor: What one of it takes, in ``factor_unit``.
        factor_unit: kWh or gCO2e for each.
        source: Where the factor comes from.
        year: The year that it is about.
    """

    name: str
    amount: Range
    factor: float
    factor_unit: str
    source: str
    year: int


class _Factor(NamedTuple):
    name: str
    factor: float
    unit: str
    source: str
    year: int


FACTORS = (
    _Factor(
        "years of electricity of a US household",
        10_791.0,
        "kWh/year",
        "US EIA, average residential customer",
        2022,
    ),
    _Factor("km in a new EU car", 106.8, "gCO2/km", "EEA, average of new passenger cars", 2024),
)
"""Those of energy are taken of kWh, those of carbon of grams: never one by way of the other."""


def equivalences(energy_kwh: Range, emissions_g: Range) -> tuple[Equivalence, ...]:
    """Compare energy with households and emissions with driving.

    Args:
        energy_kwh: Energy at the meter where the PUE is known, else IT energy.
        emissions_g: Operational emissions, location-based.

    Returns:
        Comparisons; their amounts are unknown where the energy or the emissions are.

    Example:
        >>> from greenai.analysis.ranges import Range
        >>> homes, driven = equivalences(Range.exactly(1_287_000.0), Range.exactly(106.8e6))
        >>> round(homes.amount.mid, 1), driven.amount.mid
        (119.3, 1000000.0)
    """
    return tuple(
        Equivalence(
            name=one.name,
            amount=(energy_kwh if one.unit.startswith("kWh") else emissions_g).times(
                1 / one.factor
            ),
            factor=one.factor,
            factor_unit=one.unit,
            source=one.source,
            year=one.year,
        )
        for one in FACTORS
    )
