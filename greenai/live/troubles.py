"""What the processes beside the training cannot say to the one who trains, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.live.shared import DELIVERY_FAILS, DISK_REFUSES, METRICS_PORT, WATCH_PORT
from greenai.settings import PORT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from greenai.live.shared import Region
    from greenai.settings import Settings


def served_url(region: Region, settings: Settings) -> str | None:
    """Address of the Prometheus endpoint; None while it is not served."""
    port = int(region.header[METRICS_PORT])
    return settings.metrics_url(port) if 0 < port <= PORT_MAX else None


def troubles(region: Region, settings: Settings, run_folder: Path) -> Iterator[str]:
    """Sentences that hold now; who says them says each once.

    Example:
        >>> from pathlib import Path
        >>> from greenai.live.shared import Region
        >>> from greenai.settings import Settings
        >>> region = Region.create({})
        >>> region.header[WATCH_PORT] = 8123
        >>> list(troubles(region, Settings(), Path("run")))
        ['Watch this run at http://127.0.0.1:8123/ (as long as it goes on).']
        >>> region.close()
    """
    port, wanted = int(region.header[METRICS_PORT]), settings.metrics_port
    if port > PORT_MAX:
        yield f"/metrics cannot be served at {settings.metrics_address}:{wanted}."
    elif port and wanted not in {None, 0, port}:
        yield f"Port {wanted} is taken: /metrics is served at {served_url(region, settings)}."
    if region.header[DISK_REFUSES]:
        yield f"The disk refuses the record in {run_folder}: it is not being written."
    elif region.header[DELIVERY_FAILS]:
        yield (
            "Live figures do not get out as metrics= asks: sampler.log in the attempt's folder of "
            f"{run_folder} says why. The record is whole."
        )
    if page := int(region.header[WATCH_PORT]):
        yield f"Watch this run at http://127.0.0.1:{page}/ (as long as it goes on)."
