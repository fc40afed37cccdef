"""One row a run: what of a summary is listed, each column with its type; the rest is unknown."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT, WHOLE, NUMBER, TIME = "text", "whole", "number", "time"

COLUMNS: dict[str, str] = {
    "folder": TEXT,
    "project": TEXT,
    "run_id": TEXT,
    "variant": TEXT,
    "started_utc": TIME,
    "ended_utc": TIME,
    "ended": TEXT,
    "problem": TEXT,
    "source": TEXT,
    "attempts": WHOLE,
    "ranks": WHOLE,
    "ranks_expected": WHOLE,
    "hosts": WHOLE,
    "gpus": WHOLE,
    "devices": TEXT,
    "duration_s": NUMBER,
    "steps": WHOLE,
    "batches": NUMBER,
    "tokens": NUMBER,
    "samples": NUMBER,
    "flops": NUMBER,
    "parameters": NUMBER,
    "active_parameters": NUMBER,
    "energy_j": NUMBER,
    "energy_low_j": NUMBER,
    "energy_high_j": NUMBER,
    "steps_j": NUMBER,
    "gpu_j": NUMBER,
    "cpu_j": NUMBER,
    "dram_j": NUMBER,
    "other_j": NUMBER,
    "unattributed_j": NUMBER,
    "wasted_j": NUMBER,
    "facility_energy_j": NUMBER,
    "energy_boundary": TEXT,
    "measured_share": NUMBER,
    "modelled_share": NUMBER,
    "assumed_share": NUMBER,
    "coverage": NUMBER,
    "j_per_step": NUMBER,
    "j_per_token": NUMBER,
    "mfu": NUMBER,
    "flop_per_j": NUMBER,
    "pue": NUMBER,
    "intensity_g_per_kwh": NUMBER,
    "intensity_place": TEXT,
    "intensity_source": TEXT,
    "intensity_year": WHOLE,
    "operational_co2e_g": NUMBER,
    "warmup_s": NUMBER,
    "schema_version": WHOLE,
    "greenai_version": TEXT,
    "indexed_utc": TIME,
}
"""Columns of the index in order; they are added to, never renamed."""

SUMMARY, COMPUTED, UNREADABLE = "summary.json", "record", "unreadable"
"""Where a row comes from: a summary not older than its record, the record itself, or nowhere."""

_TEXT_MAX = 1000
_WHOLE_MAX = 2**63

Row = dict[str, Any]


def row_of(folder: str, summary: Mapping[str, Any], source: str, version: str | None) -> Row:
    """Make a row of a summary that may come from anywhere.

    Args:
        folder: The run's folder as seen from the root.
        summary: Content of a summary.json.
        source: ``SUMMARY`` or ``COMPUTED``.
        version: Of the greenai that worked the numbers out; None where nobody knows.

    Returns:
        A value for every column; None is unknown, and so is what is not of the column's type.

    Example:
        >>> row = row_of("a", {"energy_j": 2.5, "steps": "many"}, COMPUTED, None)
        >>> row["energy_j"], row["steps"], row["j_per_token"]
        (2.5, None, None)
    """
    parts = {
        **{f"{name}_j": value for name, value in _object(summary, "component_j").items()},
        **{f"{name}_share": value for name, value in _object(summary, "trust").items()},
    }
    devices = summary.get("devices")
    models = {
        str(one.get("model"))
        for one in (devices if isinstance(devices, list) else ())
        if isinstance(one, dict)
    }
    own = {
        "folder": folder,
        "source": source,
        "problem": None,
        "devices": ", ".join(sorted(models)) or None,
        "greenai_version": version,
    }
    found = {**parts, **summary, **own}
    return {name: _typed(found.get(name), kind) for name, kind in COLUMNS.items()}


def unreadable(folder: str, problem: str) -> Row:
    """Make the row of a run of which nothing is known but why."""
    own = {"folder": folder, "problem": problem, "source": UNREADABLE}
    return {name: _typed(own.get(name), kind) for name, kind in COLUMNS.items()}


def _object(summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = summary.get(name)
    return value if isinstance(value, dict) else {}


def _typed(value: object, kind: str) -> Any:
    """Give a value of the column's type; None where it is of another."""
    if kind in {WHOLE, NUMBER}:
        return _number(value, kind)
    if not isinstance(value, str):
        return None
    if kind == TEXT:
        return value[:_TEXT_MAX].encode("utf-8", "replace").decode()
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    try:
        return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:  # within a day of year 1 or 9999
        return None


def _number(value: object, kind: str) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    if kind == NUMBER:
        return number
    return int(number) if number.is_integer() and abs(number) < _WHOLE_MAX else None
