"""The dashboard of one run: what it has cost so far, and what it will have cost."""

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
)
from greenai.dashboards.frame import event, framed, which
from greenai.dashboards.panels import RED, YELLOW, number
from greenai.dashboards.run_course import emissions, power, work
from greenai.dashboards.run_hardware import accelerators, trust

if TYPE_CHECKING:
    from greenai.dashboards.frame import Event
    from greenai.dashboards.panels import Panel

EVENT = "1m"
"""An event is drawn over the minute after it. Not $__rate_interval, which Grafana does not work out
for annotations as it does for panels (grafana/grafana#82636)."""


def run_dashboard() -> str:
    """JSON of the dashboard."""
    return framed(
        "greenai / Run",
        "greenai-run",
        "Energy and emissions of one training run while it goes on, and afterwards.",
        {
            "So far": _so_far(),
            "Power": power(),
            "Energy of the work": work(),
            "Emissions, grid and forecast": emissions(),
            "Accelerators": accelerators(),
            "How far to trust it": trust(),
        },
        which(several=False),
        since="now-3h",
        refresh="10s",
        annotations=_events(),
    )


def _so_far() -> list[Panel]:
    used = f"sum({highest(ENERGY, ONE_RUN)})"
    steps = f"sum({highest(ENERGY, ONE_RUN, STEPS)})"
    tokens = f"sum({highest('greenai_tokens_total', ONE_RUN)})"
    budget = f"max({highest('greenai_energy_budget_joules', ONE_RUN)})"
    emitted = f"sum({highest(EMISSIONS, ONE_RUN, OPERATIONAL)})"
    allowed = f"max({highest('greenai_emissions_budget_co2e_grams', ONE_RUN)})"
    done = f"sum({highest('greenai_optimizer_steps_total', ONE_RUN)})"
    planned = f"max({highest('greenai_planned_steps', ONE_RUN)})"
    warned = [(0.8, YELLOW), (1.0, RED)]
    return [
        number(
            "Energy",
            "IT energy of all attempts that were seen in the time range, without PUE.",
            "joule",
            used,
        ),
        number(
            "Emissions",
            "Operational gCO2e of the same: IT energy × PUE × grid intensity at the time of use.",
            "si:gCO₂e",
            emitted,
        ),
        number(
            "Power now",
            "Latest power of all devices of the run.",
            "watt",
            f"sum({of_run('greenai_power_watts')})",
        ),
        number(
            "Energy per token",
            "Energy of the optimizer steps so far over the tokens trained on.",
            "si:J/token",
            f"{steps} / {tokens}",
        ),
        number(
            "Energy budget used",
            "Energy so far over the budget that the run was given. Unknown where none was given; a "
            "budget warns and stops nothing.",
            "percentunit",
            f"{used} / {budget}",
            levels=warned,
        ),
        number(
            "Emissions budget used",
            "Operational emissions so far over the budget that the run was given.",
            "percentunit",
            f"{emitted} / {allowed}",
            levels=warned,
        ),
        number(
            "Steps",
            "Optimizer steps settled so far, of all attempts.",
            "short",
            done,
        ),
        number(
            "Progress",
            "Steps done over steps planned. Unknown where the training does not know its end.",
            "percentunit",
            f"{done} / {planned}",
        ),
        number(
            "Energy at the end",
            "Forecast of the IT energy at the run's end; its interval stands below.",
            "joule",
            f"sum({of_run('greenai_forecast_energy_joules')})",
        ),
        number(
            "Emissions at the end",
            "Forecast of the operational emissions at the run's end.",
            "si:gCO₂e",
            f"sum({of_run('greenai_forecast_emissions_co2e_grams')})",
        ),
        number(
            "Measured",
            "Share of the energy that is measured; the rest is modelled or assumed. Lowest rank.",
            "percentunit",
            f"min({of_run('greenai_measured_ratio')})",
        ),
        number(
            "Covered",
            "Share of time and devices that the energy covers: what is missing is unknown, not "
            "zero. Lowest rank.",
            "percentunit",
            f"min({of_run('greenai_coverage_ratio')})",
        ),
    ]


def _events() -> list[Event]:
    saved = 'phase="checkpoint"'
    energy = f"sum by (run_id) ({of_run(ENERGY, saved)})"
    before = f"sum by (run_id) ({of_run(ENERGY, saved)} offset {EVENT})"
    more = f"sum by (run_id) (increase({of_run(ENERGY, saved)}[{EVENT}])) > 0"
    began = of_run("greenai_run_start_time_seconds", RANK_0, 'attempt!="0"')
    return [
        event(
            "Epoch",
            "blue",
            f"max by (run_id) (changes({of_run('greenai_epoch', RANK_0)}[{EVENT}])) > 0",
            "an epoch of {{run_id}} began",
        ),
        event(
            "Checkpoint",
            "purple",
            f"{more} or ({energy} unless {before})",
            "{{run_id}} wrote a checkpoint",
        ),
        event(
            "Restart",
            "orange",
            f"{began} * 1e3",
            "attempt {{attempt}} of {{run_id}} began",
            at_value=True,
        ),
    ]
