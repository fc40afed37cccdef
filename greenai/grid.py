"""Carbon intensity of electricity: the yearly factor of a country or region, from our tables.

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

_DATA = Path(__file__).with_name("data")
TABLE = _DATA / "grid.csv"
TABLES = {"codecarbon": TABLE, "ember": _DATA / "ember.csv"}
"""Tables that can be asked for by name; a file of the user's is asked for by its path."""
NEWEST = "newest"
"""Of each place the row of the later year; where both are of one year, CodeCarbon's."""
WORLD = "WLD"
"""Code of the world average; no ISO code, but the one that statistics offices use."""

SUGGESTIONS = 3
"""Nearest names given in an error."""
MANY = 12
"""Places of a table that an error names."""

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
        low_g_per_kwh: Lower bound that the source gives; None where it gives none.
        high_g_per_kwh: Upper bound, likewise.
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
    low_g_per_kwh: float | None = None
    high_g_per_kwh: float | None = None

    @property
    def place(self) -> str:
        """Country and region as exports label them.

        Example:
            >>> intensity("USA", "California").place
            'USA/california'
        """
        return f"{self.country}/{self.region}" if self.region else self.country


def intensity(
    country: str | None, region: str | None = None, table: str | Path | None = None
) -> Intensity:
    """Carbon intensity of a country or of one of its regions.

    Args:
        country: ISO 3166-1 alpha-3 code, in any case; None takes the world average, flagged.
        region: State, province, bidding zone or ``gcp:`` and a region of Google Cloud: its name or
            short code, in any case.
        table: ``newest`` (the default), ``codecarbon``, ``ember``, or a CSV of your own, as
            ``intensity_table.read_table`` takes it.

    Returns:
        The yearly factor in gCO2e/kWh with its source.

    Raises:
        GridError: The table has no such country or region; the nearest names are given. A region
            is never replaced by its country, nor a country by the world, nor a table by another.

    Example:
        >>> france = intensity("FRA")
        >>> france.g_per_kwh, france.year, france.basis
        (44.179, 2024, 'lifecycle')
        >>> intensity("FRA", table="codecarbon").g_per_kwh
        56.039
        >>> intensity("CAN", "QC").name
        'Quebec'
        >>> intensity(None).is_world_average
        True

    Source: The table's README names the source and licence of every row.
    """
    rows = rows_of(table)
    if country is None:
        if region is not None:
            raise GridError(
                f"A region {region!r} was given without its country.",
                "Regions of different countries share names; none was chosen.",
                "give the country too, an ISO 3166 alpha-3 code such as USA",
            )
        if WORLD not in rows.countries:
            raise GridError(
                f"No country was given, and {rows.name} has no world average ({WORLD}).",
                "Emissions cannot be worked out; no row was taken instead.",
                f"name one of its places: {_some(rows)}",
            )
        return rows.countries[WORLD]
    code = country.strip().upper()
    of_country = rows.regions.get(code, {})
    found = rows.countries.get(code)
    if found is None and (region is None or not of_country):
        raise _unknown_country(country, rows)
    if region is None and found is not None:
        return found
    key = _key(region or "")
    if key not in of_country:
        raise _unknown_region(region or "", code, found, of_country, rows.name)
    return of_country[key]


def check(country: str | None, region: str | None = None, table: str | None = None) -> None:
    """Refuse a country or region that the table does not have, and a table that has no name.

    Raises:
        GridError: As from ``intensity``.

    Example:
        >>> check("FRA")
    """
    intensity(country, region, table)


class Rows(NamedTuple):
    """A table of intensities.

    Attributes:
        name: Of the table, for people.
        countries: By code.
        regions: Per country by every accepted name.
        names: Per country its codes and names, for hints.
    """

    name: str
    countries: Mapping[str, Intensity]
    regions: Mapping[str, Mapping[str, Intensity]]
    names: Mapping[str, tuple[str, ...]]


def rows_of(table: str | Path | None) -> Rows:
    """A table by its name, or a CSV by its path.

    Raises:
        GridError: There is no such table; the nearest name is given.
    """
    name = NEWEST if table is None else str(table)
    if name == NEWEST:
        return _newest()
    if name in TABLES:
        return _shipped(name)
    if isinstance(table, Path) or name.endswith(".csv"):
        from greenai.intensity_table import read_table  # noqa: PLC0415 - rarely needed

        return read_table(Path(name))
    known = (NEWEST, *TABLES)
    near = difflib.get_close_matches(name, known, n=1)
    raise GridError(
        f"Unknown table of intensities {name[:80]!r}.",
        "Emissions cannot be worked out; no other table was taken instead.",
        (f"did you mean {near[0]}? " if near else "")
        + f"Use one of {', '.join(known)}, or the path of a file that ends in .csv.",
    )


@functools.cache
def _newest() -> Rows:
    """CodeCarbon's table with the countries replaced of which another has a later year."""
    first = _shipped("codecarbon")
    countries = dict(first.countries)
    for name in TABLES:
        for code, row in _shipped(name).countries.items():
            if row.year is not None and row.year > (countries[code].year or 0):
                countries[code] = row
    return first._replace(name="the newest of our tables", countries=countries)


@functools.cache
def _shipped(name: str) -> Rows:
    countries: dict[str, Intensity] = {}
    regions: dict[str, dict[str, Intensity]] = {}
    names: dict[str, tuple[str, ...]] = {}
    with TABLES[name].open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            one, also = _factor(row), tuple(filter(None, row["aliases"].split(";")))
            if row["region"]:
                named = regions.setdefault(one.country, {})
                named.update(dict.fromkeys((row["region"], *also), one))
            else:
                countries[one.country] = one
                names[one.country] = (one.country, one.name, *also)
    return Rows(f"the table of {name}", countries, regions, names)


def _factor(row: Mapping[str, str]) -> Intensity:
    return Intensity(
        g_per_kwh=float(row["intensity_g_per_kwh"]),
        country=row["code"],
        region=row["region"] or None,
        name=row["name"],
        year=int(row["year"]) if row["year"] else None,
        source=row["source"],
        licence=row["licence"],
        basis=cast("Basis", row["basis"]),
        signal=cast("Signal", row["signal"]),
        is_world_average=row["code"] == WORLD,
    )


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _some(rows: Rows) -> str:
    """Some places of a table, for an error."""
    every = [*rows.countries, *(one.place for of in rows.regions.values() for one in of.values())]
    more = ", ..." if len(every) > MANY else ""
    return ", ".join(dict.fromkeys(every[:MANY])) + more


def _unknown_country(country: str, rows: Rows) -> GridError:
    """Name the countries whose code, name or other name comes nearest."""
    codes: dict[str, str] = {}
    names: dict[str, str] = {}
    for code, every_name in rows.names.items():
        for name in every_name:
            known = codes if len(name) <= len(WORLD) else names
            known[_key(name)] = f"{code} ({every_name[1]})" if len(every_name) > 1 else code
    every = names | codes
    key = _key(country)
    alike = codes if len(key) <= len(WORLD) else names
    near = [key] if key in every else difflib.get_close_matches(key, alike, n=SUGGESTIONS)
    found = dict.fromkeys(every[name] for name in near)
    return GridError(
        f"Unknown country {country[:80]!r}: it is no ISO 3166 alpha-3 code of {rows.name}.",
        "Emissions cannot be worked out for it; no other country was taken instead.",
        (f"did you mean {' or '.join(found)}? " if found else "")
        + "Give a code of three letters, or no country for the world average, which is then named.",
    )


def _unknown_region(
    region: str,
    code: str,
    country: Intensity | None,
    of_country: Mapping[str, Intensity],
    table: str,
) -> GridError:
    """Name the regions of the country that come nearest, or say that it has none."""
    name = country.name if country is not None else code
    what = f"Unknown region {region[:80]!r} of {code} ({name})."
    meaning = "Emissions cannot be worked out for it; the country's figure was not taken instead."
    if not of_country:
        hint = f"{table} has no regions of {name}: leave it out, or take another table"
        return GridError(what, meaning, hint)
    near = difflib.get_close_matches(_key(region), of_country, n=SUGGESTIONS, cutoff=0.5)
    found = dict.fromkeys(str(of_country[one].region) for one in near)
    if found:
        return GridError(what, meaning, f"did you mean {' or '.join(found)}?")
    every = sorted({str(one.region) for one in of_country.values()})
    return GridError(what, meaning, f"use one of {', '.join(every)}")
