"""Who may read an endpoint: its token, the names it is asked by, its certificate."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hmac
import ipaddress
import os
import re
import socket
from typing import TYPE_CHECKING

from greenai.errors import OrderError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

TOKEN_VARIABLE = "GREENAI_METRICS_TOKEN"  # noqa: S105 - the variable's name, not the token
TOKEN_CHARACTERS = (16, 512)
"""Fewest and most characters of a token; fewer can be tried out."""
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may read an endpoint.

    Attributes:
        token: What a client must send, as ``Authorization: Bearer``, or as the password of basic
            authentication under any user name; None asks for nothing. Shown by no ``repr``.
        insecure: Whether an address that other machines reach may go without a token.
        hosts: Names of this machine, besides its own host name, that it may be asked by.
        certfile: PEM file with the certificate and its chain; None serves plain HTTP.
        keyfile: PEM file with the private key; None looks for it in ``certfile``.
    """

    token: str | None = dataclasses.field(default=None, repr=False)
    insecure: bool = False
    hosts: tuple[str, ...] = ()
    certfile: str | None = None
    keyfile: str | None = None

    def check_address(self, address: str) -> None:
        """Refuse an address that others reach, unless they need a token or it is meant so.

        Raises:
            OrderError: It is neither.

        Example:
            >>> Access().check_address("127.0.0.1")
            >>> Access(insecure=True).check_address("0.0.0.0")
        """
        if self.token is None and not self.insecure and not is_loopback(address):
            raise OrderError(
                f"{address} can be reached from other machines, and no token is set.",
                "Whoever reaches it would read the figures; nothing is served.",
                f"set {TOKEN_VARIABLE}, or say insecure (GREENAI_METRICS_INSECURE=1)",
            )

    def allows(self, authorization: str) -> bool:
        """Whether an Authorization header carries the token, compared in constant time.

        Example:
            >>> access = Access(token="a-token-of-twenty-...")
            >>> access.allows("Bearer a-token-of-twenty-..."), access.allows("Bearer other")
            (True, False)
        """
        if self.token is None:
            return True
        scheme, _, secret = authorization.strip().partition(" ")
        given = secret.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given, self.token.encode())

    def knows(self, host: str) -> bool:
        """Whether a Host header names this machine.

        A page from elsewhere may let its own name point here (DNS rebinding), and the browser then
        hands it what we answer; but it says that name. An address is no name and cannot be made to
        point elsewhere.

        Example:
            >>> Access().knows("[::1]:9400"), Access().knows("rebound.example:9400")
            (True, False)
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower().rstrip(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            own = socket.gethostname().lower()
            return name in {"localhost", own, *(one.lower() for one in self.hosts)}
        return True

    def tls(self) -> ssl.SSLContext | None:
        """Read the certificate; None where plain HTTP is served.

        Raises:
            OrderError: It cannot be read, or the key does not fit.
        """
        if self.certfile is None:
            return None
        import ssl  # noqa: PLC0415 - takes megabytes, and few want it

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # An empty password, lest a key that needs one asks at a terminal.
            context.load_cert_chain(self.certfile, self.keyfile, password="")
        except (OSError, ValueError) as error:
            raise OrderError(
                f"The certificate {self.certfile} cannot be used: {error}.",
                "Nothing is served.",
                "give a PEM file with the certificate and one with its key, without a password",
            ) from None
        return context


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address.

    Example:
        >>> is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def token_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """Token of the environment: arguments are seen by everyone on the machine, and settings kept.

    Returns:
        The token; None where none is set.

    Raises:
        OrderError: It is too short or has characters that no header carries. The text does not
            repeat it.

    Example:
        >>> token_of({}) is None
        True
    """
    token = environment.get(TOKEN_VARIABLE) or None
    if token is None:
        return None
    shortest, longest = TOKEN_CHARACTERS
    fits = token.isascii() and token.isprintable() and " " not in token
    if not fits or not shortest <= len(token) <= longest:
        raise OrderError(
            f"{TOKEN_VARIABLE} has {len(token)} characters, or some that no header carries.",
            "It could be guessed or not be sent; nothing is served.",
            f"use {shortest} to {longest} of ASCII without spaces: openssl rand -hex 32",
        )
    return token
