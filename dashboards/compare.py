"""The dashboard of several variants: which of them costs less for the same work, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.dashboards.expressions import (
    ENERGY,
    RANK_0,
    RUNS,
    STEPS,
    TOKENS,
    by_run,
    chosen,
    counted,
    energy,
    facts,
    joined,
    rate,
    short,
    summed,
)
from greenai.dashboards.frame import chooser, framed, which
from greenai.dashboards.panels import Column, Query, against, bars, curves, listing

if TYPE_CHECKING:
    from greenai.dashboards.panels import Panel

BASELINE = 'variant="$baseline"'
NO_VERDICT = (
    "No interval and no verdict: `greenai compare` gives both, from the records of repeated runs."
)


def compare_dashboard() -> str:
    """JSON of the dashboard."""
    baseline = chooser(
        "baseline",
        "Baseline",
        'label_values(greenai_run_info{project=~"$project"}, variant)',
        several=False,
    )
    return framed(
        "greenai / Compare",
        "greenai-compare",
        "Variants of a model side by side: energy for the same work. " + NO_VERDICT,
        {
            "Variants": _variants(),
            "On one time axis since the start": _since_start(),
            "Over time": _over_time(),
            "Routers of mixtures of experts": _routers(),
        },
        [*which(several=True), baseline],
        since="now-6h",
        refresh="30s",
    )


def _per_token(*by: str) -> str:
    used = summed(energy(STEPS), *by)
    return f"{used} / {summed(counted(TOKENS), *by)}"


def _per_token_now(*by: str) -> str:
    used = summed(rate(ENERGY, RUNS, STEPS), *by, ever=False)
    return f"{used} / {summed(rate(TOKENS, RUNS), *by, ever=False)}"


def _ratio(per_token: str) -> str:
    """Energy per token by variant over that of the baseline, which needs not be among them."""
    of_baseline = per_token.replace('variant=~"$variant"', BASELINE)
    return f"({per_token}) / on () group_left () sum({of_baseline})"


def _variants() -> list[Panel]:
    by = "variant"
    emitted = summed(counted("greenai_emissions_co2e_grams_total", 'scope="operational"'), by)
    steps = summed(counted("greenai_optimizer_steps_total"), by)
    last = f"last_over_time(greenai_loss{chosen(RUNS, RANK_0)}[$__range])"
    lowest = f"min by (variant) ({joined(last, by)})"
    runs = f"count by (variant) (count by (variant, run_id) ({facts(by)}))"
    return [
        listing(
            "Variants",
            "All runs of a variant together, as far as they were seen in the time range. Energy "
            "per token is that of the optimizer steps. " + NO_VERDICT,
            {"variant": "Variant"},
            [
                Column(runs, "Runs"),
                Column(summed(energy(), by), "Energy", "joule"),
                Column(summed(counted(TOKENS), by), "Tokens"),
                Column(_per_token(by), "Per token", "si:J/token"),
                Column(_ratio(_per_token(by)), "Ratio to baseline", "none"),
                Column(f"{summed(energy(STEPS), by)} / {steps}", "Per step", "joule"),
                Column(emitted, "Emissions", "si:gCO₂e"),
                Column(lowest, "Lowest latest loss", "none"),
            ],
            sort_by="Per token",
        ),
        bars(
            "Energy per token",
            "Energy of the optimizer steps over tokens, of all runs of a variant together.",
            "si:J/token",
            Query(_per_token(by), "{{variant}}"),
            span=12,
        ),
        bars(
            "Ratio to the baseline",
            "Energy per token over that of the chosen baseline; below 1 is less. " + NO_VERDICT,
            "none",
            Query(_ratio(_per_token(by)), "{{variant}}"),
            span=12,
        ),
    ]


def _since_start() -> list[Panel]:
    keys = ("variant", "run_id")
    power = short(summed(rate(ENERGY, RUNS), *keys, ever=False))
    used = short(summed(ENERGY + chosen(RUNS), *keys, ever=False))
    began = by_run("greenai_run_start_time_seconds" + chosen(RUNS, RANK_0))
    loss = by_run("greenai_loss" + chosen(RUNS, RANK_0))
    age = Column(f"time() - {began}", "since the start", "s")
    told = " A line is one run; the time is that since its (latest) start."
    return [
        against(
            "Power",
            "Rate of the energy counters." + told,
            age,
            Column(power, "power", "watt"),
        ),
        against(
            "Energy per token",
            "Power of the optimizer steps over tokens a second." + told,
            age,
            Column(short(_per_token_now(*keys)), "per token", "si:J/token"),
        ),
        against(
            "Energy so far",
            "IT energy since the start." + told,
            age,
            Column(used, "energy", "joule"),
        ),
        against(
            "Loss",
            "Loss that rank 0 told last." + told,
            age,
            Column(loss, "loss", "none"),
        ),
        against(
            "Loss against energy",
            "What a loss has cost: the lower line reaches it with less. A line is one run.",
            Column(used, "energy", "joule"),
            Column(loss, "loss", "none"),
            span=24,
        ),
    ]


def _over_time() -> list[Panel]:
    by = "variant"
    now = _per_token_now(by)
    return [
        curves(
            "Power by variant",
            "Of all runs of a variant that are running, stacked.",
            "watt",
            [Query(summed(rate(ENERGY, RUNS), by, ever=False), "{{variant}}")],
            stacked=True,
            span=8,
        ),
        curves(
            "Energy per token by variant",
            "Power of the optimizer steps over tokens a second.",
            "si:J/token",
            [Query(now, "{{variant}}")],
            span=8,
        ),
        curves(
            "Ratio to the baseline over time",
            "Energy per token over that of the baseline at the same moment: it needs both to run "
            "at once.",
            "none",
            [Query(_ratio(now), "{{variant}}")],
            span=8,
        ),
    ]


def _routers() -> list[Panel]:
    told = "A mean over routers and ranks. Runs without routers have no line."
    even = "avg by (run_id, attempt, rank, expert)"
    load = joined(f"{even} (greenai_router_load_ratio{chosen(RUNS)})", "variant", ever=False)
    load = short(f"avg by (variant, run_id, expert) ({load})")
    legend = "expert {{expert}}, {{variant}} {{run}}"
    return [
        bars(
            "Load of experts",
            "Share of the routers' choices that went to each expert. " + told,
            "percentunit",
            Query(load, legend),
            span=12,
        ),
        curves(
            "Load of experts over time",
            "Share of the routers' choices by expert; even where all are alike. " + told,
            "percentunit",
            [Query(load, legend)],
        ),
        curves(
            "Imbalance",
            "Load of the fullest expert over the mean load: 1 is even, and the number of experts "
            "is all to one. Highest rank. Runs without routers have no line.",
            "none",
            [
                Query(
                    by_run("greenai_router_imbalance_ratio" + chosen(RUNS)),
                    "{{variant}} {{run}}",
                )
            ],
            low=1,
            span=24,
        ),
    ]
