"""What a run needed until its loss had fallen to a target: the same result, not the same work."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.comparable import check_tokenizers
from greenai.errors import ComparisonError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.analysis.comparable import RunFigures
    from greenai.units import Floats

PREFIX = "loss:"
"""What a unit of work begins with that is a loss to be reached: ``loss:2.5``."""
SEEDS_ENOUGH = 3
"""Seeds that a verdict needs: when a loss is reached depends on the seed more than a step does."""
SMOOTHED_SHARE = 0.05
"""Share of a run's losses that one smoothed value is the mean of."""
SMOOTHED_LEAST = 5


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class LossCurve:
    """How energy and time grew while the loss of one run fell; arrays of one length.

    Attributes:
        loss: Lowest smoothed loss so far: never rising. Shape (n,).
        energy_j: Joules of all steps until then. Shape (n,).
        duration_s: Seconds of all steps until then. Shape (n,).
        known_share: Share of that time whose energy is known; the rest is taken at the mean power
            of the known steps. Shape (n,).
    """

    loss: Floats
    energy_j: Floats
    duration_s: Floats
    known_share: Floats


def target_of(per: str) -> float | None:
    """The loss that a unit names, or None where it is a unit of work.

    Raises:
        ComparisonError: It names no finite number.

    Example:
        >>> target_of("loss:2.5"), target_of("token")
        (2.5, None)
    """
    if not per.startswith(PREFIX):
        return None
    try:
        target = float(per.removeprefix(PREFIX))
    except ValueError:
        target = math.nan
    if math.isfinite(target):
        return target
    raise ComparisonError(
        f"{per!r} names no loss.", "Nothing can be reached.", "write a number: --per loss:2.5"
    )


def loss_curve(loss: Floats, energy_j: Floats, duration_s: Floats) -> LossCurve | None:
    """Smooth the losses of one run's steps and make them monotone.

    A smoothed value is the mean of 5 % of the run's losses, at least five of them, around a step;
    the ends where such a window is not whole have none. Of these the lowest so far is kept. The
    energy is that of all steps since the first, warm-up included: it is part of what the result
    cost. Validation, checkpoints and rolled-back steps are in no step that is given.

    Args:
        loss: Loss of each step; NaN where none was noted. Shape (n,).
        energy_j: Joules of each step; NaN is unknown. Shape (n,).
        duration_s: Seconds of each step. Shape (n,).

    Returns:
        The curve; None where fewer than five losses are known.

    Example:
        >>> ones = np.ones(7)
        >>> curve = loss_curve(np.array([7.0, 6, 5, 4, 3, 2, 1]), 10 * ones, ones)
        >>> curve.loss.tolist(), curve.energy_j.tolist()
        ([5.0, 4.0, 3.0], [30.0, 40.0, 50.0])
    """
    noted = np.flatnonzero(np.isfinite(loss))
    window = max(SMOOTHED_LEAST, round(SMOOTHED_SHARE * len(noted))) // 2 * 2 + 1
    if len(noted) < window:
        return None
    known = np.isfinite(energy_j)
    known_s = np.where(known, duration_s, 0.0)
    power_w = np.sum(energy_j[known]) / known_s.sum() if known_s.sum() > 0 else math.nan
    spent_j = np.cumsum(np.where(known, energy_j, power_w * duration_s))
    spent_s = np.cumsum(duration_s)
    sums = np.concatenate([[0.0], np.cumsum(loss[noted])])
    smoothed = (sums[window:] - sums[:-window]) / window
    at = noted[window // 2 : len(noted) - window // 2]
    with np.errstate(invalid="ignore"):
        share = np.cumsum(known_s)[at] / spent_s[at]
    return LossCurve(np.minimum.accumulate(smoothed), spent_j[at], spent_s[at], share)


def reached(curve: LossCurve, target: float) -> tuple[float, float, float] | None:
    """Energy, time and known share at which a curve crosses a loss, in joules and seconds.

    Between two points of the curve all three run straight. None where the run never reached the
    loss, or was below it from the beginning of its curve.

    Example:
        >>> ends = np.array([1.0, 1.0])
        >>> reached(LossCurve(np.array([3.0, 2.0]), 100 * ends.cumsum(), ends.cumsum(), ends), 2.5)
        (150.0, 1.5, 1.0)
    """
    if curve.loss[0] < target or curve.loss[-1] > target:
        return None
    k = int(np.argmax(curve.loss <= target))
    if k == 0:
        return float(curve.energy_j[0]), float(curve.duration_s[0]), float(curve.known_share[0])
    between = (curve.loss[k - 1] - target) / (curve.loss[k - 1] - curve.loss[k])

    def at(values: Floats) -> float:
        return float(values[k - 1] + between * (values[k] - values[k - 1]))

    return at(curve.energy_j), at(curve.duration_s), at(curve.known_share)


def at_target(figures: Sequence[RunFigures], per: str, target: float) -> list[RunFigures]:
    """The runs as they were when their loss reached the target; the unit is having reached it.

    A run that never did keeps its place with energy and time unknown: leaving it out would make
    its variant look better for having failed.

    Raises:
        ComparisonError: A run has no losses, tokenizers are unlike, or no run reached the target;
            it names the losses that every run passed, or another unit.
    """
    check_tokenizers(figures, per)
    curves = {run.run_id: run.curve for run in figures if run.curve is not None}
    without = [run.name for run in figures if run.run_id not in curves]
    if without:
        raise ComparisonError(
            f"{len(without)} of {len(figures)} runs have too few losses: {', '.join(without[:5])}.",
            "What they needed to reach one cannot be worked out.",
            "note the loss of each step: step(loss=...), or compare --per token or step",
        )
    crossings = {run.run_id: reached(curves[run.run_id], target) for run in figures}
    if not any(crossings.values()):
        raise ComparisonError(
            f"No run passed the loss {target:g}: {_span(list(curves.values()))}.",
            "Energy to that loss cannot be worked out.",
            f"compare {shared_losses(list(curves.values())) or '--per token or step'}",
        )
    return [_at(run, per, crossings[run.run_id]) for run in figures]


def shared_losses(curves: Sequence[LossCurve]) -> str:
    """Which losses all runs passed, as a hint; empty where there is none."""
    lowest = max(float(curve.loss[-1]) for curve in curves)
    highest = min(float(curve.loss[0]) for curve in curves)
    if lowest >= highest:
        return ""
    return f"a loss that all runs passed: --per loss:X with X from {lowest:.4g} to {highest:.4g}"


def censored(run: RunFigures, target: float) -> str:
    """Why a run has no energy to the target; empty where it passed it."""
    if run.curve is None or reached(run.curve, target):
        return ""
    return "never reached" if run.curve.loss[-1] > target else "began below"


def seeds(runs: Sequence[RunFigures]) -> int | None:
    """How many seeds the runs have; None where one has none recorded."""
    known = {run.seed for run in runs}
    return None if None in known else len(known)


def _at(run: RunFigures, per: str, crossing: tuple[float, float, float] | None) -> RunFigures:
    energy_j, duration_s, known = crossing or (math.nan, math.nan, math.nan)
    trust = {kind: share * known for kind, share in run.trust.items()} if crossing else run.trust
    if crossing and trust:
        trust = {**trust, "assumed": trust.get("assumed", 0.0) + 1 - known}
    return dataclasses.replace(
        run,
        energy_j=energy_j,
        duration_s=duration_s,
        amounts={per: 1.0},
        trust=trust,
        coverage=min(run.coverage, known) if crossing else run.coverage,
        blocks=(),
    )


def _span(curves: Sequence[LossCurve]) -> str:
    lowest, highest = min(c.loss[-1] for c in curves), max(c.loss[0] for c in curves)
    return f"smoothed, they fell from at most {highest:.4g} to at least {lowest:.4g}"
