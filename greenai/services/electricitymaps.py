"""Electricity Maps v3: hourly averages of consumption, life-cycle, by zone."""

from __future__ import annotations

import difflib
import math
import os
from typing import TYPE_CHECKING, Any

from greenai.analysis.spans import Row
from greenai.errors import GridError
from greenai.services.client import Refused, figure, iso, items, moment, utc_now
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.analysis.intensity import Basis, Signal
    from greenai.services.client import Client

URL = "https://api.electricitymaps.com/v3"
TOKEN = "ELECTRICITYMAPS_TOKEN"  # noqa: S105 - the name of a variable
HOUR_NS = 3600 * NS_PER_S
RECENT_NS = 23 * HOUR_NS
"""Span that the latest 24 hourly figures surely hold."""


class ElectricityMaps:
    """The service.

    Args:
        client: Its HTTP.
    """

    title = "Electricity Maps"
    source = "Electricity Maps API v3, consumption-based, life-cycle factors"
    basis: Basis = "lifecycle"
    signal: Signal = "average"
    days = 7

    def __init__(self, client: Client) -> None:
        self.problems: list[str] = []
        self._client = client
        self._url = client.base_url(URL)

    def history(self, zone: str, start_utc_ns: int, end_utc_ns: int) -> list[Row]:
        """Hours that touch the span."""
        start_ns = start_utc_ns // HOUR_NS * HOUR_NS
        if start_ns >= self._client.now_utc_ns - RECENT_NS:  # what every token opens
            body = self._get(zone, "history", None)
            return [self._row(one) for one in items(body, "history") if "datetime" in one]
        end_ns = -(-end_utc_ns // HOUR_NS) * HOUR_NS
        span = {"start": iso(utc_now(start_ns)), "end": iso(utc_now(end_ns))}
        body = self._get(zone, "past-range", end_ns, **span)
        return [self._row(one) for one in items(body, "data") if "datetime" in one]

    def forecast(self, zone: str, end_utc_ns: int) -> list[Row]:
        """Hours to come; those that the service knows."""
        del end_utc_ns
        found = items(self._get(zone, "forecast", None), "forecast")
        rows = [self._row(one) for one in found if "datetime" in one]
        return [row._replace(estimated=True) for row in rows]

    def _get(self, zone: str, what: str, about_ns: int | None, **span: str) -> Any:
        params = {"zone": zone, **span, "emissionFactorType": self.basis}
        try:
            return self._client.get(
                f"{self._url}/carbon-intensity/{what}",
                params,
                headers=_headers,
                about_utc_ns=about_ns,
            )
        except Refused as refused:
            raise self._refusal(zone, refused) from None

    def _row(self, one: dict[str, Any]) -> Row:
        start_ns = moment(one["datetime"]) // HOUR_NS * HOUR_NS
        value = figure(one.get("carbonIntensity"))
        counted = one.get("emissionFactorType", self.basis)
        if counted != self.basis:  # another basis is not this one's figure
            self.problems.append(f"{self.title} gave {str(counted)[:20]} figures, not used.")
            value = math.nan
        is_estimated = one.get("isEstimated") is True
        return Row(start_ns, start_ns + HOUR_NS, value, is_estimated, f"the hour {one['datetime']}")

    def _refusal(self, zone: str, refused: Refused) -> GridError:
        """Tell an unknown zone from a token that does not open it."""
        try:
            zones = self._client.get(f"{self._url}/zones")
        except Refused:
            zones = {}
        if isinstance(zones, dict) and zones and zone not in zones:
            near = difflib.get_close_matches(zone.upper(), zones, n=3, cutoff=0.3)
            return GridError(
                f"{self.title} has no zone {zone[:40]!r}.",
                "No intensity was fetched, and no other zone taken instead.",
                f"did you mean {' or '.join(near or list(zones)[:3])}?",
            )
        return GridError(
            f"{self.title} refused {zone[:40]!r}: {refused}.",
            "No intensity was fetched.",
            f"set {TOKEN} to a token that opens the past of this zone",
        )


def _headers() -> dict[str, str]:
    token = os.environ.get(TOKEN)
    if not token:
        raise GridError(
            "Electricity Maps needs a token.", "No intensity was fetched.", f"set {TOKEN}"
        )
    return {"auth-token": token}
