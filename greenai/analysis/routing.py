"""How evenly routers spread tokens over experts: from the marks of a run or from its own facts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.metrics import ROUTER_FACTS, ROUTER_LOAD
from greenai.record.types import VALUE

if TYPE_CHECKING:
    from greenai.record.types import Marks
    from greenai.units import Floats

ROUTERS_MAX = 4096
EXPERTS_MAX = 65_536
"""A record from elsewhere is data: it does not decide how much memory is taken."""
_SHARES = ("shares", "share", "load")


@dataclasses.dataclass(frozen=True, slots=True)
class RouterLoad:
    """How the routers of a run spread their choices; NaN is unknown.

    Attributes:
        share: Share of a router's choices that each expert got; rows add up to 1. Shape
            (routers, experts).
        imbalance: Load of the fullest expert over the mean load, averaged over routers: 1 is even.
        variation: Standard deviation of the loads over their mean, likewise: 0 is even.
        drop_share: Share of choices that no expert computed.
        auxiliary_loss: Balance loss, 1 where the experts are used evenly.
    """

    share: Floats
    imbalance: float
    variation: float
    drop_share: float = math.nan
    auxiliary_loss: float = math.nan


def router_load_of_marks(marks: Marks) -> RouterLoad | None:
    """Mean of what a ``RouterLens`` left over the run; None where it left nothing.

    Args:
        marks: Marks of one attempt of one rank.
    """
    values = {
        name: (marks.index[at], marks.value[at])
        for position, name in enumerate(marks.names)
        if name.startswith("router_")
        and len(at := np.flatnonzero((marks.kind == VALUE) & (marks.name == position)))
    }
    rows: dict[int, Floats] = {}
    for name, (expert, share) in values.items():
        number = name.removeprefix(ROUTER_LOAD)
        if name.startswith(ROUTER_LOAD) and number.isdecimal() and int(expert.max()) < EXPERTS_MAX:
            rows[int(number)] = _mean_by(expert.astype(np.int64), share)
    facts = [float(values[name][1].mean()) if name in values else math.nan for name in ROUTER_FACTS]
    if not rows and all(math.isnan(fact) for fact in facts):
        return None
    experts = max((len(row) for row in rows.values()), default=0)
    table = np.full((len(rows), experts), np.nan)
    for place, (_, row) in enumerate(sorted(rows.items(), key=lambda one: one[0])):
        table[place, : len(row)] = row
    return RouterLoad(table, *facts)


def router_load_of_facts(facts: object) -> RouterLoad | None:
    """What a run's own facts say of its routers; None where they say nothing that can be read.

    Args:
        facts: Shares by expert, one row or one a router; alone, or as ``shares`` beside
            ``dropped`` of ``assignments`` and ``balance_loss``. Loads that do not add up to 1 are
            made shares.

    Example:
        >>> facts = {"shares": [0.75, 0.25], "assignments": 8, "dropped": 2, "balance_loss": 1.1}
        >>> found = router_load_of_facts(facts)
        >>> found.imbalance, found.variation, found.drop_share, found.auxiliary_loss
        (1.5, 0.5, 0.25, 1.1)
        >>> router_load_of_facts("none") is None
        True
    """
    named = facts if isinstance(facts, Mapping) else {"shares": facts}
    load = _table(next((named[name] for name in _SHARES if name in named), None))
    if load is None:
        return None
    total = load.sum(axis=1, keepdims=True)
    share = np.divide(load, total, out=np.full(load.shape, np.nan), where=total > 0)
    imbalance, variation = evenness(share)
    assignments = _number(named.get("assignments"))
    drop_share = _number(named.get("dropped")) / (assignments if assignments > 0 else math.nan)
    return RouterLoad(share, imbalance, variation, drop_share, _number(named.get("balance_loss")))


def evenness(share: Floats) -> tuple[float, float]:
    """Load of the fullest expert over the mean, and the spread of loads over the mean.

    Args:
        share: Shape (routers, experts).

    Returns:
        Both as means over routers; NaN where a share is.

    Example:
        >>> evenness(np.array([[0.5, 0.5], [1.0, 0.0]]))
        (1.5, 0.5)
    """
    if not share.size:
        return math.nan, math.nan
    mean = share.mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        imbalance = share.max(axis=1) / mean
        variation = share.std(axis=1) / mean
    return float(imbalance.mean()), float(variation.mean())


def _mean_by(expert: Any, share: Floats) -> Floats:
    counts = np.bincount(expert)
    sums = np.bincount(expert, weights=share)
    return np.asarray(
        np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0),
        dtype=np.float64,
    )


def _table(given: object) -> Floats | None:
    """Loads as rows of numbers; None where that is not what they are."""
    try:
        load = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    load = load[None] if load.ndim == 1 else load
    is_table = load.ndim == 2 and load.size > 0 and bool((load >= 0).all())  # noqa: PLR2004 - rows and columns
    fits = is_table and load.shape[0] <= ROUTERS_MAX and load.shape[1] <= EXPERTS_MAX
    return load if fits and np.isfinite(load).all() else None


def _number(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan  # type: ignore[arg-type] # a number by now
