"""What a training run costs in energy and carbon, per step, without slowing it.

The public names load on first use: importing this package loads neither
torch, numpy, pandas, pyarrow nor codecarbon.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenai.api import Run, compare, estimate, load, phase, scaling, step, stop, track
    from greenai.errors import (
        ComparisonError,
        GreenAIError,
        GridError,
        OrderError,
        RecordError,
        SensorError,
    )

__version__ = "0.1.0"

_HOMES = {
    "Run": "greenai.api",
    "compare": "greenai.api",
    "estimate": "greenai.api",
    "load": "greenai.api",
    "phase": "greenai.api",
    "scaling": "greenai.api",
    "step": "greenai.api",
    "stop": "greenai.api",
    "track": "greenai.api",
    "ComparisonError": "greenai.errors",
    "GreenAIError": "greenai.errors",
    "GridError": "greenai.errors",
    "OrderError": "greenai.errors",
    "RecordError": "greenai.errors",
    "SensorError": "greenai.errors",
}

__all__ = [
    "ComparisonError",
    "GreenAIError",
    "GridError",
    "OrderError",
    "RecordError",
    "Run",
    "SensorError",
    "__version__",
    "compare",
    "estimate",
    "load",
    "phase",
    "scaling",
    "step",
    "stop",
    "track",
]

if sys.platform == "win32":
    raise ImportError(
        "greenai does not run on Windows: its sampler process and its clocks are untested there, "
        "so its numbers could be wrong without a sign. Linux is supported, macOS with the "
        "sensors it has. hint: use WSL2."
    )


def __getattr__(name: str) -> object:
    """Load a public name from its home on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'greenai' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
