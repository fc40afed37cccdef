"""What a comparison takes of a run: the steps after its warm-up, and how it came to its loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from greenai.analysis.comparable import RunFigures
from greenai.analysis.resampling import blocks_of
from greenai.analysis.target_loss import loss_curve
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from greenai.analysis.resampling import Block
    from greenai.run import Run
    from greenai.units import Floats

COUNTS = {"token": "tokens", "sample": "samples", "flop": "flops"}
"""Column of steps.csv by unit of work."""
STEPS = ("start_s", "duration_s", "energy_j", "loss", "rolled_back", *COUNTS.values())
"""Columns of the steps that are needed."""
ACTIVE_FLOPS = ("flops_per_token_active", "flops_per_token_useful")
"""Facts of a run's config, either name, that say how many FLOPs a token uses."""


def figures_of(run: Run) -> RunFigures:
    """Take what a comparison needs of a run.

    Energy and work are of the same steps: one whose energy is unknown leaves both and lowers the
    coverage. Steps of the warm-up and rolled-back ones are left out; only the way to a loss counts
    the warm-up, since it is part of what the loss cost.

    Args:
        run: The run. Of its config are read: ``repeat`` and ``seed`` (pairs), ``position`` (place
            in the order), ``idle_power_w``, ``tokenizer``, ``flops_per_token_active``.

    Returns:
        The figures; NaN, None or a missing unit is unknown.
    """
    steps, config = run.steps(STEPS), run.config
    valid = steps[~steps["rolled_back"].astype(bool)]
    first_s = steps["start_s"].min() if len(steps) else 0.0
    kept = valid[valid["start_s"] >= first_s + run.warmup_s()]
    known = kept[kept["energy_j"].notna()]
    counted = known if len(known) else kept  # without any energy the time is still compared
    work = _work(counted, config)
    amounts = {unit: float(amount.sum()) for unit, amount in work.items()}
    whole_s, known_s = float(kept["duration_s"].sum()), float(known["duration_s"].sum())
    repeat, seed, position = (config.get(name) for name in ("repeat", "seed", "position"))
    tokenizer = config.get("tokenizer")
    return RunFigures(
        run_id=run.run_id,
        variant=run.variant,
        energy_j=float(known["energy_j"].sum(min_count=1)),
        duration_s=float(counted["duration_s"].sum()),
        amounts={unit: amount for unit, amount in amounts.items() if amount > 0},
        trust=run.trust(),
        pair=_name("repeat", repeat) or _name("seed", seed),
        devices=run.devices(),
        position=position if isinstance(position, int) else None,
        coverage=known_s / whole_s if whole_s > 0 else math.nan,
        seed=_name("seed", seed) or _name("repeat", repeat),
        boards=_boards(run),
        tokenizer=None if tokenizer is None else str(tokenizer),
        idle_power_w=_positive(config.get("idle_power_w")),
        blocks=_blocks(run, known, config),
        curve=loss_curve(*(_column(valid, name) for name in ("loss", "energy_j", "duration_s"))),
        label=run.record.folder.name,
    )


def _blocks(run: Run, known: pd.DataFrame, config: Mapping[str, Any]) -> tuple[Block, ...]:
    spacings_ns = [one.series.spacing_ns for part in run.parts for one in part.energies.channels]
    return blocks_of(
        _column(known, "energy_j"),
        _column(known, "duration_s"),
        _work(known, config),
        refresh_s=max(spacings_ns, default=0) / NS_PER_S,
    )


def _work(steps: pd.DataFrame, config: Mapping[str, Any]) -> dict[str, Floats]:
    """Work of each step by unit; NaN is unknown."""
    work = {unit: _column(steps, name) for unit, name in COUNTS.items()}
    given = (_positive(config.get(name)) for name in ACTIVE_FLOPS)
    per_token = next((flops for flops in given if flops > 0), math.nan)
    ones = _column(steps.assign(one=1.0), "one")
    return {**work, "step": ones, "active_flop": work["token"] * per_token}


def _column(steps: pd.DataFrame, name: str) -> Floats:
    return steps[name].to_numpy(dtype="float64", na_value=math.nan)


def _name(kind: str, value: object) -> str | None:
    """A name for what runs share; a repeat and a seed of the same number are not the same."""
    return None if value is None else f"{kind} {value}"


def _positive(value: object) -> float:
    """A number above 0; NaN where it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < math.inf else math.nan  # type: ignore[arg-type,operator] # a number


def _boards(run: Run) -> tuple[str, ...]:
    keys = {one.channel.device_key for part in run.parts for one in part.energies.channels}
    return tuple(sorted(keys))
