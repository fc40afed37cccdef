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
    host = socket.gethostname() if address in EVERY_ADDRESS else address
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    content = [{"targets": [target], "labels": {"__scheme__": scheme}}]
    write_text(path, json.dumps(content, indent=2) + "\n")


def remove_targets(path: Path) -> None:
    """Remove the file: Prometheus then ends the series within seconds; a second call is none."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a link's own name goes, not what it names
