"""UK Carbon Intensity: half-hourly, direct emissions, of Great Britain or one of its regions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from greenai.analysis.spans import Row
from greenai.errors import GridError
from greenai.services.client import Refused, figure, items, moment, utc_now
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.analysis.intensity import Basis, Signal
    from greenai.services.client import Client

URL = "https://api.carbonintensity.org.uk"
HALF_HOUR_NS = 1800 * NS_PER_S
REGIONS = 17


class UkCarbon:
    """The service.

    Args:
        client: Its HTTP.
    """

    title = "UK Carbon Intensity"
    source = "UK Carbon Intensity API, direct emissions"
    basis: Basis = "direct"
    signal: Signal = "average"
    days = 7

    def __init__(self, client: Client) -> None:
        self.problems: list[str] = []
        self._client = client
        self._url = client.base_url(URL)

    def history(self, zone: str, start_utc_ns: int, end_utc_ns: int) -> list[Row]:
        """Half-hours that touch the span; the forecast where the actual figure is not there yet."""
        start_ns = start_utc_ns // HALF_HOUR_NS * HALF_HOUR_NS
        end_ns = -(-end_utc_ns // HALF_HOUR_NS) * HALF_HOUR_NS
        span = f"{_minute(start_ns)}/{_minute(end_ns)}"
        path = f"/intensity/{span}"
        if zone.upper() != "GB":
            path = f"/regional/intensity/{span}/regionid/{_region(zone)}"
        try:
            body = self._client.get(f"{self._url}{path}", about_utc_ns=end_ns)
        except Refused as refused:
            raise GridError(
                f"{self.title} refused {zone[:40]!r}: {refused}.",
                "No intensity was fetched.",
                f"give GB, or the number of a region from 1 to {REGIONS}",
            ) from None
        if zone.upper() != "GB" and isinstance(body, dict):
            region = body.get("data")
            body = region[0] if isinstance(region, list) and region else region
        return [row for one in items(body, "data") for row in _rows(one)]

    def forecast(self, zone: str, end_utc_ns: int) -> list[Row]:
        """Half-hours to come: the same question, whose actual figures are null."""
        rows = self.history(zone, self._client.now_utc_ns, end_utc_ns)
        return [row._replace(estimated=True) for row in rows]


def _rows(one: dict[str, Any]) -> list[Row]:
    if "from" not in one or "to" not in one:
        return []
    given = one.get("intensity")
    given = given if isinstance(given, dict) else {}
    actual, forecast = figure(given.get("actual")), figure(given.get("forecast"))
    is_forecast = math.isnan(actual)
    start_ns, end_ns = moment(one["from"]), moment(one["to"])
    name = f"the half-hour {one['from']}"
    return [Row(start_ns, end_ns, forecast if is_forecast else actual, is_forecast, name)]


def _region(zone: str) -> int:
    if zone.isdigit() and 1 <= int(zone) <= REGIONS:
        return int(zone)
    raise GridError(
        f"UK Carbon Intensity has no zone {zone[:40]!r}.",
        "No intensity was fetched, and no other zone taken instead.",
        f"did you mean GB? It may also be the number of a region, 1 to {REGIONS}",
    )


def _minute(utc_ns: int) -> str:
    return utc_now(utc_ns).strftime("%Y-%m-%dT%H:%MZ")
