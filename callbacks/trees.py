"""The trees of classes that Lightning comes in, under one name or the other."""

from __future__ import annotations

import importlib

from greenai.callbacks import NO_LIGHTNING

_TREES = ("pytorch_lightning", "lightning.pytorch")


def callback_classes() -> tuple[type, ...]:
    """Callback of every Lightning that is installed: they are two trees of classes.

    A trainer takes either, but LightningCLI only its own, so the monitor belongs to both.

    Raises:
        ImportError: There is none.
    """
    found: list[type] = []
    for tree in _TREES:
        try:
            found.append(importlib.import_module(tree).Callback)
        except ImportError:  # also where another project's package is called lightning
            continue
    if not found:
        raise ImportError(NO_LIGHTNING)
    return tuple(found)
