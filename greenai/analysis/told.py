"""What a training told last, while it goes on: loss, planned steps and the load of its routers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenai.metrics import PLANNED_STEPS, ROUTER_FACTS, ROUTER_LOAD
from greenai.record.types import VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable

EXPERTS_MAX = 64
"""Experts that are kept one by one, the first ones: each is a series of its own to Prometheus."""
_IMBALANCE = ROUTER_FACTS[0]
_FACTS = ("loss", PLANNED_STEPS, _IMBALANCE)


class Told:
    """The latest values that marks carry; NaN is unknown.

    Example:
        >>> told = Told()
        >>> told.hear([(7, VALUE, 1, 3, 0.5), (8, VALUE, 0, 3, 2.25)], ("loss", "router_load/0"))
        >>> told.loss, told.router_load()
        (2.25, (nan, nan, nan, 0.5))
    """

    def __init__(self) -> None:
        self._facts = dict.fromkeys(_FACTS, math.nan)
        self._loads: dict[str, list[float]] = {}
        self._names: tuple[str, ...] = ()
        self._wanted: dict[int, str] = {}

    @property
    def loss(self) -> float:
        """Loss of the latest step that told one."""
        return self._facts["loss"]

    @property
    def planned_steps(self) -> float:
        """Optimizer steps of the whole run."""
        return self._facts[PLANNED_STEPS]

    @property
    def router_imbalance(self) -> float:
        """Load of the fullest expert over the mean load, a mean over routers."""
        return self._facts[_IMBALANCE]

    def hear(
        self, marks: Iterable[tuple[int, int, int, int, float]], names: tuple[str, ...]
    ) -> None:
        """Take marks in the order in which they were left.

        Args:
            marks: ``(t_ns, kind, name, index, value)``.
            names: Table of names, which only grows.
        """
        if len(names) != len(self._names):
            self._names = names
            self._wanted = {
                position: name
                for position, name in enumerate(names)
                if name in self._facts or name.startswith(ROUTER_LOAD)
            }
        for _, kind, name, index, value in marks:
            if kind != VALUE or (told := self._wanted.get(name)) is None:
                continue
            if told in self._facts:
                self._facts[told] = value
            elif index < EXPERTS_MAX:
                row = self._loads.setdefault(told, [])
                row.extend([math.nan] * (index + 1 - len(row)))
                row[index] = value

    def router_load(self) -> tuple[float, ...]:
        """Share of the choices by expert, a mean over the routers that told it; may be empty."""
        rows = list(self._loads.values())
        loads = []
        for expert in range(max(map(len, rows), default=0)):
            known = [row[expert] for row in rows if len(row) > expert]
            known = [load for load in known if math.isfinite(load)]
            loads.append(math.fsum(known) / len(known) if known else math.nan)
        return tuple(loads)
