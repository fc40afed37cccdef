"""Sweeps beside the comparison: learning rates before it, sequence lengths after it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from greenai.workloads.data import Batches
from greenai.workloads.design import ATTENTION_VARIANTS, variants_of
from greenai.workloads.facts import device_name
from greenai.workloads.formulas import flops_per_token
from greenai.workloads.metered import Site, meter_run, per_token
from greenai.workloads.progress import progress_bar
from greenai.workloads.schedule import Turn, balanced_turns
from greenai.workloads.training import find_kernel, train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.data import Text
    from greenai.workloads.design import Size
    from greenai.workloads.facts import Experiment

RATE_FACTORS = (0.3, 1.0, 3.0)
"""Of the size's learning rate."""
RATE_SEED = 1_000_003
"""No repeat has it: what chooses the rates is no part of what is compared."""
SWEEP_SCHEMA_VERSION = 1


def sweep_rates(
    variants: Mapping[str, ModelConfig], size: Size, text: Text, *, progress: bool
) -> dict[str, dict[float, float]]:
    """Train every variant for as many steps at each of the same rates; unmetered.

    Args:
        variants: The models by name.
        size: Its learning rate is the middle one.
        text: What is trained on.
        progress: Whether to show a progress bar.

    Returns:
        Loss on held-out text by variant and rate, in nats a byte; NaN where it diverged.
    """
    rates = [size.learning_rate * factor for factor in RATE_FACTORS]
    plan = [
        [Turn(f"learning rate {rate:g} of {name}", repeat, place)]
        for repeat, (place, name, rate) in enumerate(
            (place, name, rate) for place, name in enumerate(variants) for rate in rates
        )
    ]
    losses: dict[str, dict[float, float]] = {name: {} for name in variants}
    turns = iter(turn for repeat in plan for turn in repeat)
    with progress_bar(plan, run_s=1.0, shown=progress) as show:
        for name, config in variants.items():
            for rate in rates:
                show(next(turns), 0.0)
                trained = train(
                    config,
                    text,
                    batch=size.batch,
                    learning_rate=rate,
                    seed=RATE_SEED,
                    steps=size.rate_steps,
                )
                losses[name][rate] = trained.held_out_loss_nats
    return losses


def best_rates(losses: Mapping[str, Mapping[float, float]], default: float) -> dict[str, float]:
    """Choose for each variant the rate with the least loss; the default where all diverged.

    Example:
        >>> best_rates({"dense": {1e-3: 2.5, 3e-3: 2.4}, "moe": {1e-3: float("nan")}}, 1e-3)
        {'dense': 0.003, 'moe': 0.001}
    """
    finite = {
        name: {rate: loss for rate, loss in by_rate.items() if math.isfinite(loss)}
        for name, by_rate in losses.items()
    }
    return {
        name: min(known, key=lambda rate: known[rate]) if known else default
        for name, known in finite.items()
    }


def rates_at_the_edge(losses: Mapping[str, Mapping[float, float]]) -> list[str]:
    """Variants whose best rate is the least or the greatest tried: a better may lie beyond.

    Example:
        >>> losses = {"dense": {1.0: 3.0, 2.0: 2.0, 3.0: 2.5}, "moe": {1.0: 2.0, 2.0: 3.0}}
        >>> rates_at_the_edge(losses)
        ['moe']
    """
    best = best_rates(losses, math.nan)
    return [name for name, by in losses.items() if best[name] in {min(by), max(by)}]


def at_length(experiment: Experiment, sequence: int) -> Experiment:
    """Make the same experiment on sequences of another length, the tokens of a batch alike.

    Args:
        experiment: Its attention variants are kept: those whose feed-forward is dense; where it
            has less than two, dense, sliding_window, gqa and linear are taken.
        sequence: Tokens in one sequence.

    Raises:
        OrderError: The text does not fill a batch.
    """
    size = experiment.size
    batch = max(1, size.batch * size.model.sequence // sequence)
    model = replace(size.model, sequence=sequence)
    kept = [name for name, one in experiment.variants.items() if one.feed_forward == "dense"]
    names = kept if len(kept) > 1 else ATTENTION_VARIANTS
    # Widths stay those of the size's own length, so that along a curve nothing else changes.
    matched = variants_of(size.model, names, experiment.match)
    variants = {name: replace(config, sequence=sequence) for name, config in matched.items()}
    for part in (experiment.text.training, experiment.text.validation):
        Batches(part, batch=batch, sequence=sequence, seed=0)  # refuses too little
    return replace(
        experiment,
        size=replace(size, model=model, batch=batch),
        variants=variants,
        kernels={name: find_kernel(config, batch) for name, config in variants.items()},
        learning_rates={
            name: experiment.learning_rates.get(name, size.learning_rate) for name in variants
        },
    )


def sweep_lengths(experiments: Mapping[int, Experiment], site: Site, *, progress: bool) -> Path:
    """Meter the attention variants at each sequence length: in one order and in its reverse.

    Args:
        experiments: By length.
        site: A folder ``sweep`` below it holds the runs, one folder for each length.
        progress: Whether to show a progress bar.

    Returns:
        ``sequence_sweep.json``: ``schema_version``, ``device``, ``size``, and ``rows``, one for
        each length and variant: ``sequence``, ``variant``, ``attention``, ``kernel``, ``window``,
        ``batch``, ``n`` runs, ``energy_j_per_token`` and ``time_s_per_token`` (means over the
        runs in which it is known; null where in none), those runs' values in
        ``energies_j_per_token`` and ``times_s_per_token``, ``measured_share`` of the energy, and
        the FLOPs a token. Written after every length.
    """
    path = site.folder / "sequence_sweep.json"
    rows: list[dict[str, Any]] = []
    for sequence, experiment in experiments.items():
        inner = Site(site.folder / "sweep" / f"sequence-{sequence}", site.meter)
        names = list(experiment.variants)
        plan = balanced_turns(names, 1)
        plan.append([Turn(one.variant, 1, place) for place, one in enumerate(reversed(plan[0]))])
        run_s = experiment.warmup_s + experiment.seconds
        runs: dict[str, list[Path]] = {name: [] for name in names}
        named = partial(_at, sequence)
        with progress_bar(
            [list(map(named, turns)) for turns in plan], run_s, shown=progress
        ) as bar:

            def show(turn: Turn, spent_s: float, named: Any = named, bar: Any = bar) -> None:
                bar(named(turn), spent_s)

            for turn in (turn for turns in plan for turn in turns):
                run, _ = meter_run(turn, experiment, inner, show)
                runs[turn.variant].append(run)
        rows += [_row(experiment, name, runs[name]) for name in names]
        whole = {
            "schema_version": SWEEP_SCHEMA_VERSION,
            "device": device_name(),
            "size": experiment.size.name,
            "rows": rows,
        }
        path.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _at(sequence: int, turn: Turn) -> Turn:
    """Name a turn for people."""
    return replace(turn, variant=f"{turn.variant} at {sequence} tokens")


def _row(experiment: Experiment, name: str, runs: Sequence[Path]) -> dict[str, Any]:
    """State what a variant took at one length."""
    config, kernel = experiment.variants[name], experiment.kernels[name]
    found = [per_token(run) for run in runs]
    energies = [energy_j for energy_j, _, _ in found if energy_j is not None]
    times = [time_s for _, time_s, _ in found if time_s is not None]
    flops = flops_per_token(config, kernel)
    return {
        "sequence": config.sequence,
        "variant": name,
        "attention": config.attention,
        "kernel": kernel,
        "window": config.window if config.attention == "sliding_window" else None,
        "batch": experiment.size.batch,
        "n": len(runs),
        "energy_j_per_token": fmean(energies) if energies else None,
        "time_s_per_token": fmean(times) if times else None,
        "energies_j_per_token": energies,
        "times_s_per_token": times,
        "measured_share": fmean(measured for _, _, measured in found),
        "flops_per_token_executed": flops.executed,
        "flops_per_token_useful": flops.useful,
    }
