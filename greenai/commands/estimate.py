"""The command ``greenai estimate``: what a training will cost, before it runs."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenai.commands.terminal import IntensityTable  # noqa: TC001 - typer reads the annotations
from greenai.errors import OrderError

if TYPE_CHECKING:
    from greenai.analysis.estimate import Estimate
    from greenai.planning.budget import Best
    from greenai.planning.factors import Value
    from greenai.planning.plan import Plan

TRIPLE = 3
EVER_NS = 2**63 - 1
_RANGE = "One number, or low,mid,high."


def _range(text: str | None) -> Value | None:
    """Read one number, or three with commas between them."""
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number, and not low,mid,high") from None
    if len(parts) == 1:
        return parts[0]
    if len(parts) != TRIPLE:
        raise typer.BadParameter(f"{text!r} has {len(parts)} numbers: give one, or low,mid,high")
    low, mid, high = parts
    return low, mid, high


def estimate(
    parameters: Annotated[float | None, typer.Option(help="All parameters.")] = None,
    active_parameters: Annotated[
        float | None, typer.Option(help="Those that work on one token; all where not given.")
    ] = None,
    tokens: Annotated[float | None, typer.Option(help="Training tokens.")] = None,
    layers: Annotated[int | None, typer.Option(help="Blocks, for the attention term.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads.")] = None,
    head_width: Annotated[int | None, typer.Option(help="Size of a head.")] = None,
    sequence: Annotated[int | None, typer.Option(help="Tokens of a sequence.")] = None,
    window: Annotated[int | None, typer.Option(help="Positions that one position sees.")] = None,
    experts: Annotated[int | None, typer.Option(help="Experts of a block.")] = None,
    experts_per_token: Annotated[int | None, typer.Option(help="That a token goes to.")] = None,
    expert_parameters: Annotated[
        float | None, typer.Option(help="Parameters of one expert over all blocks.")
    ] = None,
    accelerator: Annotated[str | None, typer.Option(help="Such as H100, A100, B200.")] = None,
    accelerators: Annotated[int | None, typer.Option(help="How many at a time.")] = None,
    accelerator_hours: Annotated[
        str | None, typer.Option("--accelerator-hours", "--gpu-hours", help=_RANGE)
    ] = None,
    peak_flop_per_s: Annotated[
        float | None, typer.Option(help="Dense rate of one; from the table where not given.")
    ] = None,
    power_w: Annotated[
        str | None, typer.Option(help=f"Of one with its share of the host. {_RANGE}")
    ] = None,
    mfu: Annotated[str | None, typer.Option(help=f"Share of the peak rate. {_RANGE}")] = None,
    country: Annotated[
        str | None, typer.Option(help="ISO 3166 alpha-3; else the world average, named.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="State, province or zone of it.")] = None,
    intensity_table: IntensityTable = None,
    intensity: Annotated[str | None, typer.Option(help=f"gCO2e per kWh. {_RANGE}")] = None,
    pue: Annotated[str | None, typer.Option(help=f"Site energy over IT energy. {_RANGE}")] = None,
    wue: Annotated[str | None, typer.Option(help=f"Site water, L/kWh of IT. {_RANGE}")] = None,
    ewif: Annotated[str | None, typer.Option(help=f"Water of power, L/kWh. {_RANGE}")] = None,
    price_per_kwh: Annotated[str | None, typer.Option(help=_RANGE)] = None,
    price_per_hour: Annotated[
        str | None, typer.Option(help=f"Per accelerator, electricity in it. {_RANGE}")
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the price.")] = "",
    calibrate: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Take J/FLOP from this measured run.")
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option(help="Best dense model for this loss, nats a token.")
    ] = None,
    budget_kwh: Annotated[
        float | None, typer.Option(help="Best dense model within this energy.")
    ] = None,
    budget_kg: Annotated[
        float | None, typer.Option(help="Best dense model within these emissions, kgCO2e.")
    ] = None,
    what_if: Annotated[
        bool,
        typer.Option("--what-if", help="Also other places, start hours, hardware, kinds of model."),
    ] = False,
    at: Annotated[
        list[str] | None, typer.Option(help="COUNTRY or COUNTRY/REGION for --what-if; several.")
    ] = None,
    intensity_file: Annotated[
        Path | None,
        typer.Option(
            help="For --what-if: start hours in a CSV start_utc,end_utc,g_per_kwh; may lie ahead."
        ),
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Show published runs worked out again.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object; unknown is null.")] = False,
) -> None:
    """Say what a training will cost before it runs: low, mid and high, every assumption named."""
    from greenai.planning import alternatives, budget  # noqa: PLC0415 - help must not wait for the tables
    from greenai.planning import plan as planning  # noqa: PLC0415 - the same

    if validate:
        _validation(json=json)
        return
    if (at or intensity_file) and not what_if:
        raise typer.BadParameter("--at and --intensity-file are for --what-if")
    plan = planning.plan_of(
        parameters=parameters,
        active_parameters=active_parameters,
        tokens=tokens,
        layers=layers,
        heads=heads,
        head_width=head_width,
        sequence=sequence,
        window=window,
        experts=experts,
        experts_per_token=experts_per_token,
        expert_parameters=expert_parameters,
        accelerator=accelerator,
        accelerators=accelerators,
        accelerator_hours=_range(accelerator_hours),
        peak_flop_per_s=peak_flop_per_s,
        power_w=_range(power_w),
        mfu=_range(mfu),
        country=country,
        region=region,
        intensity_table=intensity_table,
        intensity_g_per_kwh=_range(intensity),
        pue=_range(pue),
        wue_l_per_kwh=_range(wue),
        ewif_l_per_kwh=_range(ewif),
        price_per_kwh=_range(price_per_kwh),
        price_per_hour=_range(price_per_hour),
        currency=currency,
        calibrate=None if calibrate is None else _measured(calibrate),
    )
    if target_loss is not None or budget_kwh is not None or budget_kg is not None:
        found = budget.best_plan(
            plan, target_loss=target_loss, budget_kwh=budget_kwh, budget_kg=budget_kg
        )
        _show_best(found, json=json)
        return
    made = planning.estimate_plan(plan)
    others = alternatives.what_if(plan, at or alternatives.REGIONS) if what_if else []
    notes: list[str] = []
    if intensity_file is not None:
        starts, notes = _starts(plan, intensity_file)
        others = [*starts, *others]
    _show(made, others, notes, json=json)


def _measured(folder: Path) -> Any:
    from greenai.api import load  # noqa: PLC0415 - loads pandas
    from greenai.planning.plan import calibration_of  # noqa: PLC0415 - the same

    return calibration_of(load(folder))


def _starts(plan: Plan, path: Path) -> tuple[list[tuple[str, str, Estimate]], list[str]]:
    """Other start hours; what is planned lies ahead, so that rows of the future are welcome."""
    from greenai.intensity_file import read_intensity  # noqa: PLC0415 - loads numpy
    from greenai.planning.start_hours import other_starts  # noqa: PLC0415 - the same

    return other_starts(plan, read_intensity(path, now_utc_ns=EVER_NS))


def _show(
    made: Estimate, others: list[tuple[str, str, Estimate]], notes: list[str], *, json: bool
) -> None:
    from greenai.planning import text as estimate_text  # noqa: PLC0415 - help must not wait for it

    if json:
        changed = [{"changed": what, "to": to, **one.to_json()} for what, to, one in others]
        _say_json({**made.to_json(), "what_if": changed, "what_if_notes": notes})
        return
    for line in estimate_text.estimate_lines(made):
        typer.echo(line)
    if others:
        typer.echo()
        for line in (*estimate_text.alternatives_lines(made, others), *notes):
            typer.echo(line)


def _show_best(found: Best, *, json: bool) -> None:
    from greenai.planning import text as estimate_text  # noqa: PLC0415 - help must not wait for it

    if json:
        _say_json(found.to_json())
        return
    for line in estimate_text.best_lines(found):
        typer.echo(line)


def _validation(*, json: bool) -> None:
    from greenai.planning import text as estimate_text  # noqa: PLC0415 - help must not wait for the tables
    from greenai.planning import validation  # noqa: PLC0415 - the same

    checks, open_runs, predictions = validation.validation()
    if json:
        _say_json(
            {
                "checks": [one.to_json() for one in checks],
                "not_recomputable": [run.model for run in open_runs],
                "predictions": [one.to_json() for one in predictions],
            }
        )
    else:
        for line in estimate_text.validation_lines(checks, open_runs, predictions):
            typer.echo(line)
    if not all(one.reproduced for one in checks):
        raise OrderError(
            "A published figure is not reproduced.",
            "The tables or the formulas of this installation are damaged.",
            "reinstall greenai",
        )


def _say_json(content: dict[str, Any]) -> None:
    from json import dumps  # noqa: PLC0415 - for scripts only

    typer.echo(dumps(content, indent=2, allow_nan=False, ensure_ascii=False))
