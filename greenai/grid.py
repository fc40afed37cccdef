"""Carbon intensity of electricity: the yearly factor of a country or region, from our table.

Nothing here asks the network where the machine stands or what its grid does now.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from greenai.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = Path(__file__).with_name("data") / "grid.csv"
WORLD = "WLD"
"""Code of the world average; no ISO code, but the one that statistics offices use."""

SUGGESTIONS = 3
"""Nearest names given in an error."""

Basis = Literal["direct", "lifecycle", "unknown"]
Signal = Literal["average", "marginal"]


@dataclasses.dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon intensity that is constant in time: one row of the table.

    Attributes:
        g_per_kwh: Grams of CO2 equivalent per kilowatt-hour.
        country: ISO 3166-1 alpha-3 code; ``WLD`` is the world.
        region: Lower-case name of the region; None is the whole country.
        name: Name for people.
        year: The year that the figure is about; None is not stated.
        source: Where the figure comes from.
        licence: Under which it is passed on.
        basis: ``direct`` counts the stack only, ``lifecycle`` also fuel and plant.
        signal: ``average`` of all generation, or ``marginal``.
        is_world_average: Whether the figure stands in for a place that nobody named.
    """

    g_per_kwh: float
    country: str
    region: str | None
    name: str
    year: int | None
    source: str
    licence: str
    basis: Basis
    signal: Signal
    is_world_average: bool

    @property
    def place(self) -> str:
        """Country and region as exports label them.

        Example:
            >>> intensity("USA", "California").place
            'USA/california'
        """
        return f"{self.country}/{self.region}" if self.region else self.country


def intensity(country: str | None, region: str | None = None) -> Intensity:
    """Carbon intensity of a country or of one of its regions.

    Args:
        country: ISO 3166-1 alpha-3 code, in any case; None takes the world average, flagged.
        region: State, province, bidding zone or ``gcp:`` and a region of Google Cloud: its name or
            short code, in any case.

    Returns:
        The yearly factor in gCO2e/kWh with its source.

    Raises:
        GridError: The table has no such country or region; the nearest names are given. A region
            is never replaced by its country, nor a country by the world.

    Example:
        >>> france = intensity("FRA")
        >>> france.g_per_kwh, france.year, france.basis
        (56.039, 2023, 'lifecycle')
        >>> intensity("CAN", "QC").name
        'Quebec'
        >>> intensity(None).is_world_average
        True

    Source: The table's README names the source and licence of every row.
    """
    table = _table()
    if country is None:
        if region is not None:
            raise GridError(
                f"A region {region!r} was given without its country.",
                "Regions of different countries share names; none was chosen.",
                "give the country too, an ISO 3166 alpha-3 code such as USA",
            )
        return _factor(table.countries[WORLD])
    found = table.countries.get(country.strip().upper())
    if found is None:
        raise _unknown_country(country, table)
    if region is None:
        return _factor(found)
    of_country = table.regions.get(found.code, {})
    key = _key(region)
    if key not in of_country:
        raise _unknown_region(region, found, of_country)
    return _factor(of_country[key])


def check(country: str | None, region: str | None = None) -> None:
    """Refuse a country or region that the table does not have.

    Raises:
        GridError: As from ``intensity``.

    Example:
        >>> check("FRA")
    """
    intensity(country, region)


class _Row(NamedTuple):
    """One line of the table, as text; its fields are the columns."""

    code: str
    region: str
    name: str
    intensity_g_per_kwh: str
    year: str
    basis: str
    signal: str
    source: str
    licence: str
    aliases: str

    @property
    def also(self) -> list[str]:
        return self.aliases.split(";") if self.aliases else []


class _Table(NamedTuple):
    """Countries by code, and per country its regions by every accepted name."""

    countries: Mapping[str, _Row]
    regions: Mapping[str, Mapping[str, _Row]]


@functools.cache
def _table() -> _Table:
    countries: dict[str, _Row] = {}
    regions: dict[str, dict[str, _Row]] = {}
    with TABLE.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        for row in map(_Row._make, rows):
            if row.region:
                named = regions.setdefault(row.code, {})
                named.update(dict.fromkeys((row.region, *row.also), row))
            else:
                countries[row.code] = row
    return _Table(countries, regions)


def _factor(row: _Row) -> Intensity:
    return Intensity(
        g_per_kwh=float(row.intensity_g_per_kwh),
        country=row.code,
        region=row.region or None,
        name=row.name,
        year=int(row.year) if row.year else None,
        source=row.source,
        licence=row.licence,
        basis=cast("Basis", row.basis),
        signal=cast("Signal", row.signal),
        is_world_average=row.code == WORLD,
    )


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _unknown_country(country: str, table: _Table) -> GridError:
    """Name the countries whose code, name or other name comes nearest."""
    codes: dict[str, str] = {}
    names: dict[str, str] = {}
    for row in table.countries.values():
        for name in (row.code, row.name, *row.also):
            known = codes if len(name) <= len(WORLD) else names
            known[_key(name)] = f"{row.code} ({row.name})"
    every = names | codes
    key = _key(country)
    alike = codes if len(key) <= len(WORLD) else names
    near = [key] if key in every else difflib.get_close_matches(key, alike, n=SUGGESTIONS)
    found = dict.fromkeys(every[name] for name in near)
    return GridError(
        f"Unknown country {country[:80]!r}: it is no ISO 3166 alpha-3 code of the grid table.",
        "Emissions cannot be worked out for it; no other country was taken instead.",
        (f"did you mean {' or '.join(found)}? " if found else "")
        + "Give a code of three letters, or no country for the world average, which is then named.",
    )


def _unknown_region(region: str, country: _Row, of_country: Mapping[str, _Row]) -> GridError:
    """Name the regions of the country that come nearest, or say that it has none."""
    what = f"Unknown region {region[:80]!r} of {country.code} ({country.name})."
    meaning = "Emissions cannot be worked out for it; the country's figure was not taken instead."
    if not of_country:
        return GridError(what, meaning, f"the table has no regions of {country.name}: leave it out")
    near = difflib.get_close_matches(_key(region), of_country, n=SUGGESTIONS, cutoff=0.5)
    found = dict.fromkeys(of_country[name].region for name in near)
    if found:
        return GridError(what, meaning, f"did you mean {' or '.join(found)}?")
    every = sorted({row.region for row in of_country.values()})
    return GridError(what, meaning, f"use one of {', '.join(every)}")
