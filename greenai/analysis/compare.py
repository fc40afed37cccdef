"""Which variant needs less energy for the same work, and whether the runs at hand can tell."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

from greenai.analysis.caveats import caveats
from greenai.analysis.comparable import (
    COVERED_ENOUGH,
    MEASURED_ENOUGH,
    RunFigures,
    check_devices,
    check_unit,
    per_unit,
    runs_by_variant,
    trust_shares,
)
from greenai.analysis.comparison import Comparison, Result
from greenai.analysis.contrast import Contrast, contrast
from greenai.analysis.drift import PositionEffect, position_effect
from greenai.analysis.effects import Effect, effects
from greenai.analysis.resampling import ratio_within_runs
from greenai.analysis.target_loss import SEEDS_ENOUGH, at_target, censored, seeds, target_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenai.analysis.comparable import Field

__all__ = ["Comparison", "Result", "RunFigures", "compare"]

SYSTEMATIC_ERROR = (0.05, 0.08)
"""Gain error of a board's sensor: what data-centre boards keep to, and what consumer boards do.
It is the same at every read, so that no number of repeats averages it out.
Source: Yang, Adamek, Armour, SC 2024, arXiv:2312.02741."""


def compare(
    figures: Sequence[RunFigures],
    baseline: str,
    per: str = "token",
    *,
    across_devices: bool = False,
) -> Comparison:
    """Compare the energy and the time of variants for the same amount of work.

    The unit of observation is the run, never the step: steps of one run are alike because they
    share the machine's temperature and the seed. Energy and time are two families of verdicts;
    in each the chance of any false one is 5 %.

    Args:
        figures: The runs of all variants.
        baseline: Variant to compare with.
        per: Unit of work: one of ``token, sample, step, flop, active_flop``; or a loss to be
            reached, as ``loss:2.5``.
        across_devices: Whether runs on unlike devices may be compared.

    Returns:
        Ratios with intervals and verdicts. A verdict on energy needs two runs a side, energy that
        is mostly measured, and runs that are covered; to a loss three seeds a side, all of which
        reached it; across boards, a difference that their sensors' errors cannot make.

    Raises:
        ComparisonError: The runs cannot be compared as asked; it says what is missing and which
            comparison is possible.

    Example:
        >>> def run(name, n, energy_j):
        ...     amounts, trust = {"token": 1e6}, {"measured": 1.0}
        ...     return RunFigures(f"{name}-{n}", name, energy_j, 10.0, amounts, trust, f"seed {n}")
        >>> joules = {"dense": [100, 103, 99], "moe": [80, 84, 79]}
        >>> runs = [run(name, n, j) for name, all_j in joules.items() for n, j in enumerate(all_j)]
        >>> result = compare(runs, baseline="dense").results[0]
        >>> result.variant, round(result.ratio, 3), result.verdict
        ('moe', 0.804, 'less')
    """
    groups = runs_by_variant(figures, baseline)
    target = target_of(per)
    if target is None:
        check_unit(figures, per)
    if not across_devices:
        check_devices(figures)
    if target is not None:
        groups = runs_by_variant(at_target(figures, per, target), baseline)
    base = groups[baseline]
    others = {name: groups[name] for name in sorted(groups) if name != baseline}
    short = {name: _short_of_target(runs, base, target) for name, runs in others.items()}
    refused = {name: short[name] or _refusal(runs, base) for name, runs in others.items()}
    judged = [run for runs in groups.values() for run in runs]
    boards_differ = len({run.boards for run in judged if run.boards}) > 1
    energy = _effects(others, base, per, "energy_j", refused)
    if across_devices or boards_differ:
        gain = _gain_between(judged)
        energy = {name: _beyond_sensors(effect, gain) for name, effect in energy.items()}
    time = _effects(others, base, per, "duration_s", short)
    above_idle = _effects(others, base, per, "above_idle_j", {})
    results = tuple(
        Result(
            variant=name,
            n=len(runs),
            mean=_geometric_mean(per_unit(runs, per, "energy_j")),
            trust=trust_shares([*runs, *base]),
            paired=energy[name].paired,
            time_mean=_geometric_mean(per_unit(runs, per, "duration_s")),
            above_idle_mean=_geometric_mean(per_unit(runs, per, "above_idle_j")),
            above_idle_ratio=above_idle[name].ratio,
            above_idle_low=above_idle[name].low,
            above_idle_high=above_idle[name].high,
            **_fields(energy[name]),
            **{f"time_{key}": value for key, value in _fields(time[name]).items()},
        )
        for name, runs in others.items()
    )
    drift = _drift(judged, per)
    measured = any(run.trust.get("measured", 0.0) > 0 for run in judged)
    systematic = SYSTEMATIC_ERROR if measured else (math.nan, math.nan)
    return Comparison(
        per=per,
        baseline=baseline,
        results=results,
        baseline_n=len(base),
        baseline_mean=_geometric_mean(per_unit(base, per, "energy_j")),
        baseline_time_mean=_geometric_mean(per_unit(base, per, "duration_s")),
        notes=caveats(
            results, groups, drift, across_devices=across_devices, boards_differ=boards_differ
        ),
        baseline_above_idle_mean=_geometric_mean(per_unit(base, per, "above_idle_j")),
        position_effect=drift,
        systematic_low=systematic[0],
        systematic_high=systematic[1],
        ratios_systematic=across_devices or boards_differ,
    )


def _effects(
    others: Mapping[str, Sequence[RunFigures]],
    base: Sequence[RunFigures],
    per: str,
    field: Field,
    refused: Mapping[str, str],
) -> dict[str, Effect]:
    contrasts = {name: _contrast(runs, base, per, field) for name, runs in others.items()}
    return effects(contrasts, refused)


def _fields(effect: Effect) -> dict[str, Any]:
    values = dataclasses.asdict(effect)
    del values["paired"]
    return values


def _contrast(
    runs: Sequence[RunFigures], base: Sequence[RunFigures], per: str, field: Field
) -> Contrast:
    found = contrast(
        per_unit(runs, per, field),
        per_unit(base, per, field),
        [run.pair for run in runs],
        [run.pair for run in base],
        [run.position for run in runs],
        [run.position for run in base],
    )
    if found.lacking != "one run each" or field == "above_idle_j":
        return found
    blocks = [
        (
            [getattr(block, field) for block in run.blocks],
            [block.amounts.get(per, math.nan) for block in run.blocks],
        )
        for run in (*runs, *base)
    ]
    return dataclasses.replace(found, shown=ratio_within_runs(blocks[0], blocks[1]))


def _gain_between(runs: Sequence[RunFigures]) -> float:
    """Ratio that two sensors may show of one energy, each off to its own side."""
    consumer = any("GeForce" in device for run in runs for device in run.devices)
    error = SYSTEMATIC_ERROR[consumer]
    return (1 + error) / (1 - error)


def _beyond_sensors(effect: Effect, gain: float) -> Effect:
    """Withhold a verdict that the error of two sensors alone could have brought about."""
    if effect.verdict == "not resolved":
        return effect
    if effect.high_adjusted * gain < 1 or effect.low_adjusted / gain > 1:
        return effect
    return dataclasses.replace(effect, verdict="not resolved", reason="within the sensors' error")


def _drift(runs: Sequence[RunFigures], per: str) -> PositionEffect:
    return position_effect(
        per_unit(runs, per, "energy_j"),
        [run.position for run in runs],
        [run.variant for run in runs],
        [run.pair for run in runs],
    )


def _short_of_target(
    runs: Sequence[RunFigures], base: Sequence[RunFigures], target: float | None
) -> str:
    """Why these runs cannot tell what a loss costs; empty if they can, or none is asked for."""
    if target is None:
        return ""
    for why in ("never reached", "began below"):
        named = [run.name for run in (*runs, *base) if censored(run, target) == why]
        if named:
            return f"{why} loss {target:g}: {', '.join(named[:3])}"
    counts = [seeds(runs), seeds(base)]
    if None in counts:
        return "seeds unknown"
    return "" if min(map(int, filter(None, counts))) >= SEEDS_ENOUGH else "fewer than 3 seeds"


def _refusal(runs: Sequence[RunFigures], base: Sequence[RunFigures]) -> str:
    """Why the energy of these runs may not get a verdict, whatever its ratio; empty if it may."""
    unknown = [run.name for run in (*runs, *base) if not run.energy_j > 0]
    if unknown:
        return f"energy unknown: {', '.join(unknown[:3])}"
    measured = [trust_shares(side)["measured"] for side in (runs, base)]
    if any(share < MEASURED_ENOUGH for share in measured):
        return "modelled"
    if any(math.isnan(share) for share in measured):
        return "trust unknown"
    least = min((run.coverage for run in (*runs, *base) if run.coverage >= 0), default=1.0)
    return "" if least >= COVERED_ENOUGH else f"only {least:.0%} of a run covered"


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(fmean(map(math.log, values)))
