"""The dashboard of all runs: what they use together, who uses it, and what is wasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.dashboards.expressions import (
    EMISSIONS,
    ENERGY,
    IDLE_BELOW,
    J_PER_KWH,
    RUNS,
    STEPS,
    TOKENS,
    by_run,
    chosen,
    counted,
    energy,
    facility_energy,
    facts,
    highest,
    idle_energy,
    rate,
    short,
    summed,
)
from greenai.dashboards.frame import framed, price, which
from greenai.dashboards.panels import RED, YELLOW, Column, Query, bars, curves, listing, number

if TYPE_CHECKING:
    from greenai.dashboards.panels import Panel

SEEN = " Of whole runs that were seen in the time range, from their start."
IDLE = f"{float(IDLE_BELOW):.0%} busy"


def fleet_dashboard() -> str:
    """JSON of the dashboard."""
    return framed(
        "greenai / Fleet",
        "greenai-fleet",
        "All runs, hosts and projects: energy, emissions and money, and what is wasted.",
        {
            "All together": _totals(),
            "Projects": _projects(),
            "Hosts": _hosts(),
            "Waste": _waste(),
            "Data quality": _quality(),
        },
        [*which(several=True), price()],
        since="now-7d",
        refresh="1m",
    )


def _kwh(*by: str) -> str:
    return f"{summed(energy(), *by)} / {J_PER_KWH}"


def _emitted(*by: str) -> str:
    return summed(counted(EMISSIONS), *by)


def _money(*by: str) -> str:
    return f"{summed(facility_energy(), *by)} / {J_PER_KWH} * $price"


def _totals() -> list[Panel]:
    runs, hosts = facts("project"), facts("host", ever=False)
    return [
        number(
            "Runs",
            "Runs that were seen in the time range.",
            "short",
            f"count(count by (run_id) ({runs}))",
        ),
        number(
            "Running now",
            "Runs that are scraped at the end of the time range.",
            "short",
            f"count(count by (run_id) ({facts('project', ever=False)}))",
        ),
        number(
            "Hosts now",
            "Hosts that runs are scraped from at the end of the time range.",
            "short",
            f"count(count by (host) ({hosts}))",
        ),
        number("Energy", "IT energy, without PUE." + SEEN, "kwatth", _kwh()),
        number(
            "Emissions",
            "Operational and embodied gCO2e, as far as each is known." + SEEN,
            "si:gCO₂e",
            _emitted(),
        ),
        number(
            "Money",
            "Energy with PUE (without it where a run was told none) × the price above." + SEEN,
            "none",
            _money(),
            nan="give a price",
        ),
    ]


def _projects() -> list[Panel]:
    by = "project"
    count = f"count by (project) (count by (project, run_id) ({facts('project')}))"
    power = summed(rate(ENERGY, RUNS), by, ever=False)
    return [
        listing(
            "Projects",
            "Energy is without PUE, emissions and money with it where it is known." + SEEN,
            {"project": "Project"},
            [
                Column(count, "Runs"),
                Column(_kwh(by), "Energy", "kwatth"),
                Column(_emitted(by), "Emissions", "si:gCO₂e"),
                Column(_money(by), "Money", "none"),
                Column(f"({power})", "Power now", "watt"),
            ],
            sort_by="Energy",
            span=12,
        ),
        curves(
            "Power by project",
            "Of all runs that are running, stacked.",
            "watt",
            [Query(power, "{{project}}")],
            stacked=True,
        ),
        bars(
            "Energy by project",
            "IT energy, without PUE." + SEEN,
            "kwatth",
            Query(_kwh(by), "{{project}}"),
        ),
        bars(
            "Emissions by project",
            "Operational and embodied, as far as each is known." + SEEN,
            "si:gCO₂e",
            Query(_emitted(by), "{{project}}"),
        ),
        bars(
            "Money by project",
            "Energy with PUE where it is known × the price above." + SEEN,
            "none",
            Query(_money(by), "{{project}}"),
        ),
    ]


def _hosts() -> list[Panel]:
    by = "host"
    power = summed("greenai_power_watts" + chosen(RUNS), by, ever=False)
    busy = "greenai_gpu_utilization_ratio" + chosen(RUNS)
    keys = ("variant", "run_id")
    metered = summed(rate("greenai_host_energy_joules_total", RUNS), *keys, ever=False)
    devices = summed(rate(ENERGY, RUNS), *keys, ever=False)
    return [
        listing(
            "Hosts",
            "A host is known by a hash. Two runs on one host both show all of its CPU packages.",
            {"host": "Host"},
            [
                Column(f"count by (host) (count by (host, run_id) ({facts('host')}))", "Runs seen"),
                Column(_kwh(by), "Energy", "kwatth"),
                Column(power, "Power now", "watt"),
                Column(f"{summed(idle_energy(), by)} / {J_PER_KWH}", "Of idle GPUs", "kwatth"),
            ],
            sort_by="Energy",
            span=12,
        ),
        curves(
            "GPUs busy by run",
            "Mean share of time in which a kernel ran, over the GPUs of a run.",
            "percentunit",
            [Query(by_run(busy, "avg"), "{{variant}} {{run}}")],
            high=1,
        ),
        curves(
            "Whole machines beside their devices",
            "Power by a meter of the whole machine (BMC, PDU), where one is read: it contains the "
            "devices and is no part of their sum. Nothing where no such meter is read.",
            "watt",
            [
                Query(short(metered), "{{variant}} {{run}} machine"),
                Query(short(devices), "{{variant}} {{run}} devices", dashed=True),
            ],
            span=24,
        ),
    ]


def _waste() -> list[Panel]:
    idle = summed(idle_energy())
    outside = 'phase!~"train_step"'
    by = ("run_id", "project", "variant")
    in_steps, tokens = summed(energy(STEPS), *by), counted(TOKENS)
    per_token = f"{in_steps} / {summed(tokens, *by)}"
    per_flop = f"{summed(counted('greenai_model_flops_total'), *by)} / {in_steps}"
    among = f"and on (run_id) topk(20, {per_token})"
    return [
        number(
            "Energy of idle GPUs",
            f"Energy of GPUs of runs while they were less than {IDLE}, added up at the panel's "
            "step. It was used within the time range.",
            "kwatth",
            f"{idle} / {J_PER_KWH}",
            height=8,
        ),
        number(
            "Not in training steps",
            "Share of the energy that went to other phases than train_step: setup, waiting for "
            "data, validation, checkpoints, and what is unattributed." + SEEN,
            "percentunit",
            f"{summed(energy(outside))} / {summed(energy())}",
            height=8,
            levels=[(0.2, YELLOW), (0.5, RED)],
        ),
        curves(
            "Power of idle GPUs",
            f"Power of GPUs that are less than {IDLE}, by project.",
            "watt",
            [
                Query(
                    summed(
                        'greenai_power_watts{run_id=~"$run",kind="gpu"} '
                        "and on (run_id, attempt, rank, device) "
                        f"greenai_gpu_utilization_ratio{chosen(RUNS)} < {IDLE_BELOW}",
                        "project",
                        ever=False,
                    ),
                    "{{project}}",
                )
            ],
            stacked=True,
            span=16,
        ),
        listing(
            "Least efficient runs",
            "The twenty runs with the most energy per token. Runs of unlike models are not to be "
            "compared by it; FLOP/J is closer to that, where FLOPs are counted." + SEEN,
            {"run_id": "Run", "project": "Project", "variant": "Variant"},
            [
                Column(f"topk(20, {per_token})", "Per token", "si:J/token"),
                Column(f"({per_flop}) {among}", "Model FLOPs per joule", "si:FLOP/J"),
                Column(f"({_kwh(*by)}) {among}", "Energy", "kwatth"),
            ],
            sort_by="Per token",
            link="Run",
        ),
    ]


def _quality() -> list[Panel]:
    trust = (
        f"sum by (trust) ({energy()} * on (run_id, attempt, rank, device, kind) "
        f"group_left (trust) {highest('greenai_device_info', RUNS)})"
    )
    stamp = "greenai_last_sample_timestamp_seconds" + chosen(RUNS)
    return [
        bars(
            "Energy by trust",
            "What of the energy is measured by hardware, worked out by a model, or assumed.",
            "kwatth",
            Query(f"{trust} / {J_PER_KWH}", "{{trust}}"),
        ),
        listing(
            "Runs by data quality",
            "What is missing is unknown, not zero: a run with low coverage used more than it says.",
            {"run_id": "Run"},
            [
                Column(
                    f"min by (run_id) ({_latest('greenai_coverage_ratio')})",
                    "Covered",
                    "percentunit",
                ),
                Column(
                    f"min by (run_id) ({_latest('greenai_measured_ratio')})",
                    "Measured",
                    "percentunit",
                ),
                Column(
                    f"sum by (run_id) ({counted('greenai_sampler_errors_total')})", "Failed reads"
                ),
            ],
            span=16,
            link="Run",
        ),
        curves(
            "Age of the latest reading",
            "By run, of its stalest rank; it grows where a sampler is dead.",
            "s",
            [Query(f"time() - {by_run(stamp, 'min')}", "{{variant}} {{run}}")],
        ),
        curves(
            "Failed reads",
            "A second, by sensor.",
            "ops",
            [
                Query(
                    f"sum by (source) ({rate('greenai_sampler_errors_total', RUNS)})",
                    "{{source}}",
                )
            ],
        ),
    ]


def _latest(family: str) -> str:
    return f"last_over_time({family}{chosen(RUNS)}[$__range])"
