"""Who calls greenai: adapters of training loops."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenai.callbacks.lightning import EnergyMonitor

__all__ = ["EnergyMonitor"]

NO_LIGHTNING = (
    "Neither pytorch_lightning nor lightning is installed, which EnergyMonitor is a callback of. "
    'hint: pip install "greenai[lightning]"'
)


def __getattr__(name: str) -> object:
    """Load the adapter, and the framework that it needs, on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'greenai.callbacks' has no attribute {name!r}")
    if find_spec("pytorch_lightning") is None and find_spec("lightning") is None:
        raise ImportError(NO_LIGHTNING)
    value: object = getattr(importlib.import_module("greenai.callbacks.lightning"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the adapters, loaded or not."""
    return sorted(__all__)
