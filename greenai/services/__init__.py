"""Live services that know what a grid does: asked when a run is looked at, never in training."""

from __future__ import annotations

import difflib
import math
import time
from typing import TYPE_CHECKING

from greenai.analysis.intensity import series_of
from greenai.analysis.spans import Row
from greenai.errors import GridError
from greenai.services.client import Client, ServiceFailure, iso, utc_now
from greenai.services.electricitymaps import ElectricityMaps
from greenai.services.ukcarbon import UkCarbon
from greenai.services.watttime import WattTime
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from greenai.analysis.intensity import IntensitySeries
    from greenai.services.client import Service

SERVICES: dict[str, Callable[[Client], Service]] = {
    "electricitymaps": ElectricityMaps,
    "watttime": WattTime,
    "ukcarbon": UkCarbon,
}
DAY_NS = 86_400 * NS_PER_S


def fetch(
    name: str,
    zone: str,
    start_utc_ns: int,
    end_utc_ns: int,
    *,
    cache: Path | None = None,
    wait: Callable[[float], None] = time.sleep,
    now_utc_ns: int | None = None,
) -> IntensitySeries:
    """Ask a service for the intensity of a zone over a span of UTC.

    What lies after now is read from its forecast. A service that fails after all tries leaves a
    hole for the part that it was asked for, and the reason in ``problems``.

    Args:
        name: ``electricitymaps``, ``watttime`` or ``ukcarbon``.
        zone: Zone as the service names it, such as ``FR``, ``CAISO_NORTH`` or ``GB``.
        start_utc_ns: Start of the span, in nanoseconds since 1970.
        end_utc_ns: End of it.
        cache: Folder of answers; greenai's own where None.
        wait: Sleeps between tries.
        now_utc_ns: The present.

    Returns:
        The series; holes are NaN.

    Raises:
        GridError: The service or the zone is unknown, or the token is missing or refused.
    """
    if name not in SERVICES:
        near = difflib.get_close_matches(name.casefold(), SERVICES, n=1, cutoff=0.0)
        raise GridError(
            f"Unknown service {name[:40]!r}.",
            "No intensity was fetched.",
            f"did you mean {near[0]}? There are {', '.join(SERVICES)}",
        )
    now = time.time_ns() if now_utc_ns is None else now_utc_ns
    with Client(name, cache=cache, wait=wait, now_utc_ns=now) as client:
        service = SERVICES[name](client)
        rows: dict[int, Row] = {}
        problems: list[str] = []
        for first_ns, last_ns, is_future in _chunks(start_utc_ns, end_utc_ns, now, service.days):
            try:
                found = (
                    service.forecast(zone, last_ns)
                    if is_future
                    else service.history(zone, first_ns, last_ns)
                )
            except ServiceFailure as failure:
                problems.append(f"{service.title} gave nothing for a part of the run: {failure}.")
                continue
            for row in found:
                known = rows.get(row.start_utc_ns)
                if known is None or math.isnan(known.figure):
                    rows[row.start_utc_ns] = row
        kept = [row for row in rows.values() if row.end_utc_ns > start_utc_ns]
        kept = [row for row in kept if row.start_utc_ns < end_utc_ns]
        if not kept:
            kept = [Row(start_utc_ns, max(end_utc_ns, start_utc_ns + 1), math.nan)]
            problems = problems or [f"{service.title} has no figures for the time of the run."]
        return series_of(
            kept,
            basis=service.basis,
            signal=service.signal,
            source=service.source,
            place=zone,
            fetched_utc=client.oldest_utc or iso(utc_now(now)),
            problems=tuple(dict.fromkeys(problems + service.problems)),
        )


def _chunks(start_ns: int, end_ns: int, now_ns: int, days: int) -> list[tuple[int, int, bool]]:
    """Spans that the service answers at once; the last one is the future's, if any."""
    past_ns = min(end_ns, now_ns)
    found = []
    first_ns = start_ns
    while first_ns < past_ns:
        last_ns = min(first_ns + days * DAY_NS, past_ns)
        found.append((first_ns, last_ns, False))
        first_ns = last_ns
    if end_ns > now_ns:
        found.append((max(start_ns, now_ns), end_ns, True))
    return found
