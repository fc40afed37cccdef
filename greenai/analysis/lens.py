"""What a comparison knows of its runs beside their energy: loss, routers, shape and design."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.analysis.efficiency import decompose, efficiency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.efficiency import Decomposition, Efficiency, Work
    from greenai.analysis.routing import RouterLoad
    from greenai.units import Floats

END_SHARE = 0.1
"""Share of the logged losses, the last ones, whose mean a run ends with: one batch says little."""
CURVE_POINTS = 60
"""Points of a loss curve: means of equally many logged steps each."""


@dataclasses.dataclass(frozen=True, slots=True)
class LensRun:
    """One run; NaN, None and an empty text are unknown.

    Attributes:
        work: Energy, time, work and FLOPs after the warm-up.
        loss: Loss that the run ended with; of which kind, its lens says.
        curve_j: Energy since the first metered step, at the points of the loss curve.
        curve_loss: Training loss there.
        sequence: Tokens in a sequence.
        attention: Kind of attention.
        feed_forward: Kind of feed-forward.
        total_parameters: Parameters held in memory.
        active_parameters: Parameters that a token passes through.
        router: How its routers spread their choices.
        devices: Models and methods of what was metered.
        warmup_s: Seconds at the start that are in no comparison.
        facts: What else its record says of how it was made.
    """

    work: Work
    loss: float
    curve_j: Floats
    curve_loss: Floats
    sequence: int | None = None
    attention: str = ""
    feed_forward: str = ""
    total_parameters: float = math.nan
    active_parameters: float = math.nan
    router: RouterLoad | None = None
    devices: tuple[str, ...] = ()
    warmup_s: float = math.nan
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def j_per_unit(self) -> float:
        """Joules per unit of work; NaN where either is unknown."""
        energy_j, amount = self.work.energy_j, self.work.amount
        return energy_j / amount if energy_j > 0 and amount > 0 else math.nan


@dataclasses.dataclass(frozen=True, slots=True)
class Lens:
    """The runs of a comparison.

    Attributes:
        per: Unit of work.
        baseline: Variant that the others are compared with.
        runs: All runs.
        loss_kind: ``training`` (see ``final_loss``) or ``held-out``.
        notes: What a reader must know, in sentences.
        sweep: Runs at other sequence lengths that stand in no ratio.
    """

    per: str
    baseline: str
    runs: tuple[LensRun, ...]
    loss_kind: str = "training"
    notes: tuple[str, ...] = ()
    sweep: tuple[LensRun, ...] = ()

    def variants(self) -> dict[str, list[LensRun]]:
        """Runs by variant, the baseline first and the others by name."""
        names = {run.work.variant for run in self.runs}
        order = sorted(names, key=lambda name: (name != self.baseline, name))
        return {name: [run for run in self.runs if run.work.variant == name] for name in order}

    def efficiencies(self) -> list[Efficiency]:
        """What each variant made of its energy."""
        return [efficiency([run.work for run in runs]) for runs in self.variants().values()]

    def decompositions(self) -> list[Decomposition]:
        """The energy ratio of each variant to the baseline as a product."""
        groups = {name: [run.work for run in runs] for name, runs in self.variants().items()}
        base = groups.pop(self.baseline, [])
        return [decompose(runs, base) for runs in groups.values()] if base else []

    def to_json(self) -> dict[str, Any]:
        """Efficiencies and factors as plain values; None is unknown."""
        return {
            "efficiency": [_plain(dataclasses.asdict(one)) for one in self.efficiencies()],
            "decomposition": [_plain(dataclasses.asdict(one)) for one in self.decompositions()],
        }


def final_loss(loss: Floats) -> float:
    """Training loss that a run ended with: the mean of the last tenth of those it logged.

    Args:
        loss: By step; NaN where it was not logged. Shape (n,).

    Returns:
        A loss; NaN where none was logged, or one of the last is infinite.

    Example:
        >>> import numpy as np
        >>> final_loss(np.array([4.0, np.nan, 2.0])), final_loss(np.array([]))
        (2.0, nan)
    """
    logged = loss[~np.isnan(loss)]
    last = logged[len(logged) - max(1, round(END_SHARE * len(logged))) :] if len(logged) else logged
    return float(last.mean()) if len(last) and np.isfinite(last).all() else math.nan


def loss_curve(energy_j: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """Loss against the energy spent, thinned to means over equally many logged steps.

    Args:
        energy_j: Energy of each step; NaN is unknown. Shape (n,).
        loss: Loss of each step; NaN where it was not logged. Shape (n,).

    Returns:
        Energy since the first step of which it is known, and loss. The curve ends where the energy
        of a step in between is unknown: what comes after would read too cheap.

    Example:
        >>> import numpy as np
        >>> spent_j, loss = loss_curve(np.full(3, 2.0), np.array([4.0, np.nan, 3.0]))
        >>> spent_j.tolist(), loss.tolist()
        ([2.0, 6.0], [4.0, 3.0])
    """
    known = np.isfinite(energy_j)
    first = int(known.argmax()) if known.any() else len(known)
    gaps = np.flatnonzero(~known[first:])
    last = first + int(gaps[0]) if len(gaps) else len(known)
    energy_j, loss = energy_j[first:last], loss[first:last]
    logged = np.flatnonzero(np.isfinite(loss))
    if not len(logged):
        return np.empty(0), np.empty(0)
    spent_j, logged_loss = np.cumsum(energy_j)[logged], loss[logged]
    parts = np.array_split(np.arange(len(logged)), min(CURVE_POINTS, len(logged)))
    return (
        np.array([spent_j[part].mean() for part in parts]),
        np.array([logged_loss[part].mean() for part in parts]),
    )


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values
