"""WattTime v3: marginal operating emissions every five minutes, converted from lb/MWh."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from greenai.analysis.spans import Row
from greenai.errors import GridError
from greenai.services.client import Refused, ServiceFailure, figure, iso, items, moment, utc_now
from greenai.units import G_PER_KWH_PER_LB_PER_MWH, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.intensity import Basis, Signal
    from greenai.services.client import Client

URL = "https://api.watttime.org"
USER, PASSWORD = "WATTTIME_USER", "WATTTIME_PASSWORD"
SIGNAL_TYPE = "co2_moer"
UNITS = "lbs_co2_per_mwh"
PERIOD_S = 300
HOURS_MAX = 72
UNAUTHORIZED = 401


class WattTime:
    """The service.

    Args:
        client: Its HTTP.
    """

    title = "WattTime"
    source = "WattTime API v3, co2_moer, lb/MWh converted to g/kWh"
    basis: Basis = "direct"
    signal: Signal = "marginal"
    days = 30

    def __init__(self, client: Client) -> None:
        self.problems: list[str] = []
        self._client = client
        self._url = client.base_url(URL)
        self._token = ""

    def history(self, zone: str, start_utc_ns: int, end_utc_ns: int) -> list[Row]:
        """Points that touch the span."""
        period_ns = PERIOD_S * NS_PER_S
        start_ns = start_utc_ns // period_ns * period_ns
        params = {"start": iso(utc_now(start_ns)), "end": iso(utc_now(end_utc_ns))}
        return self._rows(zone, "historical", params, end_utc_ns, estimated=False)

    def forecast(self, zone: str, end_utc_ns: int) -> list[Row]:
        """Points to come; at most three days."""
        hours = math.ceil((end_utc_ns - self._client.now_utc_ns) / NS_PER_S / 3600)
        params = {"horizon_hours": str(min(max(hours, 1), HOURS_MAX))}
        return self._rows(zone, "forecast", params, None, estimated=True)

    def _rows(
        self,
        zone: str,
        what: str,
        params: dict[str, str],
        about_ns: int | None,
        *,
        estimated: bool,
    ) -> list[Row]:
        body = self._get(what, {"region": zone, "signal_type": SIGNAL_TYPE, **params}, about_ns)
        meta = body.get("meta") if isinstance(body, dict) else None
        meta = meta if isinstance(meta, dict) else {}
        if meta.get("units") != UNITS:
            raise ServiceFailure(f"figures in {str(meta.get('units'))[:40]!r} and not {UNITS}")
        period_s = figure(meta.get("data_point_period_seconds"))
        period_ns = int(period_s if period_s > 0 else PERIOD_S) * NS_PER_S
        rows = []
        for one in items(body, "data"):
            if "point_time" in one:
                start_ns = moment(one["point_time"])
                value = figure(one.get("value")) * G_PER_KWH_PER_LB_PER_MWH
                name = f"the point {one['point_time']}"
                rows.append(Row(start_ns, start_ns + period_ns, value, estimated, name))
        return rows

    def _get(self, what: str, params: Mapping[str, str], about_ns: int | None) -> Any:
        url = f"{self._url}/v3/{what}"
        try:
            try:
                return self._client.get(url, params, headers=self._headers, about_utc_ns=about_ns)
            except Refused as refused:
                if refused.status != UNAUTHORIZED or not self._token:
                    raise
                self._token = ""  # it lasts half an hour: log in once more
                return self._client.get(url, params, headers=self._headers, about_utc_ns=about_ns)
        except Refused as refused:
            raise GridError(
                f"{self.title} refused {params['region'][:40]!r}: {refused}.",
                "No intensity was fetched.",
                f"check {USER} and {PASSWORD}, and that the account opens this region; the free "
                "one opens CAISO_NORTH",
            ) from None

    def _headers(self) -> dict[str, str]:
        if not self._token:
            user, password = os.environ.get(USER), os.environ.get(PASSWORD)
            if not user or not password:
                raise GridError(
                    "WattTime needs a login.",
                    "No intensity was fetched.",
                    f"set {USER}, {PASSWORD}",
                )
            body = self._client.ask(f"{self._url}/login", login=(user, password))
            token = body.get("token") if isinstance(body, dict) else None
            if not isinstance(token, str):
                raise ServiceFailure("a login that gave no token")
            self._token = token
        return {"Authorization": f"Bearer {self._token}"}
