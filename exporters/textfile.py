"""Writes the latest figures for node_exporter, on machines where no port may be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from greenai.exporters.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import CollectorRegistry


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """Replace the file by the latest figures, whole or not at all.

    Its temporary sibling does not end in ``.prom``, so the collector does not see it.

    Args:
        path: File in the folder that ``--collector.textfile.directory`` names.
        registry: Whose families are written.

    Raises:
        RecordError: The file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from greenai.exporters.prometheus import Figures, registry_of
        >>> write_textfile(Path("run.prom"), registry_of(lambda: Figures(run_id="r", attempt=0)))
        >>> "greenai_run_info" in Path("run.prom").read_text()
        True
    """
    text = generate_latest(registry)
    with replacing(path) as file:
        file.write(text)
