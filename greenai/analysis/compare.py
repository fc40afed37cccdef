"""Which variant needs less energy for the same work, and whether the runs at hand can tell."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

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
from greenai.analysis.contrast import Contrast, Verdict, contrast, effects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Comparison", "Result", "RunFigures", "compare"]

OUT_OF_BALANCE = 0.5
"""Places by which the variants' mean positions may differ before drift is a worry."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One variant against the baseline, in energy and then, ``time_``, in time; NaN is unknown.

    Attributes:
        variant: Name of the variant.
        n: Pairs of runs, or runs of the variant where nothing is paired.
        mean: Geometric mean of joules per unit: the one whose ratios are ``ratio``.
        ratio: Joules per unit, variant to baseline.
        low: Lower end of the 95 % interval of this ratio alone.
        high: Upper end of it.
        mde: Minimum detectable effect, as a ratio minus 1; see ``Effect``.
        verdict: Whether the variant needs ``less`` or ``more``, or it is ``not resolved``.
        reason: Why it is not resolved; empty where it is.
        trust: Shares of the energy of both variants that are measured, modelled and assumed.
        paired: Whether runs were compared pair by pair.
        low_adjusted: Lower end of the interval adjusted for several variants.
        high_adjusted: Upper end of it; 1 lies outside wherever there is a verdict.
        p_adjusted: Holm's adjusted p-value.
        time_mean: Geometric mean of seconds per unit; the rest as for energy.
    """

    variant: str
    n: int
    mean: float
    ratio: float
    low: float
    high: float
    mde: float
    verdict: Verdict
    reason: str
    trust: Mapping[str, float]
    paired: bool
    low_adjusted: float
    high_adjusted: float
    p_adjusted: float
    time_mean: float
    time_ratio: float
    time_low: float
    time_high: float
    time_mde: float
    time_verdict: Verdict
    time_reason: str
    time_low_adjusted: float
    time_high_adjusted: float
    time_p_adjusted: float

    def to_json(self) -> dict[str, Any]:
        """The result as comparison.json has it; unknown is None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["trust"] = {kind: _json(share) for kind, share in self.trust.items()}
        return {key: _json(value) for key, value in values.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Every variant against one baseline.

    Attributes:
        per: Unit of the work.
        baseline: Variant that the others are compared with.
        results: One a variant, in order of name, without the baseline.
        baseline_n: Runs of the baseline.
        baseline_mean: Geometric mean of its joules per unit.
        baseline_time_mean: Geometric mean of its seconds per unit.
        notes: What a reader should know, in sentences.
    """

    per: str
    baseline: str
    results: tuple[Result, ...]
    baseline_n: int
    baseline_mean: float
    baseline_time_mean: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as comparison.json has it; unknown is None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["results"] = [result.to_json() for result in self.results]
        values["notes"] = list(self.notes)
        return {key: _json(value) for key, value in values.items()}


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
        per: Unit of work: one of ``token, sample, step, flop``.
        across_devices: Whether runs on unlike devices may be compared.

    Returns:
        Ratios with intervals and verdicts. A verdict on energy needs two runs a side, energy that
        is mostly measured, and runs that are covered.

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
    check_unit(figures, per)
    if not across_devices:
        check_devices(figures)
    base = groups[baseline]
    others = {name: groups[name] for name in sorted(groups) if name != baseline}
    contrasts = {
        field: {name: _contrast(runs, base, per, field) for name, runs in others.items()}
        for field in ("energy_j", "duration_s")
    }
    refused = {name: _refusal(runs, base) for name, runs in others.items()}
    energy = effects(contrasts["energy_j"], refused)
    time = effects(contrasts["duration_s"], {})
    results = tuple(
        Result(
            variant=name,
            n=contrasts["energy_j"][name].n,
            mean=_geometric_mean(per_unit(runs, per, "energy_j")),
            trust=trust_shares([*runs, *base]),
            paired=contrasts["energy_j"][name].paired,
            time_mean=_geometric_mean(per_unit(runs, per, "duration_s")),
            **dataclasses.asdict(energy[name]),
            **{f"time_{key}": value for key, value in dataclasses.asdict(time[name]).items()},
        )
        for name, runs in others.items()
    )
    return Comparison(
        per=per,
        baseline=baseline,
        results=results,
        baseline_n=len(base),
        baseline_mean=_geometric_mean(per_unit(base, per, "energy_j")),
        baseline_time_mean=_geometric_mean(per_unit(base, per, "duration_s")),
        notes=tuple(
            _about_results(results)
            + _about_order(groups)
            + _about_devices(figures, across_devices=across_devices)
        ),
    )


def _contrast(
    runs: Sequence[RunFigures],
    base: Sequence[RunFigures],
    per: str,
    field: Literal["energy_j", "duration_s"],
) -> Contrast:
    return contrast(
        per_unit(runs, per, field),
        per_unit(base, per, field),
        [run.pair for run in runs],
        [run.pair for run in base],
    )


def _refusal(runs: Sequence[RunFigures], base: Sequence[RunFigures]) -> str:
    """Why the energy of these runs may not get a verdict, whatever its ratio; empty if it may."""
    unknown = [run.run_id for run in (*runs, *base) if not run.energy_j > 0]
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


def _about_results(results: Sequence[Result]) -> list[str]:
    said = []
    unpaired = [r.variant for r in results if not r.paired and not math.isnan(r.low)]
    if unpaired:
        said.append(
            f"{', '.join(unpaired)}: compared unpaired (Welch), since not every run shares its "
            "pair with one run of the other side."
        )
    if len(results) > 1:
        said.append(f"Verdicts are adjusted for {len(results)} comparisons by Holm's procedure.")
    modelled = [result.variant for result in results if result.reason == "modelled"]
    if modelled:
        said.append(
            f"{', '.join(modelled)}: less than half of the energy is measured. The rest is a model "
            "of time, so that only the time ratio gets a verdict."
        )
    return said


def _about_order(groups: Mapping[str, Sequence[RunFigures]]) -> list[str]:
    """Warn where drift of the machine could pass for a difference between variants."""
    positions = {
        name: [run.position for run in runs if run.position is not None]
        for name, runs in groups.items()
    }
    if not all(positions.values()) or max(map(len, positions.values())) == 1:
        return []
    means = {name: fmean(places) for name, places in positions.items()}
    if max(means.values()) - min(means.values()) <= OUT_OF_BALANCE:
        return []
    listed = ", ".join(f"{name} {mean:.1f}" for name, mean in sorted(means.items()))
    return [
        (
            f"The runs were not made in balanced order (mean position: {listed}): a drift of the "
            "machine is part of the ratio."
        )
    ]


def _about_devices(figures: Sequence[RunFigures], *, across_devices: bool) -> list[str]:
    if across_devices:
        return [
            (
                "Unlike devices were allowed: their sensors' systematic errors, some 5 % each, are "
                "part of the ratio and not of its interval."
            )
        ]
    unknown = [run.run_id for run in figures if not run.devices]
    if not unknown:
        return []
    return [
        (
            f"Devices unknown for {len(unknown)} of {len(figures)} runs: whether the machines are "
            "alike was not checked."
        )
    ]


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
