"""Tells Prometheus where an endpoint is: a file of its file-based service discovery."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING

from greenai.exporters.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def write_targets(path: Path, address: str, port: int, *, scheme: str = "http") -> None:
    """Write the endpoint as the file's only target, whole or not at all.

    It has no labels but the scheme's: one that a metric has too would come out as
    ``exported_run_id``.

    Args:
        path: File that ``file_sd_configs`` names, by a pattern.
        address: Address that the endpoint is bound to; one that means every address is written
            as this machine's host name.
        port: Its port.
        scheme: ``http`` or ``https``.

    Raises:
        RecordError: The file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> write_targets(Path("targets.json"), "127.0.0.1", 9400)
        >>> json.loads(Path("targets.json").read_text())[0]["targets"]
        ['127.0.0.1:9400']
    """
    write_text(path, _text(address, port, scheme))


def remove_targets(path: Path, address: str, port: int, *, scheme: str = "http") -> None:
    """Remove the file if it still tells of this endpoint: its series then end within seconds.

    The next attempt of a run may have written its own there while this one was still served.
    Called before the endpoint closes, so that its port cannot be another's yet.

    Args:
        path: As written.
        address: As written.
        port: As written.
        scheme: As written.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text("utf-8") == _text(address, port, scheme):
            os.unlink(path)  # noqa: PTH108 - a link's own name goes, not what it names


def _text(address: str, port: int, scheme: str) -> str:
    host = socket.gethostname() if address in EVERY_ADDRESS else address
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    content = [{"targets": [target], "labels": {"__scheme__": scheme}}]
    return json.dumps(content, indent=2) + "\n"
