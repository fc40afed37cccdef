"""Runs seen for why they differ: their records, their own facts and the table of rates joined."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from greenai.accelerators import peak, precision_of
from greenai.analysis.efficiency import Work
from greenai.analysis.lens import Lens, LensRun, final_loss, loss_curve
from greenai.analysis.routing import router_load_of_facts, router_load_of_marks
from greenai.analysis.scaling import SizedRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greenai.analysis.routing import RouterLoad
    from greenai.merging import Part
    from greenai.run import Run
    from greenai.units import Floats

ACTIVE = ("active_parameters", "parameters_active")
HELD_OUT = "held_out_loss_nats"
TOTAL = ("total_parameters", "parameters_total", "parameters")
FACTS = (
    "repeat", "position", "seed", "batch", "learning_rate", "tuned", "match_basis", "kernel",
    "text", "tokenizer", "precision",
)  # fmt: skip
"""Facts of a run's config that say how it was made."""
TEXT_MAX = 200


def lens_of(
    runs: Sequence[Run], *, baseline: str, per: str = "token", sweep: Sequence[Run] = ()
) -> Lens:
    """See the runs of a comparison for why their energies differ.

    A fact that a record does not hold is unknown: nothing is looked up elsewhere but the dense
    rates of accelerators.

    Args:
        runs: The runs that were compared.
        baseline: Variant that the others are compared with.
        per: Unit of work.
        sweep: Runs at other sequence lengths, for the plot over sequence lengths alone.
    """
    unit = "token" if per.startswith("loss:") else per
    losses, kind = losses_of(runs)
    seen = tuple(
        dataclasses.replace(lens_run(run, unit), loss=loss)
        for run, loss in zip(runs, losses, strict=True)
    )
    return Lens(
        per=unit,
        baseline=baseline,
        runs=seen,
        loss_kind=kind,
        notes=tuple(dict.fromkeys(_about(runs, seen))),
        sweep=tuple(lens_run(run, unit) for run in sweep),
    )


def losses_of(runs: Sequence[Run]) -> tuple[list[float], str]:
    """Losses that runs ended with, all of one kind, and the kind.

    Held-out losses where the config of every run has one (``held_out_loss_nats``), else training
    losses: the two are not compared with one another.
    """
    held_out = [_number(run.config, HELD_OUT) for run in runs]
    if runs and not any(math.isnan(loss) for loss in held_out):
        return held_out, "held-out"
    return [final_loss(_floats(_kept(run)["loss"])) for run in runs], "training"


def lens_run(run: Run, per: str = "token") -> LensRun:
    """What is known of one run beside its energy; its loss is the training loss.

    FLOPs are the useful ones of the config's formula where there is one, else what the steps say.
    """
    figures, config = run.figures(), run.config
    kept = _kept(run)
    loss = _floats(kept["loss"])
    curve_j, curve_loss = loss_curve(_floats(kept["energy_j"]), loss)
    phases = run.phases()
    tokens = figures.amounts.get("token", math.nan)
    by_formula = _number(config, "flops_per_token_useful") * tokens
    sequence = _number(config, "sequence")
    return LensRun(
        work=Work(
            run_id=run.run_id,
            variant=run.variant,
            energy_j=figures.energy_j,
            duration_s=figures.duration_s,
            amount=figures.amounts.get(per, math.nan),
            flops=figures.amounts.get("flop", math.nan) if math.isnan(by_formula) else by_formula,
            peak_flop_per_s=peak_of(run),
            idle_power_w=_number(config, "idle_power_w"),
            phases_j=dict(zip(phases["phase"], _floats(phases["energy_j"]).tolist(), strict=True)),
        ),
        loss=final_loss(loss),
        curve_j=curve_j,
        curve_loss=curve_loss,
        sequence=int(sequence) if sequence > 0 else None,
        attention=_text(config, "attention"),
        feed_forward=_text(config, "feed_forward"),
        total_parameters=_number(config, *TOTAL),
        active_parameters=_number(config, *ACTIVE),
        router=router_of(run),
        devices=figures.devices,
        warmup_s=_number(run.summary(), "warmup_s"),
        facts={name: config[name] for name in FACTS if _is_plain(config.get(name))},
    )


def sized_runs(runs: Sequence[Run]) -> list[SizedRun]:
    """What a scaling fit needs to know of runs."""
    losses, _ = losses_of(runs)
    return [
        SizedRun(
            run_id=run.run_id,
            variant=run.variant,
            loss=loss,
            energy_j=run.energy(),
            tokens=float(_kept(run)["tokens"].sum(skipna=False, min_count=1)),
            active_parameters=_number(run.config, *ACTIVE),
            devices=run.devices(),
            coverage=run.coverage(),
            measured=run.trust()["measured"],
        )
        for run, loss in zip(runs, losses, strict=True)
    ]


def peak_of(run: Run) -> float:
    """Sum of the dense rates of the run's GPUs, in FLOP/s.

    The rate is that of the precision that the run's config names, else the 16-bit one.

    Returns:
        NaN where no GPU was metered, one is not in the table, or attempts differ in theirs.
    """
    precision = precision_of(run.config.get("precision"))
    rates: dict[int, dict[str, float]] = {}
    for part in run.parts:
        for one in part.energies.channels:
            if one.channel.kind == "gpu":
                rate = peak(one.channel.model, precision).flop_per_s
                rates.setdefault(part.attempt.attempt, {})[one.channel.device_key] = rate
    totals = {sum(devices.values()) for devices in rates.values()}
    return totals.pop() if len(totals) == 1 else math.nan


def router_of(run: Run) -> RouterLoad | None:
    """Load of the run's routers: what it left as marks, else what its config says."""
    for attempt in reversed(run.record.attempts):
        if attempt.rank == 0 and (found := router_load_of_marks(attempt.marks)):
            return found
    return router_load_of_facts(run.config.get("router_load"))


def _about(runs: Sequence[Run], seen: Sequence[LensRun]) -> Iterator[str]:
    lengths: dict[str, set[int | None]] = {}
    for one in seen:
        lengths.setdefault(one.work.variant, set()).add(one.sequence)
    if mixed := sorted(name for name, found in lengths.items() if len(found) > 1):
        yield (
            f"{', '.join(mixed)}: runs of several sequence lengths stand behind one ratio; give "
            "each length a variant of its own to compare them."
        )
    if all(math.isnan(one.work.flops) for one in seen):
        yield (
            "FLOPs are unknown: give flops_per_token when tracking, and the ratios come apart into "
            "doing less and doing it better."
        )
        return
    without_rate = {
        one.channel.model or one.channel.device
        for part in _parts(runs)
        for one in part.energies.channels
        if one.channel.kind == "gpu" and math.isnan(peak(one.channel.model).flop_per_s)
    }
    if not any(
        one.channel.kind == "gpu" for part in _parts(runs) for one in part.energies.channels
    ):
        yield "No GPU was metered, and no dense rate is known of a CPU: MFU is unknown."
    if without_rate:
        yield f"No dense rate is known of {', '.join(sorted(without_rate))}: MFU is unknown."
    if any(one.work.peak_flop_per_s > 0 and "precision" not in one.facts for one in seen):
        yield "MFU is a share of the dense 16-bit rate: the runs do not say their precision."


def _parts(runs: Sequence[Run]) -> Iterator[Part]:
    for run in runs:
        yield from run.parts


def _kept(run: Run) -> pd.DataFrame:
    """Steps that no later attempt trained again."""
    steps = run.steps()
    return steps[~steps["rolled_back"].astype(bool)]


def _floats(values: pd.Series[Any]) -> Floats:
    return np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)


def _number(facts: Mapping[str, Any], *names: str) -> float:
    """First of the facts that is a finite number; NaN where none is."""
    for name in names:
        value = facts.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return math.nan


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value[:TEXT_MAX] if isinstance(value, str) else ""


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and len(str(value)) <= TEXT_MAX
