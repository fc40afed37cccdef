"""Rows of all runs below a root: from summaries, else from records, else with a reason."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import greenai
from greenai.errors import GreenAIError, RecordError
from greenai.fleet.rows import COMPUTED, SUMMARY, Row, row_of, unreadable
from greenai.record.types import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.fleet.places import Place


def gather(place: Place, *, compute: bool = False, say: Callable[[str], object] = str) -> list[Row]:
    """One row for every run, those included that failed, that run, or that cannot be read.

    A summary is taken where it is not older than the record, of this schema version and in order;
    otherwise the run is computed from its record. A run that cannot be computed keeps its row,
    with the reason in ``problem``.

    Args:
        place: Where they lie.
        compute: Whether to compute every run, whatever its summary says.
        say: Told what is going on, as one line.

    Returns:
        Rows by folder.

    Raises:
        RecordError: There is no run.
    """
    summaries = place.summaries()
    if not summaries:
        raise RecordError(
            f"No run lies in {place}.",
            "There is nothing to list.",
            "name a folder that holds run folders",
        )
    rows = []
    for number, (name, data) in enumerate(summaries.items(), start=1):
        row = None if compute or data is None else _of_summary(name, data)
        if row is None:
            say(f"{number} of {len(summaries)}: computing {name}")
            row = _computed(place, name)
        rows.append(row)
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return [{**row, "indexed_utc": now} for row in rows]


def _of_summary(name: str, data: bytes) -> Row | None:
    """The row that a summary gives; None where it is not one of this schema."""
    try:
        summary = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(summary, dict) or summary.get("schema_version") != SCHEMA_VERSION:
        return None
    made_by = summary.get("greenai_version")
    return row_of(name, summary, SUMMARY, made_by if isinstance(made_by, str) else None)


def _computed(place: Place, name: str) -> Row:
    from greenai.api import load  # noqa: PLC0415 - loads pandas, and most runs have a summary

    folder, damage = None, None
    try:
        with place.at_hand(name) as folder:
            try:
                summary = load(folder).summary()
            except RecordError as error:
                damage = f"{error.what} The numbers are of what lies before."
                summary = load(folder, partial=True).summary()
    except GreenAIError as error:
        return unreadable(name, error.what.replace(str(folder), name))
    except OSError as error:
        return unreadable(name, f"{name} cannot be read: {error.strerror}.")
    row = row_of(name, summary, COMPUTED, greenai.__version__)
    return row if damage is None else {**row, "problem": damage.replace(str(folder), name)}
