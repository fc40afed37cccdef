"""Yearly intensities from a CSV of the user's, for places and years that our tables do not have."""

from __future__ import annotations

import csv
import datetime as dt
import difflib
import math
from typing import TYPE_CHECKING, cast

from greenai.errors import GridError
from greenai.grid import WORLD, Basis, Intensity, Rows, Signal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COLUMNS = ("region", "year", "g_per_kwh", "basis", "signal", "source")
BOUNDS = ("low_g_per_kwh", "high_g_per_kwh")
FURTHER = (*BOUNDS, "name", "licence")
WORDS = {"basis": ("direct", "lifecycle", "unknown"), "signal": ("average", "marginal")}
BYTES_MAX = 2**24
YEAR_MIN = 1900
UNUSED = "No row of the table was used, and no other table instead."


def read_table(path: Path, *, this_year: int | None = None) -> Rows:
    """Read a table of yearly intensities.

    Columns ``region`` (``FRA``, ``USA/california``, or a name of your own), ``year``,
    ``g_per_kwh``, ``basis`` (``direct``, ``lifecycle``, ``unknown``), ``signal`` (``average``,
    ``marginal``) and ``source``; ``low_g_per_kwh`` and ``high_g_per_kwh``, ``name`` and
    ``licence`` may follow. Of a place with several years the latest counts.

    Args:
        path: The file.
        this_year: No row may be about a later year; that of today where None.

    Returns:
        The rows by place.

    Raises:
        GridError: The file cannot be read, or a row lacks a field, has no possible figure, is
            about the future, or says what another says already.
    """
    last = dt.datetime.now(dt.UTC).year if this_year is None else this_year
    found: dict[tuple[str, str], dict[int, Intensity]] = {}
    for where, row in _lines(path):
        one = _row(row, where, last)
        years = found.setdefault((one.country, one.region or ""), {})
        year = one.year or 0
        if year in years:
            raise GridError(
                f"{where} gives {one.place} of {year} a second time.",
                UNUSED,
                "leave one of the two out, or correct its year",
            )
        years[year] = one
    if not found:
        raise GridError(f"{path} has no rows.", UNUSED, f"give {', '.join(COLUMNS)}")
    countries: dict[str, Intensity] = {}
    regions: dict[str, dict[str, Intensity]] = {}
    for (country, region), years in found.items():
        latest = years[max(years)]
        if region:
            regions.setdefault(country, {})[region] = latest
        else:
            countries[country] = latest
    names = {code: (code, one.name) for code, one in countries.items()}
    return Rows(path.name, countries, regions, names)


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows with the words by which an error calls them."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise GridError(
                f"{path} has more than {BYTES_MAX} bytes.", UNUSED, "give a smaller one"
            )
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GridError(f"{path} cannot be read: {error}.", UNUSED, "name a CSV file") from None
    rows = csv.reader(lines)
    head = [name.strip() for name in next(rows, [])]
    _check_head(head, path)
    for number, row in enumerate(rows, start=2):
        if any(field.strip() for field in row):
            fields = [*(field.strip() for field in row), *[""] * (len(head) - len(row))]
            yield f"{path}, line {number}", dict(zip(head, fields, strict=False))


def _check_head(head: Sequence[str], path: Path) -> None:
    known = (*COLUMNS, *FURTHER)
    for name in head:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(known)}"
            raise GridError(f"{path} has an unknown column {name[:40]!r}.", UNUSED, hint)
    missing = [name for name in COLUMNS if name not in head]
    if missing:
        raise GridError(
            f"{path} has no column {missing[0]}.", UNUSED, f"give {','.join(COLUMNS)} in line 1"
        )


def _row(row: dict[str, str], where: str, last_year: int) -> Intensity:
    for column, words in WORDS.items():
        if row[column] not in words:
            near = difflib.get_close_matches(row[column], words, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(words)}"
            raise GridError(f"{where}: the {column} is {row[column][:40]!r}.", UNUSED, hint)
    for column in ("region", "source"):
        if not row[column]:
            raise GridError(f"{where} has no {column}.", UNUSED, f"say the {column} of every row")
    country, _, region = row["region"].partition("/")
    figure = _figure(row, "g_per_kwh", where)
    low, high = (_figure(row, name, where) if row.get(name) else None for name in BOUNDS)
    if not (figure if low is None else low) <= figure <= (figure if high is None else high):
        raise GridError(
            f"{where}: {figure:g} g/kWh is not between its bounds.",
            UNUSED,
            "give low_g_per_kwh <= g_per_kwh <= high_g_per_kwh, or leave the bounds empty",
        )
    return Intensity(
        g_per_kwh=figure,
        country=country.strip().upper(),
        region=" ".join(region.split()).casefold() or None,
        name=row.get("name") or row["region"],
        year=_year(row["year"], where, last_year),
        source=row["source"],
        licence=row.get("licence", ""),
        basis=cast("Basis", row["basis"]),
        signal=cast("Signal", row["signal"]),
        is_world_average=country.strip().upper() == WORLD,
        low_g_per_kwh=low,
        high_g_per_kwh=high,
    )


def _year(text: str, where: str, last_year: int) -> int:
    year = int(text) if text.isascii() and text.isdigit() else 0
    if year > last_year:
        raise GridError(
            f"{where} is about {year}, which lies in the future.",
            f"Nobody has measured that yet. {UNUSED}",
            f"use {last_year} or before",
        )
    if year < YEAR_MIN:
        raise GridError(f"{where}: the year is {text[:40]!r}.", UNUSED, "give four digits")
    return year


def _figure(row: dict[str, str], column: str, where: str) -> float:
    try:
        figure = float(row[column])
    except ValueError:
        figure = math.nan
    if not 0 <= figure < math.inf:
        raise GridError(
            f"{where}: {column} is {row[column][:40]!r}.", UNUSED, "give grams per kWh, at least 0"
        )
    return figure
