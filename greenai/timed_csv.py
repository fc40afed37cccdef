"""A user's CSV of figures over spans of UTC, checked line by line."""

from __future__ import annotations

import csv
import difflib
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from greenai.analysis.spans import Row
from greenai.errors import GridError
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMES = ("start_utc", "end_utc")
SIZE_MAX = 200_000_000
"""Bytes; a file that is larger is no such table."""
YEARS = range(1970, 2262)
"""Those that nanoseconds since 1970 can hold in 64 bits."""


class Table(NamedTuple):
    """What a file says.

    Attributes:
        rows: Its lines, in the unit of ``figure``.
        figure: Name of the column that holds the figures.
        words: The one word of each further column; empty without the column.
    """

    rows: list[Row]
    figure: str
    words: dict[str, str]


def read_table(path: Path, figures: tuple[str, ...], words: Mapping[str, tuple[str, ...]]) -> Table:
    """Read columns ``start_utc``, ``end_utc``, one figure, and words that all lines share.

    Args:
        path: The file.
        figures: Names of which one column must have; an empty field is a hole.
        words: Further columns that there may be, with the words they may have; any where empty.

    Returns:
        The table.

    Raises:
        GridError: The file cannot be read, or a column, a time or a figure is none.
    """
    try:
        if path.stat().st_size > SIZE_MAX:
            raise _bad(path, "the file is larger than 200 MB", "give a table of figures")
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            figure = _header(path, list(reader.fieldnames), figures, words)
            table = [(f"line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, f"it cannot be read: {error}", "give a CSV in UTF-8") from None
    rows = [_row(path, name, row, figure) for name, row in table]
    return Table(rows, figure, {name: _same(path, name, table, words[name]) for name in words})


def utc_ns_of(text: str) -> int:
    """Nanoseconds since 1970 of an ISO 8601 time; one without an offset is UTC.

    Raises:
        ValueError: It is no such time, its zone is a name, or it lies before 1970.

    Example:
        >>> utc_ns_of("1970-01-01T01:00+01:00"), utc_ns_of("1970-01-01 00:00:01")
        (0, 1000000000)
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment.year not in YEARS:
        raise ValueError(text)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * NS_PER_S + moment.microsecond * 1000


def _header(
    path: Path, names: list[str], figures: tuple[str, ...], words: Mapping[str, tuple[str, ...]]
) -> str:
    """Check the columns; the one that holds the figures."""
    found = [name for name in figures if name in names]
    missing = [name for name in TIMES if name not in names]
    columns = (*TIMES, *figures, *words)
    unknown = [name for name in names if name not in columns]
    usual = ",".join((*TIMES, figures[0]))
    if unknown:
        near = difflib.get_close_matches(unknown[0], columns, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise _bad(
            path,
            f"column {unknown[0][:40]!r} is unknown",
            f"{hint}The columns are {usual}, and may be {', '.join(columns)}",
        )
    if missing or len(found) != 1:
        raise _bad(
            path,
            f"its columns are {', '.join(names)[:80] or 'none'}",
            f"the first line must be {usual}",
        )
    return found[0]


def _row(path: Path, name: str, row: dict[str, str | None], figure: str) -> Row:
    times = []
    for column in TIMES:
        text = (row[column] or "").strip()
        try:
            times.append(utc_ns_of(text))
        except (ValueError, OverflowError):
            near = text[:16].rstrip() if text[:4].isdigit() else "2026-11-25T13:00"
            raise _bad(
                path,
                f"{name}: {column} {text[:40]!r} is no time from 1970 on, or its zone is unknown",
                f"write ISO 8601 in UTC or with an offset, such as {near}Z or {near}+01:00",
            ) from None
    text = (row[figure] or "").strip()
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise _bad(
            path, f"{name}: {figure} {text[:40]!r} is no number", "leave it empty for a hole"
        ) from None
    return Row(times[0], times[1], value, name=name)


def _same(
    path: Path,
    column: str,
    table: list[tuple[str, dict[str, str | None]]],
    allowed: tuple[str, ...],
) -> str:
    """The one word that a column has in all rows; empty without the column."""
    words = dict.fromkeys((row.get(column) or "").strip() for _, row in table)
    if len(words) > 1:
        first, second = list(words)[:2]
        raise _bad(
            path,
            f"column {column} says {first[:40]!r} and {second[:40]!r}",
            "what counts unlike things is never mixed: make a file of each",
        )
    word = next(iter(words), "")
    if allowed and word and word not in allowed:
        near = difflib.get_close_matches(word, allowed, n=1, cutoff=0.0)
        raise _bad(
            path,
            f"{column} {word[:40]!r} is unknown",
            f"did you mean {near[0]}? It may be {', '.join(allowed)}",
        )
    return word


def _bad(path: Path, what: str, hint: str) -> GridError:
    return GridError(f"{path.name}: {what}.", "No row of it was used.", hint)
