"""Published runs held against the formulas, and against what the estimate makes of them."""

from __future__ import annotations

from greenai.analysis.published import Check, Prediction, Published, bloom_checks, checks_of
from greenai.analysis.transformer_flops import Architecture
from greenai.planning.plan import Plan, estimate_plan
from greenai.planning.tables import published


def validation() -> tuple[list[Check], list[Published], list[Prediction]]:
    """Published runs worked out again; those that cannot be; and what is predicted of some."""
    runs = published()
    checks = [check for run in runs for check in checks_of(run)]
    emitted = {check.model for check in checks if check.what.startswith("emissions")}
    open_runs = [run for run in runs if run.printed_tco2e and run.model not in emitted]
    return checks + bloom_checks(), open_runs, predictions()


def predictions() -> list[Prediction]:
    """Measured runs beside what the estimate makes of them from size, tokens and hardware alone."""
    found = []
    for run in published():
        measured = run.printed_it_mwh or run.printed_mwh
        if run.energy_basis != "measured energy" or not run.accelerator:
            continue
        sparse = run.kind == "moe"
        model = Architecture(run.parameters, run.active_parameters if sparse else None)
        plan = Plan(architecture=model, tokens=run.tokens, accelerator=run.accelerator)
        made = estimate_plan(plan)
        low, high = made.low.it_energy_mwh, made.high.it_energy_mwh
        found.append(
            Prediction(
                model=run.model,
                measured_mwh=float(measured),
                low_mwh=low,
                mid_mwh=made.mid.it_energy_mwh,
                high_mwh=high,
                inside=low <= float(measured) <= high,
                boundary=run.energy_boundary,
                source=run.source,
                remark=run.remark,
            )
        )
    return found
