"""Water that the generation of a kWh uses, by country, from our table."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("data") / "ewif.csv"


class Ewif(NamedTuple):
    """Energy water intensity factor of a country's generation.

    Attributes:
        l_per_kwh: Litres consumed per kWh generated; evaporation of reservoirs is in it.
        source: Where it comes from, with its year.
    """

    l_per_kwh: float
    source: str


def ewif(country: str | None) -> Ewif | None:
    """The factor of a country; None where no source gives one. The world's is never taken.

    Args:
        country: ISO 3166-1 alpha-3 code, in any case; None is not known.

    Example:
        >>> ewif("fra").l_per_kwh, ewif("MCO"), ewif(None)
        (3.6737, None, None)

    Source: The table names the source of every row.
    """
    return None if country is None else _table().get(country.strip().upper())


@functools.cache
def _table() -> dict[str, Ewif]:
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return {
            row["code"]: Ewif(
                float(row["ewif_l_per_kwh"]), f"{row['name']} {row['year']}, {row['source']}"
            )
            for row in csv.DictReader(lines)
        }
