"""A local server that speaks as the live services of intensities do, with their faults."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = "<html><head><title>502 Bad Gateway</title></head><body>secret-page</body></html>"
TOKEN = "em-secret-token"  # noqa: S105 - of the stand-in
USER, PASSWORD = "wt-user", "wt-secret-password"


@dataclasses.dataclass
class Fault:
    """An answer given in place of the right one.

    Args:
        status: Of HTTP.
        body: As it is sent.
        retry_after: Header in seconds; none where empty.
    """

    status: int
    body: str = PAGE
    retry_after: str = ""


class GridServices:
    """The server: serves figures that are a function of time, and faults that are queued.

    Args:
        g_at: gCO2e/kWh (lb/MWh for WattTime) of the hour at a time; None is null.
    """

    def __init__(self, g_at: Callable[[datetime], float | None]) -> None:
        self.g_at = g_at
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.left_out: set[datetime] = set()
        self.logins = 0
        self.valid_tokens: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(request.path)
        if self.faults:
            fault = self.faults.pop(0)
            self._send(request, fault.status, fault.body, fault.retry_after)
            return
        if parts.path.startswith("/em/"):
            status, plain = self._electricitymaps(parts.path[4:], query, request.headers)
        elif parts.path.startswith("/wt/"):
            status, plain = self._watttime(parts.path[4:], query, request.headers)
        else:
            status, plain = self._ukcarbon(parts.path.removeprefix("/uk/"))
        self._send(request, status, json.dumps(plain))

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: str, retry_after: str = ""
    ) -> None:
        data = body.encode()
        request.send_response(status)
        if retry_after:
            request.send_header("Retry-After", retry_after)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _slots(self, start: datetime, end: datetime, minutes: int) -> list[datetime]:
        found, at = [], start
        while at < end:
            if at not in self.left_out:
                found.append(at)
            at += timedelta(minutes=minutes)
        return found

    def _electricitymaps(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        if path == "zones":
            return 200, {"FR": {"zoneName": "France"}, "DE": {"zoneName": "Germany"}}
        if headers.get("auth-token") != TOKEN:
            return 401, {"message": "Invalid auth-token"}
        if query["zone"] not in {"FR", "DE"}:
            return 404, {"error": f"Zone {query['zone']} does not exist"}
        is_past = path.endswith("past-range")
        start = _date(query["start"]) if is_past else self.now
        end = _date(query["end"]) if is_past else self.now + timedelta(hours=24)
        is_recent = path.endswith("history")
        if is_recent:
            start, end = self.now - timedelta(hours=24), self.now
        rows = [
            {"carbonIntensity": self.g_at(at), "datetime": at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
            for at in self._slots(start, end, 60)
        ]
        if not is_past and not is_recent:
            return 200, {"zone": query["zone"], "forecast": rows, "updatedAt": "2026-11-25T12:00Z"}
        for row in rows:
            row |= {
                "updatedAt": row["datetime"],
                "emissionFactorType": query["emissionFactorType"],
                "isEstimated": False,
                "estimationMethod": None,
            }
        return 200, {"zone": query["zone"], "history" if is_recent else "data": rows}

    def _watttime(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        if path == "login":
            basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if headers.get("Authorization") != f"Basic {basic}":
                return 401, {"error": "wrong login"}
            self.logins += 1
            token = f"jwt-{self.logins}"
            self.valid_tokens = {token}
            return 200, {"token": token}
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self.valid_tokens:
            return 401, {"error": "expired"}
        if query["region"] != "CAISO_NORTH":
            return 403, {"error": "no access"}
        is_past = path.endswith("historical")
        start = _date(query["start"]) if is_past else self.now
        hours = int(query.get("horizon_hours", "24"))
        end = _date(query["end"]) if is_past else self.now + timedelta(hours=hours)
        rows = [
            {"point_time": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "value": self.g_at(at)}
            for at in self._slots(start, end, 5)
        ]
        meta = {
            "data_point_period_seconds": 300,
            "region": query["region"],
            "signal_type": "co2_moer",
            "units": "lbs_co2_per_mwh",
            "warnings": [],
        }
        return 200, {"data": rows, "meta": meta}

    def _ukcarbon(self, path: str) -> tuple[int, Any]:
        words = path.split("/")
        is_region = words[0] == "regional"
        if is_region:
            words = words[1:]
        start, end = _date(words[1]), _date(words[2])
        rows = []
        for at in self._slots(start, end, 30):
            figures: dict[str, Any] = {"forecast": self.g_at(at), "index": "moderate"}
            if not is_region:
                figures["actual"] = self.g_at(at) if at < self.now else None
            until = at + timedelta(minutes=30)
            rows.append(
                {"from": f"{at:%Y-%m-%dT%H:%MZ}", "to": f"{until:%Y-%m-%dT%H:%MZ}"}
                | {"intensity": figures}
            )
        if is_region:
            return 200, {"data": {"regionid": int(words[4]), "shortname": "x", "data": rows}}
        return 200, {"data": rows}


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text)
