"""Checks of what an adapter is given, made where it is constructed and not in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError

if TYPE_CHECKING:
    from greenai.callbacks.batches import Counter


def checked_counter(given: Counter, name: str) -> Counter:
    """Refuse what cannot count.

    Raises:
        OrderError: It is neither a positive integer nor a function nor None.
    """
    fits = given is None or callable(given) or (type(given) is int and given > 0)
    if not fits:
        raise OrderError(
            f"{name} is {given!r}.",
            f"The {name} of the steps would be wrong.",
            "give a whole number above 0, or a function of the batch",
        )
    return given


def checked_config(config: Any) -> dict[str, Any]:
    """Refuse a config that is no mapping.

    Raises:
        OrderError: It is none.
    """
    if config is not None and not isinstance(config, Mapping):
        raise OrderError(f"config is {config!r}.", hint="give a mapping of names to plain values")
    return dict(config or {})


def checked_flops(flops_per_token: Any) -> float | None:
    """Refuse FLOPs that are no number above 0.

    Raises:
        OrderError: They are none.
    """
    if flops_per_token is None:
        return None
    number = isinstance(flops_per_token, int | float) and not isinstance(flops_per_token, bool)
    if not number or not math.isfinite(flops_per_token) or flops_per_token <= 0:
        raise OrderError(
            f"flops_per_token is {flops_per_token!r}.",
            "The FLOPs of the steps would be wrong.",
            "give a number above 0; the model's FLOPs for training on one token",
        )
    return float(flops_per_token)
