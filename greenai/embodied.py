"""Emissions of making accelerators and servers, from our table."""

from __future__ import annotations

import csv
import difflib
import functools
import math
from pathlib import Path
from typing import NamedTuple

from greenai.analysis.embodied import Device
from greenai.analysis.ranges import Range
from greenai.errors import OrderError

TABLE = Path(__file__).with_name("data") / "embodied.csv"
SERVER = "server without GPUs"


class _Row(NamedTuple):
    """One line of the table, as text; its fields are the columns."""

    name: str
    kind: str
    kg_low: str
    kg: str
    kg_high: str
    per: str
    year: str
    source: str
    note: str
    aliases: str


def device(name: str, count: float = 1, share: float = 1.0) -> Device:
    """A device of the table, by its name or a product name that a driver gives.

    Args:
        name: Such as ``H100 SXM`` or ``NVIDIA H100 80GB HBM3``, in any case.
        count: How many.
        share: The part of each that is the run's.

    Returns:
        The device; its emissions are unknown where nobody has published any.

    Raises:
        OrderError: The table does not have it; the nearest names are given.

    Example:
        >>> device("h100 sxm", 8).made_kg.mid, device("NVIDIA H200").made_kg.is_known
        (164.0, False)

    Source: The table names the source of every row.
    """
    row = _table().get(_key(name))
    if row is None:
        near = difflib.get_close_matches(_key(name), _table(), n=3, cutoff=0.4)
        names = dict.fromkeys(_table()[one].name for one in near)
        raise OrderError(
            f"Unknown accelerator {name[:80]!r}: the table of embodied emissions has no such.",
            "Its share of the hardware's making is unknown; no other device was taken instead.",
            f"did you mean {' or '.join(names)}?"
            if names
            else f"use one of {', '.join(dict.fromkeys(row.name for row in _table().values()))}",
        )
    known = Range(*[float(kg or math.nan) for kg in (row.kg_low, row.kg, row.kg_high)])
    about = "; ".join(part for part in (row.source, row.note) if part)
    return Device(row.name, known, count, share, about)


def device_or_unknown(model: str, count: float = 1, share: float = 1.0) -> Device:
    """As ``device``; hardware that the table does not have is unknown, with the reason."""
    if _key(model) in _table():
        return device(model, count, share)
    return Device(model, Range.unknown(), count, share, "not in the table of embodied emissions")


@functools.cache
def _table() -> dict[str, _Row]:
    with TABLE.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        return {
            _key(name): row
            for row in map(_Row._make, rows)
            for name in (row.name, *filter(None, row.aliases.split(";")))
        }


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
