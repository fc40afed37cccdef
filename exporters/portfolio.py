"""Many runs as one table, one page and one CSV: sums by project, month, variant or place."""

from __future__ import annotations

import dataclasses
import math
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

import greenai
from greenai.errors import OrderError
from greenai.exporters import page, quantities
from greenai.exporters.files import write_text
from greenai.exporters.sheets import Column, Section, Sheet
from greenai.exporters.tables import write_csv
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

MONTH_CHARACTERS = len("2026-11")
UNKNOWN_KEY = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One run among many.

    Attributes:
        folder: Its folder, as seen from the root.
        summary: Content of its summary.json; None where its record cannot be read.
        problem: Why not; empty where it can.
        record_sha256: Digest of its files; empty where they cannot be read.
    """

    folder: str
    summary: dict[str, Any] | None
    problem: str
    record_sha256: str


KEYS: dict[str, Callable[[Entry], str]] = {
    "project": lambda entry: _said(entry, "project"),
    "month": lambda entry: _said(entry, "started_utc")[:MONTH_CHARACTERS],
    "variant": lambda entry: _said(entry, "variant"),
    "place": lambda entry: _said(entry, "intensity_place"),
}
"""What runs can be summed up by; a run of which it is not known is ``unknown``, never left out."""

COLUMNS = (
    "folder", "run_id", "project", "variant", "month", "started_utc", "ended", "problem",
    "attempts", "duration_s", "steps", "tokens", "energy_j", "energy_low_j", "energy_high_j",
    "wasted_j", "coverage", "measured_share", "pue", "intensity_g_per_kwh", "intensity_place",
    "intensity_source", "intensity_year", "intensity_basis", "operational_co2e_g",
    "market_based_co2e_g", "embodied_co2e_g", "schema_version", "greenai_version",
    "record_sha256", "intensity_signal", "pue_source",
)  # fmt: skip
"""Columns of the CSV, one row a run; added to, never renamed."""

WHOLE = ("attempts", "steps", "intensity_year", "schema_version")
"""Columns of integers."""


def keys_of(text: str) -> tuple[str, ...]:
    """The keys that a word such as ``project,month`` names.

    Raises:
        OrderError: One is unknown.

    Example:
        >>> keys_of("project, month")
        ('project', 'month')
    """
    names = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    if not names or (wrong := next((name for name in names if name not in KEYS), "")):
        raise OrderError(
            f"Runs cannot be summed up by {wrong if names else 'nothing'!r}.",
            "Nothing was reported.",
            f"use one or more of {', '.join(KEYS)}, with commas between",
        )
    return names


def runs_table(entries: Iterable[Entry]) -> pd.DataFrame:
    """One row a run, those included whose record cannot be read; unknown is None."""
    table = pd.DataFrame([_row(entry) for entry in entries], columns=list(COLUMNS), dtype=object)
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def write_runs_csv(path: Path, entries: Iterable[Entry]) -> None:
    """Write the runs as CSV; a name that a spreadsheet would run is made harmless.

    Raises:
        RecordError: The file cannot be written.
    """
    write_csv(path, runs_table(entries))


def write_runs_page(path: Path, title: str, entries: Sequence[Entry], keys: Sequence[str]) -> None:
    """Write the runs as a page.

    Raises:
        RecordError: The file cannot be written.
    """
    write_text(path, runs_html(title, entries, keys))


def runs_html(title: str, entries: Sequence[Entry], keys: Sequence[str]) -> str:
    """Many runs as a page: sums, then every run, then the factors and the digests.

    Args:
        title: What the runs are of.
        entries: The runs.
        keys: Names of ``KEYS``.

    Returns:
        HTML; every text that comes from a run is escaped.
    """
    sheets = (groups_sheet(entries, keys), *_run_sheets(entries))
    title = printable(title)
    body = "".join(
        (
            '<header><p class="brand">greenai · energy and emissions of training runs</p>',
            page.heading(1, title),
            f'<p class="subtitle">{escape(quantities.many(len(entries), "run"))}</p></header>',
            *(page.section(Section(one.title, sheet=one)) for one in sheets),
        )
    )
    return page.page(f"{title} · greenai", body)


def groups_sheet(entries: Sequence[Entry], keys: Sequence[str]) -> Sheet:
    """Sums by key; a sum names how many runs it is not of, and its coverage lacks those."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(KEYS[key](entry) for key in keys), []).append(entry)
    whole = ("All", *[""] * (len(keys) - 1)), list(entries)
    listed = [*sorted(groups.items()), whole]
    energies = quantities.aligned([_sum(own, "energy_j") for _, own in listed], "J")
    rows = [
        (*(printable(name, limit=60) for name in names), *_figures(own, energy))
        for (names, own), energy in zip(listed, energies.texts, strict=True)
    ]
    return Sheet(
        title=f"By {' and '.join(keys)}",
        columns=(
            *(Column(key.capitalize(), numeric=False) for key in keys),
            Column("Runs"),
            Column("Failed"),
            Column("Unknown"),
            Column(f"Energy ({energies.unit})"),
            Column("Coverage"),
            Column("Measured"),
            Column("Wasted"),
            Column("CO₂e"),
        ),
        rows=tuple(rows),
        has_total=True,
        note="Failed: not stopped as asked, or not readable. Unknown: of no known energy; the sums "
        "are of the others. Wasted: energy of steps that were trained again. Coverage is by time, "
        "over the runs that can be read. CO₂e: operational, location-based.",
    )


def _figures(own: Sequence[Entry], energy: str) -> tuple[str, ...]:
    failed = sum(not entry.summary or entry.summary.get("ended") != "stopped" for entry in own)
    unknown = sum(_number(entry, "energy_j") is None for entry in own)
    measured = [_times(_number(entry, "energy_j"), _measured(entry)) for entry in own]
    covered = [_times(_number(entry, "duration_s"), _number(entry, "coverage")) for entry in own]
    return (
        quantities.count(len(own)),
        quantities.count(failed),
        quantities.count(unknown),
        energy,
        quantities.share(_over(_total(covered), _sum(own, "duration_s"))),
        quantities.share(_over(_total(measured), _sum(own, "energy_j"))),
        quantities.energy(_sum(own, "wasted_j")),
        quantities.mass(_sum(own, "operational_co2e_g")),
    )


def _run_sheets(entries: Sequence[Entry]) -> tuple[Sheet, Sheet]:
    runs = Sheet(
        title="Runs",
        columns=(
            Column("Run", numeric=False),
            Column("Started", numeric=False),
            Column("Ended", numeric=False),
            Column("Energy"),
            Column("Coverage"),
            Column("Emissions"),
        ),
        rows=tuple(
            (
                printable(entry.folder, limit=80),
                _said(entry, "started_utc")[:16].replace("T", " "),
                printable(entry.problem or _said(entry, "ended"), limit=300),
                quantities.energy(_number(entry, "energy_j")),
                quantities.share(_number(entry, "coverage")),
                quantities.mass(_number(entry, "operational_co2e_g")),
            )
            for entry in entries
        ),
    )
    factors = Sheet(
        title="Factors and files",
        columns=(
            Column("Run", numeric=False),
            Column("Intensity (g/kWh)"),
            Column("PUE"),
            Column("Source", numeric=False),
            Column("SHA-256 of the record", numeric=False),
        ),
        rows=tuple(
            (
                printable(entry.folder, limit=80),
                quantities.decimal(_number(entry, "intensity_g_per_kwh")),
                "not given"
                if _number(entry, "pue") is None
                else quantities.decimal(_number(entry, "pue")),
                ", ".join(
                    printable(_said(entry, name), limit=120)
                    for name in ("intensity_place", "intensity_year", "intensity_source")
                ),
                _grouped(entry.record_sha256) or UNKNOWN_KEY,
            )
            for entry in entries
        ),
        note=f"Worked out by greenai {greenai.__version__}.",
    )
    return runs, factors


def _grouped(digest: str) -> str:
    """A digest in groups of 16 digits, so that it may be broken over lines."""
    return " ".join(digest[start : start + 16] for start in range(0, len(digest), 16))


def _row(entry: Entry) -> dict[str, Any]:
    summary = entry.summary or {}
    impacts = summary.get("impacts") or {}
    own = {name: summary.get(name) for name in COLUMNS}
    return {
        **own,
        "folder": entry.folder,
        "month": KEYS["month"](entry),
        "problem": entry.problem or None,
        "measured_share": _measured(entry),
        "market_based_co2e_g": (impacts.get("market_based_g") or {}).get("mid"),
        "embodied_co2e_g": (impacts.get("embodied_g") or {}).get("mid"),
        "greenai_version": greenai.__version__,
        "record_sha256": entry.record_sha256 or None,
    }


def _said(entry: Entry, name: str) -> str:
    value = (entry.summary or {}).get(name)
    return UNKNOWN_KEY if value in {None, ""} else str(value)


def _number(entry: Entry, name: str) -> float | None:
    value = (entry.summary or {}).get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _measured(entry: Entry) -> float | None:
    share: float | None = ((entry.summary or {}).get("trust") or {}).get("measured")
    return share


def _sum(entries: Sequence[Entry], name: str) -> float | None:
    return _total([_number(entry, name) for entry in entries])


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _times(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _over(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
