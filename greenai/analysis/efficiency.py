"""Why a variant needs less energy: whether it does less work, or does it better."""

from __future__ import annotations

import dataclasses
import math
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def mfu(flops: float, duration_s: float, peak_flop_per_s: float) -> float:
    """Model FLOPs utilisation: useful FLOPs a second, as a share of what the devices could do.

    Args:
        flops: Useful FLOPs of the model; recomputed and masked ones are not among them.
        duration_s: Time that they took.
        peak_flop_per_s: Sum of the devices' dense rates.

    Returns:
        A share; NaN where one of the three is unknown or not positive.

    Example:
        >>> mfu(3.1e17, duration_s=1.0, peak_flop_per_s=989.5e12) > 1
        True
        >>> round(mfu(4e14, 1.0, 989.5e12), 3), mfu(4e14, 1.0, math.nan)
        (0.404, nan)

    Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B.
    """
    return _over(_over(flops, duration_s), peak_flop_per_s)


def flop_per_j(flops: float, energy_j: float) -> float:
    """Useful FLOPs that a joule paid for; NaN where either is unknown or not positive.

    Example:
        >>> flop_per_j(7.4e10, 1.0)
        74000000000.0
    """
    return _over(flops, energy_j)


def idle_share(idle_power_w: float, duration_s: float, energy_j: float) -> float:
    """Share of the energy that the devices would have used had they done nothing all that time.

    It is high for a slow run, not only for one that waits: time at rest is paid for either way.

    Args:
        idle_power_w: Power at rest of the devices that the energy is of, with the process's
            context open.
        duration_s: Time of the work.
        energy_j: Gross energy of the work.

    Returns:
        A share; above 1 where the power at rest was taken of more than the energy is of. NaN
        where one of the three is unknown or not positive.

    Example:
        >>> idle_share(120.0, duration_s=10.0, energy_j=6_000.0)
        0.2
    """
    return _over(_known(idle_power_w) * _known(duration_s), energy_j)


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What is known of one run's work after its warm-up; NaN is unknown.

    Attributes:
        run_id: Identity of the run.
        variant: What is compared.
        energy_j: IT energy of the work.
        duration_s: Time of the same work.
        amount: Units of work, such as tokens.
        flops: Useful FLOPs of the same work.
        peak_flop_per_s: Sum of the dense rates of the run's accelerators.
        idle_power_w: Power at rest of what the energy is of.
        phases_j: Energy of the whole run by phase.
    """

    run_id: str
    variant: str
    energy_j: float
    duration_s: float
    amount: float
    flops: float = math.nan
    peak_flop_per_s: float = math.nan
    idle_power_w: float = math.nan
    phases_j: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Efficiency:
    """What the runs of one variant made of their energy; geometric means, NaN is unknown.

    Attributes:
        variant: Name of the variant.
        n: Runs.
        j_per_unit: Joules per unit of work.
        flop_per_unit: Useful FLOPs per unit of work.
        flop_per_j: Useful FLOPs per joule.
        mfu: Model FLOPs utilisation.
        idle_share: Share of the energy that rest alone would have cost.
        phase_share: Share of the runs' known energy by phase.
    """

    variant: str
    n: int
    j_per_unit: float
    flop_per_unit: float
    flop_per_j: float
    mfu: float
    idle_share: float
    phase_share: Mapping[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Decomposition:
    """The ratio of two energies per unit as a product; NaN is unknown.

    ``energy_ratio = flops_ratio * j_per_flop_ratio``, exactly up to rounding.

    Attributes:
        variant: What is compared with the baseline.
        energy_ratio: Joules per unit, variant to baseline.
        flops_ratio: Useful FLOPs per unit: below 1, the variant does less.
        j_per_flop_ratio: Joules per useful FLOP: below 1, it does its work better.
        power_ratio: Mean power: below 1, it draws less while it works.
        time_per_flop_ratio: Time per useful FLOP; times ``power_ratio`` it is
            ``j_per_flop_ratio``.
    """

    variant: str
    energy_ratio: float
    flops_ratio: float
    j_per_flop_ratio: float
    power_ratio: float
    time_per_flop_ratio: float


def efficiency(runs: Sequence[Work]) -> Efficiency:
    """Sum up the runs of one variant.

    Args:
        runs: At least one run, all of one variant.

    Returns:
        Geometric means over the runs; a quantity that one run does not know is NaN.

    Example:
        >>> runs = [Work("a", "moe", 200.0, 4.0, 100.0, flops=4e12, peak_flop_per_s=2e12)]
        >>> found = efficiency(runs)
        >>> found.j_per_unit, found.mfu, found.idle_share
        (2.0, 0.5, nan)
    """
    names = dict.fromkeys(name for run in runs for name in run.phases_j)
    by_phase = {name: math.fsum(run.phases_j.get(name, 0.0) for run in runs) for name in names}
    total_j = math.fsum(energy_j for energy_j in by_phase.values() if not math.isnan(energy_j))
    return Efficiency(
        variant=runs[0].variant,
        n=len(runs),
        j_per_unit=_mean([_over(run.energy_j, run.amount) for run in runs]),
        flop_per_unit=_mean([_over(run.flops, run.amount) for run in runs]),
        flop_per_j=_mean([flop_per_j(run.flops, run.energy_j) for run in runs]),
        mfu=_mean([mfu(run.flops, run.duration_s, run.peak_flop_per_s) for run in runs]),
        idle_share=_mean(
            [idle_share(run.idle_power_w, run.duration_s, run.energy_j) for run in runs]
        ),
        phase_share={
            name: energy_j / total_j if total_j > 0 else math.nan
            for name, energy_j in by_phase.items()
        },
    )


def decompose(variant: Sequence[Work], baseline: Sequence[Work]) -> Decomposition:
    """Split the energy ratio of two variants into doing less and doing it better.

    Per unit of work, energy is FLOPs times joules per FLOP, so that its ratio is the product of
    theirs; joules per FLOP again are power times time per FLOP. All are ratios of geometric means
    over runs, so that the products hold whatever the runs.

    Args:
        variant: Runs of the variant.
        baseline: Runs of the baseline.

    Returns:
        The factors; NaN where a run does not know what a factor needs.

    Example:
        >>> dense = Work("d", "dense", 100.0, 10.0, 1.0, flops=1000.0)
        >>> moe = Work("m", "moe", 60.0, 8.0, 1.0, flops=400.0)
        >>> found = decompose([moe], [dense])
        >>> found.energy_ratio, found.flops_ratio, round(found.j_per_flop_ratio, 9)
        (0.6, 0.4, 1.5)

    It saves by doing less, and gives half of that back by doing it worse.
    """
    sides = [_means(variant), _means(baseline)]
    energy, flops, power, time = (_over(ours, theirs) for ours, theirs in zip(*sides, strict=True))
    return Decomposition(
        variant=variant[0].variant,
        energy_ratio=energy,
        flops_ratio=flops,
        j_per_flop_ratio=_over(energy, flops),
        power_ratio=power,
        time_per_flop_ratio=_over(time, flops),
    )


def _means(runs: Sequence[Work]) -> tuple[float, float, float, float]:
    """Geometric means of energy, FLOPs, power and time; all but power per unit of work."""
    return (
        _mean([_over(run.energy_j, run.amount) for run in runs]),
        _mean([_over(run.flops, run.amount) for run in runs]),
        _mean([_over(run.energy_j, run.duration_s) for run in runs]),
        _mean([_over(run.duration_s, run.amount) for run in runs]),
    )


def _mean(values: Sequence[float]) -> float:
    """Geometric mean; NaN where one value is."""
    if any(math.isnan(value) for value in values):
        return math.nan
    return values[0] if len(values) == 1 else math.exp(fmean(map(math.log, values)))


def _over(part: float, whole: float) -> float:
    return _known(part) / _known(whole)


def _known(value: float) -> float:
    """The value, if it is a positive number; else NaN."""
    return value if 0 < value < math.inf else math.nan
