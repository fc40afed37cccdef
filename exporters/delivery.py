"""Sends bytes to a receiver over HTTP and says what became of them: taken, later, or never."""

from __future__ import annotations

import dataclasses
import http.client
import math
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 5.0
"""Longest wait for a receiver's next byte."""
WAIT_MAX_S = 300.0
"""A receiver that asks for more patience than this gets no more."""


class UndeliveredError(Exception):
    """A receiver that did not take what it was sent.

    Attributes:
        reason: Why, without the receiver's address or any secret.
        again: Whether the same bytes may be sent later.
        wait_s: Seconds that the receiver asked to wait; 0 where it did not say.
    """

    def __init__(self, reason: str, *, again: bool, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.wait_s = wait_s


@dataclasses.dataclass(frozen=True, slots=True)
class Receiver:
    """Where something is sent.

    Attributes:
        name: What people call it: ``Pushgateway``, ``remote-write``.
        url: Its URL.
        authorization: The Authorization header, from the environment; None sends none. Shown by
            no ``repr``.
    """

    name: str
    url: str
    authorization: str | None = dataclasses.field(default=None, repr=False)

    def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send once; follow no redirect, which would carry the secret elsewhere.

        Args:
            method: ``POST`` or ``PUT``.
            url: The receiver's, or one below it.
            body: What is sent.
            headers: Further headers.

        Raises:
            UndeliveredError: It was not taken; ``again`` where it may be later: the receiver is
                not there, is too busy (429) or fails (5xx).
        """
        every = dict(headers)
        if self.authorization is not None:
            every["Authorization"] = self.authorization
        request = urllib.request.Request(url, body, every, method=method)  # noqa: S310 - checked to be HTTP with the settings
        try:
            with _opener().open(request, timeout=TIMEOUT_S) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            text = getattr(reason, "strerror", None) or reason
            raise UndeliveredError(f"{self.name} is not reached: {text}", again=True) from None

    def _refused(self, error: urllib.error.HTTPError) -> NoReturn:
        said = error.read(300).decode("utf-8", "replace")
        text = "".join(one if one.isprintable() else " " for one in said).strip()
        again = error.code == HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500  # noqa: PLR2004 - the class of failures
        raise UndeliveredError(
            f"{self.name} answers {error.code}: {text or error.reason}",
            again=again,
            wait_s=_seconds(error.headers.get("Retry-After")),
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect as the refusal it then is."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Make no further request."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


def _seconds(text: str | None) -> float:
    """Seconds of a Retry-After header; 0 where it is a date or nonsense.

    Example:
        >>> _seconds("30"), _seconds("Wed, 21 Oct 2026 07:28:00 GMT"), _seconds("nan")
        (30.0, 0.0, 0.0)
    """
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return min(value, WAIT_MAX_S) if math.isfinite(value) and value > 0 else 0.0
