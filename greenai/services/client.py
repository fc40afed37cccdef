"""HTTP to a service of intensities: time limits, tries with back-off, a cache with dates."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from greenai.errors import GridError
from greenai.sensors.models import cache_folder
from greenai.timed_csv import utc_ns_of
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from greenai.analysis.intensity import Basis, Signal
    from greenai.analysis.spans import Row

TRIES = 4
TIMEOUT_S = 10.0
"""Of each operation on the network, and of a whole answer."""
BACK_OFF_S = 0.5
"""Before the second try; doubled before each further one, with a dither of half."""
RETRY_AFTER_MAX_S = 30.0
"""A service that asks for more patience is not waited for."""
SIZE_MAX = 50_000_000
"""Bytes; an answer that is larger is none."""
FRESH_S = 900.0
"""Answers about the recent past are asked for again after this time: services correct them."""
SETTLED_S = 7 * 86_400.0
"""What is older than this is not corrected any more; such answers stay in the cache."""

TOO_MANY = 429
SERVER_ERROR = 500
OK = 200
INSTALL = 'pip install "greenai[live]"'


class ServiceFailure(Exception):  # noqa: N818 - no error of the user's: it leaves a hole
    """A service gave no answer; the text says why."""


class Refused(Exception):  # noqa: N818 - turned into a GridError by the service, which knows why
    """A service refused a request for good."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.said = said
        super().__init__(f"{status} {said}")


class Service(Protocol):
    """What every service is to us."""

    title: str
    source: str
    basis: Basis
    signal: Signal
    days: int
    problems: list[str]

    def history(self, zone: str, start_utc_ns: int, end_utc_ns: int) -> Iterable[Row]:
        """Rows of the past."""

    def forecast(self, zone: str, end_utc_ns: int) -> Iterable[Row]:
        """Rows of the future, estimated."""


class Client:
    """One service's HTTP.

    Args:
        name: Of the service; ``GREENAI_<NAME>_URL`` overrides its base URL.
        cache: Folder of answers.
        wait: Sleeps between tries.
        now_utc_ns: The present.
    """

    def __init__(
        self, name: str, *, cache: Path | None, wait: Callable[[float], None], now_utc_ns: int
    ) -> None:
        try:
            import httpx  # noqa: PLC0415 - an extra, and only at the desk
        except ImportError:
            raise GridError(
                "httpx is not installed, which live services need.",
                "No intensity was fetched.",
                INSTALL,
            ) from None
        self.name = name
        self.now_utc_ns = now_utc_ns
        self.oldest_utc: str | None = None
        self._httpx = httpx
        self._wait = wait
        self._cache = (cache or cache_folder()) / "intensity"
        self._http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def base_url(self, usual: str) -> str:
        """Where the service is."""
        return (os.environ.get(f"GREENAI_{self.name.upper()}_URL") or usual).rstrip("/")

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Callable[[], Mapping[str, str]] | None = None,
        about_utc_ns: int | None = None,
    ) -> Any:
        """Ask once more until there is an answer in JSON, or take the one in the cache.

        Args:
            url: Without secrets: it names the answer in the cache.
            params: The query.
            headers: Makes the headers, tokens among them; called only if the network is asked.
            about_utc_ns: End of what the answer is about; None is the present.

        Returns:
            The body.

        Raises:
            ServiceFailure: All tries failed.
            Refused: The service refused the request itself.
        """
        key = json.dumps([url, sorted((params or {}).items())])
        path = self._cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
        known = self._recall(path)
        if known is None:
            body = self.ask(url, params, headers=headers() if headers else {})
            fetched_utc = iso(utc_now(self.now_utc_ns))
            age_s = math.inf if about_utc_ns is None else self.now_utc_ns - about_utc_ns
            settled = about_utc_ns is not None and age_s > SETTLED_S * NS_PER_S
            known = {"fetched_utc": fetched_utc, "settled": settled, "body": body}
            self._remember(path, known)
        fetched = str(known["fetched_utc"])
        self.oldest_utc = min(fetched, self.oldest_utc or fetched)
        return known["body"]

    def ask(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> Any:
        """Ask the network; the answer is not kept."""
        reason = ""
        for attempt in range(TRIES):
            try:
                status, retry_after_s, text = self._once(url, params, headers, login)
            except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
                reason, retry_after_s = type(error).__name__, 0.0
            else:
                plain = _json(text)
                if status == OK and plain is not None:
                    return plain
                reason = f"status {status}" if status != OK else "an answer that is no JSON"
                if OK < status < SERVER_ERROR and status != TOO_MANY:
                    raise Refused(status, _said(plain))
            if retry_after_s > RETRY_AFTER_MAX_S:
                raise ServiceFailure(f"{reason}, to be asked again in {retry_after_s:.0f} s")
            if attempt + 1 < TRIES:
                dither = random.uniform(0.5, 1.0)  # noqa: S311 - guards nothing
                self._wait(max(retry_after_s, BACK_OFF_S * 2**attempt * dither))
        raise ServiceFailure(f"{reason}, {TRIES} times")

    def _once(
        self,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        login: tuple[str, str] | None,
    ) -> tuple[int, float, str]:
        give_up = time.monotonic() + TIMEOUT_S
        body = bytearray()
        options: dict[str, Any] = {"auth": login} if login else {}
        with self._http.stream("GET", url, params=params, headers=headers, **options) as answer:
            for piece in answer.iter_bytes():
                body += piece
                if time.monotonic() > give_up or len(body) > SIZE_MAX:
                    raise self._httpx.ReadTimeout("the answer takes too long or is too large")
            asked_for = answer.headers.get("retry-after", "")
            retry_after_s = float(asked_for) if asked_for.isdigit() else 0.0
            return answer.status_code, retry_after_s, body.decode(errors="replace")

    def _recall(self, path: Path) -> dict[str, Any] | None:
        """An answer that is still good; None where there is none."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            fetched = datetime.fromisoformat(known["fetched_utc"])
            age_s = (utc_now(self.now_utc_ns) - fetched).total_seconds()
            good = known["settled"] is True or 0 <= age_s < FRESH_S
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if good and "body" in known else None

    def _remember(self, path: Path, known: dict[str, Any]) -> None:
        """Keep an answer; a folder that cannot be written keeps nothing."""
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False
            ) as file:
                json.dump(known, file)
            Path(file.name).replace(path)


def utc_now(now_utc_ns: int) -> datetime:
    """The present as a date."""
    return datetime.fromtimestamp(now_utc_ns / NS_PER_S, tz=UTC)


def iso(moment: datetime) -> str:
    """A moment of UTC to the second, ISO 8601.

    Example:
        >>> iso(datetime(2026, 11, 25, 13, tzinfo=UTC))
        '2026-11-25T13:00:00Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def figure(value: Any) -> float:
    """A figure of a service; NaN where it is null or cannot be one.

    Example:
        >>> figure(58.77), figure(None), figure("12"), figure(True), figure(-1)
        (58.77, nan, nan, nan, nan)
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < math.inf else math.nan


def items(body: Any, key: str) -> list[dict[str, Any]]:
    """The objects of a list in a body.

    Raises:
        ServiceFailure: There is no such list.
    """
    found = body.get(key) if isinstance(body, dict) else None
    if not isinstance(found, list):
        raise ServiceFailure(f"an answer without {key!r}")
    return [one for one in found if isinstance(one, dict)]


def moment(value: Any) -> int:
    """A time of a service, in nanoseconds since 1970.

    Raises:
        ServiceFailure: It is none.
    """
    try:
        return utc_ns_of(str(value))
    except (ValueError, OverflowError):
        raise ServiceFailure(f"a time {str(value)[:40]!r} that is none") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _said(plain: Any) -> str:
    """What a service says of an error, where it says it in JSON; never a page of HTML."""
    for key in ("message", "error"):
        said = plain.get(key) if isinstance(plain, dict) else None
        if isinstance(said, dict):
            said = said.get("message")
        if isinstance(said, str):
            return said[:200]
    return ""
