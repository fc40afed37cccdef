"""Carbon intensity from a user's CSV, checked row by row."""

from __future__ import annotations

import csv
import difflib
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from greenai.analysis.intensity import Row, series_of
from greenai.errors import GridError
from greenai.units import G_PER_KWH_PER_LB_PER_MWH, NS_PER_S

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.analysis.intensity import Basis, IntensitySeries, Signal

TIMES = ("start_utc", "end_utc")
FIGURES = ("g_per_kwh", "lb_per_mwh")
WORDS = {
    "basis": ("direct", "lifecycle", "unknown"),
    "signal": ("average", "marginal"),
}
NAMES = ("source", "place")
COLUMNS = (*TIMES, *FIGURES, *WORDS, *NAMES)
SIZE_MAX = 200_000_000
"""Bytes; a file that is larger is no table of intensities."""


def read_intensity(path: Path, *, now_utc_ns: int | None = None) -> IntensitySeries:
    """Read a table of intensities.

    Columns ``start_utc``, ``end_utc`` (ISO 8601; without an offset UTC) and ``g_per_kwh``, or
    ``lb_per_mwh``, which is converted. An empty figure is a hole. The columns ``basis``,
    ``signal``, ``source`` and ``place`` may follow and say the same in every row.

    Args:
        path: The file.
        now_utc_ns: The moment after which no row may end; now where None.

    Returns:
        The series; its basis is ``unknown`` and its signal ``average`` where no column says it.

    Raises:
        GridError: The file cannot be read, or a row overlaps another, lies in the future, is
            negative, ends before it starts, or has a time that is none.
    """
    try:
        if path.stat().st_size > SIZE_MAX:
            raise _bad(path, "the file is larger than 200 MB", "give a table of intensities")
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            figure = _header(path, reader.fieldnames or [])
            table = [(f"line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, f"it cannot be read: {error}", "give a CSV in UTF-8") from None
    rows = [_row(path, name, row, figure) for name, row in table]
    words = {name: _same(path, name, table, WORDS.get(name)) for name in (*WORDS, *NAMES)}
    converted = ", lb/MWh converted to g/kWh" if figure == "lb_per_mwh" else ""
    return series_of(
        rows,
        basis=cast("Basis", words["basis"] or "unknown"),
        signal=cast("Signal", words["signal"] or "average"),
        source=(words["source"] or path.name) + converted,
        place=words["place"],
        now_utc_ns=time.time_ns() if now_utc_ns is None else now_utc_ns,
    )


def utc_ns_of(text: str) -> int:
    """Nanoseconds since 1970 of an ISO 8601 time; one without an offset is UTC.

    Raises:
        ValueError: It is no such time, or its zone is a name.

    Example:
        >>> utc_ns_of("1970-01-01T01:00+01:00"), utc_ns_of("1970-01-01 00:00:01")
        (0, 1000000000)
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * NS_PER_S + moment.microsecond * 1000


def _header(path: Path, columns: object) -> str:
    """Check the columns; the one that holds the figures."""
    names = [str(name).strip() for name in columns] if isinstance(columns, list) else []
    figures = [name for name in FIGURES if name in names]
    missing = [name for name in TIMES if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    if not missing and len(figures) == 1 and not unknown:
        return figures[0]
    if unknown:
        near = difflib.get_close_matches(unknown[0], COLUMNS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise _bad(
            path,
            f"column {unknown[0][:40]!r} is unknown",
            f"{hint}The columns are start_utc,end_utc,g_per_kwh, and may be {', '.join(COLUMNS)}",
        )
    raise _bad(
        path,
        f"its columns are {', '.join(names)[:80] or 'none'}",
        "the first line must be start_utc,end_utc,g_per_kwh",
    )


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
                f"{name}: {column} {text[:40]!r} is no time, or its zone is unknown",
                f"write ISO 8601 in UTC or with an offset, such as {near}Z or {near}+01:00",
            ) from None
    text = (row[figure] or "").strip()
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise _bad(
            path, f"{name}: {figure} {text[:40]!r} is no number", "leave it empty for a hole"
        ) from None
    factor = G_PER_KWH_PER_LB_PER_MWH if figure == "lb_per_mwh" else 1.0
    return Row(times[0], times[1], value * factor, name=name)


def _same(
    path: Path,
    column: str,
    table: list[tuple[str, dict[str, str | None]]],
    allowed: tuple[str, ...] | None,
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
