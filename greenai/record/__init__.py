"""What is on disk of one job: frames, manifest, readings and marks, written and read here only."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenai.record.manifest import claim_run, write_run_manifest
    from greenai.record.reader import open_record
    from greenai.record.types import (
        Anchor,
        Attempt,
        ChannelReadings,
        Marks,
        Record,
    )
    from greenai.record.writer import RecordWriter

_HOMES = {
    "Anchor": "greenai.record.types",
    "Attempt": "greenai.record.types",
    "ChannelReadings": "greenai.record.types",
    "Marks": "greenai.record.types",
    "Record": "greenai.record.types",
    "RecordWriter": "greenai.record.writer",
    "claim_run": "greenai.record.manifest",
    "open_record": "greenai.record.reader",
    "write_run_manifest": "greenai.record.manifest",
}

__all__ = [
    "Anchor",
    "Attempt",
    "ChannelReadings",
    "Marks",
    "Record",
    "RecordWriter",
    "claim_run",
    "open_record",
    "write_run_manifest",
]


def __getattr__(name: str) -> object:
    """Load a name from its home on first use (PEP 562): the types alone need no numpy."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'greenai.record' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
