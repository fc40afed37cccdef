"""The reference experiment: variants trained in turn, each metered, then compared."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from greenai.api import compare, write_comparison
from greenai.errors import OrderError
from greenai.workloads.data import Batches, load_text
from greenai.workloads.design import DEFAULT_VARIANTS, SIZES, variants_of
from greenai.workloads.facts import Experiment
from greenai.workloads.folder import Done, begun, bench_folder, write_design
from greenai.workloads.metered import Site, meter_run, per_token
from greenai.workloads.notices import notices
from greenai.workloads.progress import progress_bar
from greenai.workloads.resting import IDLE_S, Look, look
from greenai.workloads.schedule import Budget, balanced_repeats, balanced_turns, follow
from greenai.workloads.sweeps import (
    at_length,
    best_rates,
    sweep_lengths,
    sweep_rates,
)
from greenai.workloads.training import find_kernel, quiet_lightning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from greenai.analysis.compare import Comparison
    from greenai.workloads.design import Size
    from greenai.workloads.schedule import Turn

QUICK_BUDGET_S = 240.0
COMPARING_S = 10.0
"""Kept of the budget for the last record to close and for the comparison to be written."""


@dataclass(frozen=True)
class BenchResult:
    """What the experiment found and how it went.

    Args:
        folder: Holds a record for each run, `bench.json` and the comparison's files.
        comparison: Energy per token of each variant against the baseline: dense, or the first
            named where dense is not among them.
        planned_repeats: Repeats asked for.
        done_repeats: Repeats that the time budget allowed.
        notices: What a reader of the figures must know, in sentences.
        runs: Folders of the records, in the order of training.
        held_out_loss_nats: Loss on held-out text at the end of each run, in nats a byte, by
            variant; the runs were equally long, not equally many tokens.
        sequence_sweep: What the sweep over sequence lengths found; None where none was made.
    """

    folder: Path
    comparison: Comparison
    planned_repeats: int
    done_repeats: int
    notices: tuple[str, ...]
    runs: tuple[Path, ...]
    held_out_loss_nats: Mapping[str, tuple[float, ...]]
    sequence_sweep: Path | None = None


def run_bench(
    *,
    quick: bool = True,
    size: str | None = None,
    variants: Sequence[str] = DEFAULT_VARIANTS,
    match: str = "active-params",
    data: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    across_device: bool = False,
    budget_s: float | None = None,
    country: str | None = None,
    region: str | None = None,
    pue: float | None = None,
    repeats: int | None = None,
    seconds: float | None = None,
    warmup_s: float | None = None,
    lr_sweep: bool = False,
    sweep_seq: Sequence[int] = (),
    progress: bool = True,
    metrics_port: int | None = None,
) -> BenchResult:
    """Train variants of a model in turn, each metered, and compare joules per token.

    The runs are bounded in time, so that energy is compared per token. Repeat r trains every
    variant with seed r: on the same batches in the same order. The order of the variants within a
    repeat is balanced over the repeats.

    Args:
        quick: Small models for two CPU cores, within four minutes; nothing is compiled.
        size: Of `SIZES`; None is ``quick``, or ``small`` where not `quick`.
        variants: Of `CHOICES`.
        match: Basis that the variants are matched on, of `BASES`.
        data: A file or folder of text; the sources of Python's standard library where None.
        out: Folder for records and results; a new one below `runs` where None. A folder that
            holds something gets a sibling instead: nothing is overwritten.
        resume: Add the repeats that are missing to the experiment in `out`.
        across_device: Go on though the folder's runs were made on another device.
        budget_s: Wall-clock limit in seconds, kept by leaving out whole repeats; where None, 240
            for ``quick``, else no limit. A sweep over sequence lengths comes on top.
        country: ISO 3166 alpha-3 code, for emissions.
        region: Region of the country.
        pue: Power usage effectiveness of the site, at least 1.
        repeats: How many times each variant is trained; where None, 6 or the next number that
            balances the order.
        seconds: Length of a run after its warm-up; the size's where None.
        warmup_s: Time at the start of a run that is recorded but not compared; the size's where
            None.
        lr_sweep: Choose each variant's learning rate by an equal sweep before the comparison.
        sweep_seq: Sequence lengths to meter the attention variants at, after the comparison.
        progress: Show a progress bar on standard error.
        metrics_port: Serve Prometheus metrics on this port while a run is trained.

    Returns:
        The comparison, where everything was written, and the notices.

    Raises:
        OrderError: A value is out of range, the text is missing or too small, or `out` holds
            another experiment, or one of another device.
        RecordError: The folder cannot be written.
        GridError: The country is unknown.
    """
    chosen = _size(size, quick=quick)
    seconds = chosen.seconds if seconds is None else seconds
    warmup_s = chosen.warmup_s if warmup_s is None else warmup_s
    repeats = _repeats(repeats, len(variants))
    _check(repeats=repeats, seconds=seconds, warmup_s=warmup_s, budget_s=budget_s)
    limit_s = QUICK_BUDGET_S if budget_s is None and chosen.name == "quick" else budget_s
    budget = Budget(limit_s, reserve_s=COMPARING_S)
    experiment = _prepare(chosen, variants, match, data, warmup_s=warmup_s, seconds=seconds)
    lengths = sorted(set(sweep_seq))
    for length in lengths:
        at_length(experiment, length)  # refuses too little text
    folder = bench_folder(out, resume=resume)
    before = begun(folder, experiment, across_device=across_device) if resume else Done()
    site = Site(
        folder,
        {"country": country, "region": region, "pue": pue, "metrics_port": metrics_port},
    )
    with quiet_lightning():
        experiment = _settle(experiment, before, lr_sweep=lr_sweep, progress=progress)
        done = _train_all(experiment, site, before, repeats, budget, progress=progress)
        sweep = (
            sweep_lengths(
                {length: at_length(experiment, length) for length in lengths},
                site,
                progress=progress,
            )
            if lengths
            else None
        )
    runs = tuple(folder / name for name in done.runs)
    comparison = compare(
        runs, baseline=_baseline(variants), per="token", across_devices=across_device
    )
    write_comparison(comparison, folder)
    said = list(
        notices(
            experiment,
            planned=repeats,
            done=done.repeats,
            limit_s=limit_s,
            measured_share=per_token(runs[0])[2],
        )
    )
    write_design(folder, experiment, done, planned=repeats, notices=said)
    return BenchResult(
        folder=folder,
        comparison=comparison,
        planned_repeats=repeats,
        done_repeats=done.repeats,
        notices=tuple(said),
        runs=runs,
        held_out_loss_nats={name: tuple(done.losses[name]) for name in variants},
        sequence_sweep=sweep,
    )


def _size(name: str | None, *, quick: bool) -> Size:
    """Take the size that is asked for."""
    wanted = name or ("quick" if quick else "small")
    if wanted not in SIZES or (quick and wanted != "quick" and name is not None):
        raise OrderError(
            f"size is {name!r}{' and quick is asked for' if quick else ''}.",
            "Nothing was trained.",
            f"one of: {', '.join(SIZES)}; quick=True (--quick) is the size quick",
        )
    return SIZES[wanted]


def _repeats(wanted: int | None, variants: int) -> int:
    """Take as many repeats as balance the order, where nobody says how many."""
    if wanted is not None:
        return wanted
    step = balanced_repeats(max(1, variants))
    return step * math.ceil(6 / step)


def _baseline(variants: Sequence[str]) -> str:
    return "dense" if "dense" in variants else variants[0]


def _prepare(
    size: Size,
    names: Sequence[str],
    match: str,
    data: str | Path | None,
    *,
    warmup_s: float,
    seconds: float,
) -> Experiment:
    """Settle what is trained, and refuse at the desk what cannot be."""
    if len(names) < 2:  # noqa: PLR2004 - one and one
        raise OrderError(
            f"variants are {', '.join(names) or 'none'}.",
            "There is nothing to compare.",
            "name at least two, as --variants dense,moe",
        )
    variants = variants_of(size.model, names, match)
    text = load_text(data, max_bytes=size.text_bytes)
    for part in (text.training, text.validation):
        Batches(part, batch=size.batch, sequence=size.model.sequence, seed=0)  # refuses too little
    return Experiment(
        size=size,
        variants=variants,
        kernels={name: find_kernel(config, size.batch) for name, config in variants.items()},
        learning_rates=dict.fromkeys(variants, size.learning_rate),
        tuned=False,
        match=match,
        text=text,
        warmup_s=warmup_s,
        seconds=seconds,
        idle=Look(),
    )


def _settle(experiment: Experiment, before: Done, *, lr_sweep: bool, progress: bool) -> Experiment:
    """Look at the machine at rest, with a CUDA context, and choose learning rates."""
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda")  # a context draws power of its own
    experiment = replace(experiment, idle=look(IDLE_S))
    if before.repeats:  # the runs before settled the rates
        return replace(
            experiment,
            learning_rates=before.learning_rates,
            tuned=before.tuned,
            rate_losses_nats=before.rate_losses_nats,
        )
    if not lr_sweep:
        return experiment
    losses = sweep_rates(experiment.variants, experiment.size, experiment.text, progress=progress)
    rates = best_rates(losses, experiment.size.learning_rate)
    return replace(experiment, learning_rates=rates, tuned=True, rate_losses_nats=losses)


def _train_all(
    experiment: Experiment,
    site: Site,
    before: Done,
    repeats: int,
    budget: Budget,
    *,
    progress: bool,
) -> Done:
    """Train what is missing of the plan and keep account of it after every repeat."""
    names = list(experiment.variants)
    plan = balanced_turns(names, repeats)[before.repeats :]
    done = Done(
        before.repeats, list(before.runs), {name: [*before.losses.get(name, [])] for name in names}
    )
    run_s = experiment.warmup_s + experiment.seconds

    def train_turn(turn: Turn) -> None:
        run, loss = meter_run(turn, experiment, site, show)
        done.losses[turn.variant].append(loss)
        done.runs.append(run.name)

    def note(_: int) -> None:
        done.repeats += 1
        write_design(site.folder, experiment, done, planned=repeats, notices=[])

    with progress_bar(plan, run_s, shown=progress) as show:
        follow(plan, budget, train_turn, note)
    return done


def _check(*, repeats: int, seconds: float, warmup_s: float, budget_s: float | None) -> None:
    """Refuse at the desk what would waste minutes."""
    faults = {
        f"repeats is {repeats}": repeats < 1,
        f"seconds is {seconds}": not (seconds > 0 and math.isfinite(seconds)),
        f"warmup_s is {warmup_s}": not (warmup_s >= 0 and math.isfinite(warmup_s)),
        f"budget_s is {budget_s}": budget_s is not None and not budget_s > 0,
    }
    for what, is_fault in faults.items():
        if is_fault:
            raise OrderError(
                f"{what}.",
                "No run could be measured.",
                "repeats of at least 1, seconds and budget_s above 0, warmup_s of at least 0",
            )
