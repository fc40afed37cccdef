"""A listing of runs as text for people, as CSV and as JSON; plain, because rich needs a second."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from typing import TYPE_CHECKING, Any

from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from greenai.fleet.query import Listing

SHOWN = (
    "folder", "variant", "started_utc", "ended", "steps", "energy_j", "j_per_token",
    "operational_co2e_g",
)  # fmt: skip
"""Columns of the text where none are asked for."""

_WIDTH_MAX = 60
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def text_of(listing: Listing) -> str:
    r"""Columns in line, numbers to the right; what is unknown says so.

    Example:
        >>> from greenai.fleet.query import Listing
        >>> print(text_of(Listing(("folder", "energy_j"), [("a", 2.5), ("long", None)])))
        folder  energy_j
        a            2.5
        long     unknown
    """
    numeric = [
        any(isinstance(row[n], int | float) for row in listing.rows)
        for n in range(len(listing.columns))
    ]
    rows = [
        ["none" if name == "problem" and value is None else _shown(value) for name, value in cells]
        for cells in (zip(listing.columns, row, strict=True) for row in listing.rows)
    ]
    table = [list(listing.columns), *rows]
    widths = [max(len(row[n]) for row in table) for n in range(len(listing.columns))]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in table
    )
    return "\n".join(lines)


def csv_of(listing: Listing) -> str:
    """CSV with a header; an unknown is an empty cell, and no text is run by a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(listing.columns)
    writer.writerows([_cell(value) for value in row] for row in listing.rows)
    return text.getvalue()


def json_of(listing: Listing) -> str:
    """A JSON array with an object a run; an unknown is null."""
    rows = [
        {name: _plain(value) for name, value in zip(listing.columns, row, strict=True)}
        for row in listing.rows
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return f"{value:.6g}" if isinstance(value, float) else printable(value, limit=_WIDTH_MAX)


def _cell(value: Any) -> Any:
    plain = _plain(value)
    if isinstance(plain, str):
        plain = plain.replace("\r\n", "\n").replace("\r", "\n")
        return f"'{plain}" if plain.startswith(_STARTS_A_FORMULA) else plain
    return plain


def _plain(value: Any) -> Any:
    return f"{value.isoformat()}Z" if isinstance(value, dt.datetime) else value
