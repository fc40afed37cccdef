"""Rows of a run's dashboard that show its course: power, energy of the work, emissions, grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.dashboards.expressions import (
    EMISSIONS,
    ENERGY,
    ONE_RUN,
    OPERATIONAL,
    RANK_0,
    STEPS,
    highest,
    of_run,
    rate,
)
from greenai.dashboards.panels import Query, bars, curves, heat, number

if TYPE_CHECKING:
    from greenai.dashboards.panels import Panel


def power() -> list[Panel]:
    """Where the power goes."""
    return [
        curves(
            "Power by device",
            "Rate of the energy counters, stacked: the height is the power of the run. It lags by "
            "the time that energy takes to settle, about a second.",
            "watt",
            [Query(f"sum by (rank, device) ({rate(ENERGY, ONE_RUN)})", "rank {{rank}} {{device}}")],
            stacked=True,
        ),
        curves(
            "Power by phase",
            "The same power by what the training was doing. Power in data_wait, other or "
            "unattributed is no work on the model.",
            "watt",
            [Query(f"sum by (phase) ({rate(ENERGY, ONE_RUN)})", "{{phase}}")],
            stacked=True,
        ),
        bars(
            "Energy by phase",
            "All energy in the time range by phase.",
            "joule",
            Query(f"sum by (phase) ({highest(ENERGY, ONE_RUN)})", "{{phase}}"),
            span=12,
        ),
        bars(
            "Energy by kind of device",
            "All energy in the time range by kind of device. A kind that is not metered has no "
            "bar.",
            "joule",
            Query(f"sum by (kind) ({highest(ENERGY, ONE_RUN)})", "{{kind}}"),
            span=12,
        ),
    ]


def work() -> list[Panel]:
    """What the work takes."""
    step, spent = "greenai_step_energy_joules", "greenai_step_duration_seconds"
    by_bucket = f"sum by (le) ({rate(step + '_bucket', ONE_RUN)})"
    lasted = f"sum by (le) ({rate(spent + '_bucket', ONE_RUN)})"
    tokens = rate("greenai_tokens_total", ONE_RUN)
    return [
        curves(
            "Energy per token",
            "Power of the optimizer steps over tokens a second.",
            "si:J/token",
            [Query(f"sum({rate(ENERGY, ONE_RUN, STEPS)}) / sum({tokens})", "J/token")],
        ),
        heat(
            "Energy of steps",
            "How many steps a second fell into which bucket of energy, each bucket four times as "
            "wide as the one below. With several ranks, of each rank's devices.",
            "joule",
            by_bucket,
        ),
        curves(
            "Energy per step",
            "Mean, median and 95th percentile; the last two are as coarse as the buckets.",
            "joule",
            [
                Query(
                    f"sum({rate(step + '_sum', ONE_RUN)}) / sum({rate(step + '_count', ONE_RUN)})",
                    "mean",
                ),
                Query(f"histogram_quantile(0.5, {by_bucket})", "median", dashed=True),
                Query(f"histogram_quantile(0.95, {by_bucket})", "95 %", dashed=True),
            ],
        ),
        curves(
            "Time per step",
            "Mean, and 95th percentile as coarse as the buckets.",
            "s",
            [
                Query(
                    f"sum({rate(spent + '_sum', ONE_RUN)})"
                    f" / sum({rate(spent + '_count', ONE_RUN)})",
                    "mean",
                ),
                Query(f"histogram_quantile(0.95, {lasted})", "95 %", dashed=True),
            ],
        ),
        curves(
            "Loss beside energy",
            "Loss that rank 0 told last, and on the right the energy that was spent for it in this "
            "attempt. No loss where the training tells none.",
            "none",
            [
                Query(f"max by (attempt) ({of_run('greenai_loss', RANK_0)})", "loss"),
                Query(f"sum by (attempt) ({of_run(ENERGY)})", "energy", unit="joule"),
            ],
            low=None,
        ),
        curves(
            "Tokens and FLOPs a second",
            "Of all ranks; FLOPs are those of the model as the training counts them.",
            "si:token/s",
            [
                Query(f"sum({tokens})", "tokens"),
                Query(
                    f"sum({rate('greenai_model_flops_total', ONE_RUN)})", "FLOPs", unit="si:FLOP/s"
                ),
            ],
        ),
    ]


def emissions() -> list[Panel]:
    """What it emits, and will have emitted."""
    forecast = "greenai_forecast_energy"
    return [
        curves(
            "Energy so far, forecast and budget",
            "Energy of this attempt; dashed what the whole run is expected to take, with its 95 % "
            "interval, and the budget where one was given.",
            "joule",
            [
                Query(f"sum by (attempt) ({of_run(ENERGY)})", "so far, attempt {{attempt}}"),
                Query(f"sum({of_run(forecast + '_joules')})", "forecast", dashed=True),
                Query(f"sum({of_run(forecast + '_low_joules')})", "lower bound", dashed=True),
                Query(f"sum({of_run(forecast + '_high_joules')})", "upper bound", dashed=True),
                Query(f"max({of_run('greenai_energy_budget_joules')})", "budget", dashed=True),
            ],
        ),
        curves(
            "Emissions so far",
            "gCO2e of this attempt. Operational contains PUE and the grid at the time of use; "
            "embodied is the share of making the accelerators.",
            "si:gCO₂e",
            [Query(f"sum by (attempt, scope) ({of_run(EMISSIONS)})", "{{scope}}")],
            stacked=True,
        ),
        curves(
            "Carbon intensity of the grid",
            "In use for the emissions above, with where it holds and who says so.",
            "suffix:gCO₂e/kWh",
            [
                Query(
                    "max by (region, source) "
                    f"({of_run('greenai_grid_intensity_co2e_grams_per_kwh')})",
                    "{{region}} ({{source}})",
                )
            ],
        ),
        number(
            "PUE",
            "Facility energy over IT energy, as told to the run. Unknown where nothing was told: "
            "emissions are then those of the IT energy.",
            "none",
            f"max({of_run('greenai_pue_ratio')})",
            span=6,
            height=8,
        ),
        number(
            "Emissions per hour",
            "Operational emissions at the present power and grid.",
            "si:gCO₂e/h",
            f"sum({rate(EMISSIONS, ONE_RUN, OPERATIONAL)}) * 3600",
            span=6,
            height=8,
        ),
    ]
