"""Where live figures go besides the record: settings of every way out, checked before a start."""

from __future__ import annotations

import dataclasses
import math
import os
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERVAL_S = (1.0, 3600.0)
"""Shortest and longest time between two deliveries."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Ways out of the sampler process; each may also come from ``GREENAI_METRICS_<NAME>``.

    Secrets are none of them: they come from the environment when they are used, and are kept
    nowhere. In paths ``{host}``, ``{run_id}`` and ``{rank}`` are filled in.

    Attributes:
        strict_port: Whether a port that is taken is an error; else the next free one is used.
        insecure: Whether an address that others reach may be served without a token.
        hosts: Names of this machine, besides its own, that the endpoint may be asked by.
        certfile: PEM file with the certificate that makes the endpoint HTTPS.
        keyfile: PEM file with its key, where it is not in ``certfile``.
        file_sd: Where to write the endpoint's port for Prometheus's file discovery (``.json``).
        textfile: Where to write figures for node_exporter's textfile collector (``.prom``).
        pushgateway: URL of a Pushgateway, for the final totals.
        remote_write: URL that takes remote-write, for jobs that cannot be scraped.
        otlp: URL that takes OTLP metrics over HTTP.
        interval_s: Seconds between two deliveries to those that are sent to.
    """

    strict_port: bool = False
    insecure: bool = False
    hosts: tuple[str, ...] = ()
    certfile: str | None = None
    keyfile: str | None = None
    file_sd: str | None = None
    textfile: str | None = None
    pushgateway: str | None = None
    remote_write: str | None = None
    otlp: str | None = None
    interval_s: float = 15.0

    @property
    def scheme(self) -> str:
        """Scheme of the endpoint's URL."""
        return "http" if self.certfile is None else "https"

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the sampler process; never for a record."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Outlets:
        """Take what ``to_json`` gave.

        Example:
            >>> Outlets.from_json(Outlets(hosts=("a",)).to_json()) == Outlets(hosts=("a",))
            True
        """
        return cls(**{**plain, "hosts": tuple(plain.get("hosts", ()))})


def outlets(
    given: object = None,
    environment: Mapping[str, str] = os.environ,
    from_file: object = None,
) -> Outlets:
    """Settle every way out: argument before environment before file before default.

    Args:
        given: Fields of Outlets by name, as the user passed them.
        environment: Variables ``GREENAI_METRICS_<NAME>``.
        from_file: Table ``metrics`` of the settings file.

    Returns:
        What is to be served, written and sent.

    Raises:
        OrderError: A name is unknown or a value is of no use.

    Example:
        >>> outlets({"interval_s": 5}, {"GREENAI_METRICS_STRICT_PORT": "1"}).strict_port
        True
    """
    names = [field.name for field in dataclasses.fields(Outlets)]
    values: dict[str, Any] = {}
    for source in (
        _table(from_file, names),
        {
            name: text
            for name in names
            if (text := environment.get(f"GREENAI_METRICS_{name.upper()}"))
        },
        _table(given, names),
    ):
        values.update(
            (name, _CHECKS[name](value, f"metrics {name}"))
            for name, value in source.items()
            if value is not None
        )
    return Outlets(**values)


def are_wanted(config: Mapping[str, Any]) -> bool:
    """Whether a sampler carries anything out: on each host the one of local rank 0 does.

    Example:
        >>> are_wanted({"metrics_port": 0, "manifest": {"local_rank": 1}})
        False
    """
    told = config.get("metrics") or {}
    sends = any(told.get(name) for name in ("textfile", "pushgateway", "remote_write", "otlp"))
    wanted = config["metrics_port"] is not None or sends
    return bool(wanted and config["manifest"]["local_rank"] == 0)


def _table(raw: object, names: list[str]) -> Mapping[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise OrderError(f"metrics is {raw!r}.", hint=f"give a dict of {', '.join(names)}")
    if unknown := sorted(set(raw) - set(names), key=str):
        raise OrderError(f"metrics has no {unknown[0]!r}.", hint=f"use {', '.join(names)}")
    return raw


def _flag(raw: Any, name: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if (word := str(raw).lower()) not in known:
        raise OrderError(f"{name} is {raw!r}.", hint="give true or false")
    return known[word]


def _path(raw: Any, name: str, suffix: str = "") -> str:
    if not isinstance(raw, str | os.PathLike) or "\0" in str(raw) or not str(raw):
        raise OrderError(f"{name} is {raw!r}.", hint="give the path of a file")
    if not str(raw).endswith(suffix):
        raise OrderError(
            f"{name} is {str(raw)!r}, which does not end in {suffix}.",
            "Its reader takes no other files.",
            f"give a path that ends in {suffix}",
        )
    return str(Path(raw).expanduser().absolute())


def _words(raw: Any, name: str) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise OrderError(f"{name} is {raw!r}.", hint="give a list of names")
    return tuple(part.strip() for part in parts if part.strip())


def _url(raw: Any, name: str) -> str:
    try:
        parts = urllib.parse.urlsplit(str(raw))
        secret = parts.username is not None or parts.password is not None
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        secret, usable = False, False
    if secret:
        raise OrderError(
            f"{name} has a user or a password in its URL.",
            "It would stand in arguments and logs.",
            f"leave it out and set {authorization_variable(name.rpartition(' ')[2])}",
        )
    if not usable or not str(raw).isprintable() or " " in str(raw):
        raise OrderError(f"{name} is {str(raw)[:80]!r}.", hint="give a URL: http://host:port/path")
    return str(raw)


def authorization_variable(outlet: str) -> str:
    """Name of the variable with a receiver's Authorization header.

    Example:
        >>> authorization_variable("remote_write")
        'GREENAI_REMOTE_WRITE_AUTHORIZATION'
    """
    return f"GREENAI_{outlet.upper()}_AUTHORIZATION"


def _interval(raw: Any, name: str) -> float:
    try:
        value = math.nan if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        value = math.nan
    shortest, longest = INTERVAL_S
    if not shortest <= value <= longest:
        raise OrderError(f"{name} is {raw!r}.", hint=f"give {shortest:g} to {longest:g} seconds")
    return value


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "strict_port": _flag,
    "insecure": _flag,
    "hosts": _words,
    "certfile": _path,
    "keyfile": _path,
    "file_sd": lambda raw, name: _path(raw, name, ".json"),
    "textfile": lambda raw, name: _path(raw, name, ".prom"),
    "pushgateway": _url,
    "remote_write": _url,
    "otlp": _url,
    "interval_s": _interval,
}
