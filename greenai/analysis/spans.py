"""Rows of a figure over spans of UTC, checked and made edges with holes."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from greenai.errors import GridError
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from greenai.units import Floats, Ns


class Row(NamedTuple):
    """A figure over one span of UTC.

    Attributes:
        start_utc_ns: Start, in nanoseconds since 1970.
        end_utc_ns: End.
        figure: In the unit of its series; NaN is a hole.
        estimated: Whether the source calls it a forecast or an estimate.
        name: How the row is called in an error.
    """

    start_utc_ns: int
    end_utc_ns: int
    figure: float
    estimated: bool = False
    name: str = "a row"


def spans_of(
    rows: Iterable[Row], source: str, now_utc_ns: int | None = None, *, signed: bool = False
) -> tuple[Ns, Floats, npt.NDArray[np.bool_]]:
    """Edges, figures and flags of rows in any order; time between two rows is a hole.

    Args:
        rows: Spans of UTC with their figure.
        source: Where the rows come from, for errors.
        now_utc_ns: A row that is no estimate may not end after this moment; None lets all be.
        signed: Whether a figure may be negative, as prices are.

    Returns:
        Edges, shape (n + 1,); figures, NaN in holes, and whether they are estimates, shape (n,).

    Raises:
        GridError: There are no rows, or one is negative, overlaps another, ends before it starts
            or lies in the future.
    """
    ordered = sorted(rows, key=lambda row: row.start_utc_ns)
    if not ordered:
        raise GridError(
            f"{source}: there are no rows.",
            "Nothing can be worked out with it.",
            "give at least one row that covers the run",
        )
    edges_utc_ns, figures, estimated = [ordered[0].start_utc_ns], [], []
    before: Row | None = None
    for row in ordered:
        _check(row, before, source, now_utc_ns, signed=signed)
        if row.start_utc_ns > edges_utc_ns[-1]:
            edges_utc_ns.append(row.start_utc_ns)
            figures.append(math.nan)
            estimated.append(False)
        edges_utc_ns.append(row.end_utc_ns)
        figures.append(row.figure)
        estimated.append(row.estimated)
        before = row
    return (
        np.array(edges_utc_ns, dtype=np.int64),
        np.array(figures, dtype=np.float64),
        np.array(estimated, dtype=bool),
    )


def _check(
    row: Row, before: Row | None, source: str, now_utc_ns: int | None, *, signed: bool
) -> None:
    meaning = "What follows from it would be wrong; no row was used."
    if row.end_utc_ns <= row.start_utc_ns:
        raise GridError(
            f"{source}: {row.name} ends at {text_of(row.end_utc_ns)}, not after its start.",
            meaning,
            f"let it end after {text_of(row.start_utc_ns)}",
        )
    if math.isinf(row.figure) or (row.figure < 0 and not signed):
        raise GridError(
            f"{source}: {row.name} has a figure of {row.figure:g}.",
            meaning,
            "give 0 or more, or leave the field empty for a hole",
        )
    if before is not None and row.start_utc_ns < before.end_utc_ns:
        raise GridError(
            f"{source}: {row.name} starts at {text_of(row.start_utc_ns)}, inside {before.name}.",
            meaning,
            f"let it start at {text_of(before.end_utc_ns)}, or let {before.name} end at "
            f"{text_of(row.start_utc_ns)}",
        )
    if now_utc_ns is not None and not row.estimated and row.end_utc_ns > now_utc_ns:
        raise GridError(
            f"{source}: {row.name} ends at {text_of(row.end_utc_ns)}, in the future.",
            "Nobody has measured that yet; no row was used.",
            f"let the last row end at {text_of(now_utc_ns)} or before",
        )


def text_of(utc_ns: int) -> str:
    """A moment of UTC to the second, ISO 8601."""
    return date_of(utc_ns).strftime("%Y-%m-%dT%H:%M:%SZ")


def date_of(utc_ns: int) -> datetime:
    """A moment of UTC."""
    return datetime.fromtimestamp(utc_ns // NS_PER_S, tz=UTC)
