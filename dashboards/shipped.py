"""The files that come with greenai for Grafana and Prometheus, and how they get to a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

RECEIPT = ".greenai-dashboards.sha256"
"""In the folder: digests of what was installed, as ``sha256sum --check`` reads them. A file that
still has its digest is ours and may be replaced by a newer one. Grafana reads no such name."""


class Shipped(NamedTuple):
    """One file.

    Attributes:
        path: Below the folder of the dashboards, and below the folder it is installed to.
        what: For people.
    """

    path: str
    what: str


DASHBOARDS = {
    "run": Shipped("grafana/greenai-run.json", "one run: power, energy, forecast, trust"),
    "compare": Shipped(
        "grafana/greenai-compare.json", "variants side by side, ratio to a baseline"
    ),
    "fleet": Shipped("grafana/greenai-fleet.json", "all runs: kWh, kg, money, waste"),
}
"""Dashboards by name."""
SERVERS = {
    "rules": Shipped("prometheus/rules/greenai.yaml", "recording and alert rules for Prometheus"),
    "prometheus": Shipped("prometheus/prometheus.yaml", "where Prometheus looks for runs"),
    "datasource": Shipped(
        "grafana/provisioning/datasources/greenai.yaml", "tells Grafana of Prometheus"
    ),
    "provider": Shipped(
        "grafana/provisioning/dashboards/greenai.yaml", "tells Grafana of the dashboards"
    ),
    "compose": Shipped("compose.yaml", "Prometheus and Grafana with all of the above, for Docker"),
}
"""Files for the servers, by name."""
FILES: Mapping[str, Shipped] = {**DASHBOARDS, **SERVERS}
"""Every file by name."""


def text_of(name: str) -> str:
    """Text of one file.

    Raises:
        OrderError: There is no file of that name.

    Example:
        >>> '"uid": "greenai-run"' in text_of("run")
        True
    """
    if name not in FILES:
        raise OrderError(f"There is no {name!r} to show.", hint=f"use {', '.join(FILES)}")
    found = resources.files("greenai.dashboards").joinpath(*FILES[name].path.split("/"))
    return found.read_text(encoding="utf-8")


def install(folder: Path, names: Iterable[str], *, force: bool = False) -> list[Path]:
    """Write files into a folder, all or none.

    Dashboards go into the folder itself, which may be one that Grafana is provisioned from; with
    files for the servers among them, each goes where ``compose.yaml`` looks for it.

    Args:
        folder: Made where it is missing.
        names: Keys of ``FILES``.
        force: Whether files that someone else changed are replaced.

    Returns:
        The files written; those that were there already are left alone.

    Raises:
        OrderError: A name is unknown, a file was changed, or the folder cannot be written.

    Example:
        >>> from pathlib import Path
        >>> [path.name for path in install(Path("grafana"), ["run"])]
        ['greenai-run.json']
        >>> install(Path("grafana"), ["run"])
        []
    """
    names = list(dict.fromkeys(names))
    flat = not set(names) & set(SERVERS)
    texts = {_place(name, flat=flat): text_of(name) for name in names}
    try:
        receipt = _read_receipt(folder)
        changed = [
            place
            for place, text in texts.items()
            if _digest_of(folder / place) not in {None, _digest(text), receipt.get(place)}
        ]
        if changed and not force:
            raise OrderError(
                f"{folder / changed[0]} was changed since it was installed"
                f"{f', and {len(changed) - 1} more' if len(changed) > 1 else ''}.",
                "Nothing was written.",
                "give another --dir, or --force to lose the changes",
            )
        stale = [
            place for place, text in texts.items() if _digest_of(folder / place) != _digest(text)
        ]
        for place in stale:
            _write(folder / place, texts[place])
        told = {**receipt, **{place: _digest(text) for place, text in texts.items()}}
        if told != receipt:
            lines = [f"{digest}  {place}\n" for place, digest in sorted(told.items())]
            _write(folder / RECEIPT, "".join(lines))
    except (OSError, UnicodeError) as error:
        raise OrderError(
            f"{folder} cannot be written: {error}.",
            "Some of the files may be missing there.",
            "give a --dir that can be written",
        ) from error
    return [folder / place for place in stale]


def _place(name: str, *, flat: bool) -> str:
    path = FILES[name].path
    return path.rpartition("/")[2] if flat else path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of(path: Path) -> str | None:
    """Digest of a file; None where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _read_receipt(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / RECEIPT).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {place: digest for digest, _, place in (line.partition("  ") for line in lines)}


def _write(path: Path, text: str) -> None:
    """Put a text in its place whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # Not tempfile: its files are private to the user, and a server is to read these.
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb"
        ) as file:
            file.write(text.encode())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
