"""What comparing variants finds, of each and of all; as objects and as comparison.json has it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.drift import PositionEffect
    from greenai.analysis.effects import Method, Verdict


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
        mde: Minimum detectable effect, as a ratio minus 1; see ``Effect``, as for all of its
            fields.
        verdict: Whether the variant needs ``less`` or ``more``, or it is ``not resolved``.
        reason: Why it is not resolved; empty where it is.
        trust: Shares of the energy of both variants that are measured, modelled and assumed.
        paired: Whether runs were compared pair by pair.
        low_adjusted: Lower end of the interval adjusted for several variants.
        high_adjusted: Upper end of it; 1 lies outside wherever there is a verdict.
        p_adjusted: Holm's adjusted p-value.
        mde_low: Lower end of the 95 % interval of ``mde``.
        mde_high: Upper end of it.
        bootstrap_low: Lower end of the percentile interval, from 20 repeats on; never decides.
        bootstrap_high: Upper end of it.
        method: How ``low`` and ``high`` come about.
        above_idle_mean: As ``mean``, of the energy less idle power times time. Being slow is
            cheap on this measure: it stands beside the gross energy and never gets a verdict.
        above_idle_ratio: As ``ratio``, of that.
        above_idle_low: Lower end of its 95 % interval.
        above_idle_high: Upper end of it.
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
    mde_low: float
    mde_high: float
    bootstrap_low: float
    bootstrap_high: float
    method: Method
    above_idle_mean: float
    above_idle_ratio: float
    above_idle_low: float
    above_idle_high: float
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
    time_mde_low: float
    time_mde_high: float
    time_bootstrap_low: float
    time_bootstrap_high: float
    time_method: Method

    def to_json(self) -> dict[str, Any]:
        """The result as comparison.json has it; unknown is None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["trust"] = {kind: _json(share) for kind, share in self.trust.items()}
        return {key: _json(value) for key, value in values.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Every variant against one baseline.

    Attributes:
        per: Unit of the work, or the loss that was reached, as ``loss:2.5``.
        baseline: Variant that the others are compared with.
        results: One a variant, in order of name, without the baseline.
        baseline_n: Runs of the baseline.
        baseline_mean: Geometric mean of its joules per unit.
        baseline_time_mean: Geometric mean of its seconds per unit.
        notes: What a reader should know, in sentences.
        baseline_above_idle_mean: Geometric mean of its joules per unit above idle.
        position_effect: Drift along the order of the runs, of energy per unit.
        systematic_low: Gain error of the sensors in ``mean`` and ``baseline_mean``, as a share,
            on data-centre boards; NaN where nothing is measured.
        systematic_high: The same on consumer boards.
        ratios_systematic: Whether the ratios have that error too: they do across boards, and do
            not where all runs were made on the same.
    """

    per: str
    baseline: str
    results: tuple[Result, ...]
    baseline_n: int
    baseline_mean: float
    baseline_time_mean: float
    notes: tuple[str, ...]
    baseline_above_idle_mean: float
    position_effect: PositionEffect
    systematic_low: float
    systematic_high: float
    ratios_systematic: bool

    def to_json(self) -> dict[str, Any]:
        """The comparison as comparison.json has it; unknown is None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["results"] = [result.to_json() for result in self.results]
        values["notes"] = list(self.notes)
        fitted = dataclasses.asdict(self.position_effect)
        values["position_effect"] = {key: _json(value) for key, value in fitted.items()}
        return {key: _json(value) for key, value in values.items()}


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
