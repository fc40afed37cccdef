"""Metering of every training of a machine, its code untouched, where GREENAI_AUTO=1 asks for it.

Lightning asks the entry points of all installed packages for callbacks each time a Trainer or a
Fabric is made, so this module loads in trainings that know nothing of greenai: it imports nothing
until it is asked for something, and whatever fails here is said and goes no further.
"""

from __future__ import annotations

import logging
import os
from typing import Any

VARIABLE = "GREENAI_AUTO"

_log = logging.getLogger("greenai")


def trainer_callbacks() -> list[Any]:
    """Callbacks for Lightning's Trainer: none, unless the environment says GREENAI_AUTO=1.

    Example:
        >>> trainer_callbacks()
        []
    """
    return _made("AutomaticMonitor") if os.environ.get(VARIABLE) == "1" else []


def fabric_callbacks() -> list[Any]:
    """The same for Lightning Fabric."""
    return _made("AutomaticCallback") if os.environ.get(VARIABLE) == "1" else []


def _made(name: str) -> list[Any]:
    try:
        from greenai.callbacks import unasked  # noqa: PLC0415 - loads torch and Lightning

        return [getattr(unasked, name)()]
    except Exception as error:  # noqa: BLE001 - the border: nobody in this training has asked for us
        _log.warning(
            "%s=1 is set, but this training is not metered: %s: %s",
            VARIABLE,
            type(error).__name__,
            error,
        )
        return []
