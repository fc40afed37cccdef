"""The reference experiment: three variants trained in turn, each metered, then compared."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenai.api import compare, load, write_comparison
from greenai.callbacks import EnergyMonitor
from greenai.errors import OrderError, RecordError
from greenai.workloads.architecture import flops_per_token
from greenai.workloads.data import Batches, load_text
from greenai.workloads.design import (
    BASELINE,
    FULL,
    QUICK,
    model_facts,
    notices,
    run_facts,
    variants_of,
)
from greenai.workloads.progress import progress_bar
from greenai.workloads.schedule import Budget, balanced_turns, follow
from greenai.workloads.training import quiet_lightning, train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.analysis.compare import Comparison
    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.data import Batch, Text
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
        comparison: Energy per token of each variant against the dense one.
        planned_repeats: Repeats asked for.
        done_repeats: Repeats that the time budget allowed.
        notices: What a reader of the figures must know, in sentences.
        runs: Folders of the records, in the order of training.
        held_out_loss_nats: Loss on held-out text at the end of each run, in nats a byte, by
            variant; the runs were equally long, not equally many tokens.
    """

    folder: Path
    comparison: Comparison
    planned_repeats: int
    done_repeats: int
    notices: tuple[str, ...]
    runs: tuple[Path, ...]
    held_out_loss_nats: Mapping[str, tuple[float, ...]]


def run_bench(
    *,
    quick: bool = True,
    data: str | Path | None = None,
    out: str | Path | None = None,
    budget_s: float | None = None,
    country: str | None = None,
    region: str | None = None,
    pue: float | None = None,
    repeats: int = 6,
    seconds: float = 6.0,
    warmup_s: float = 1.5,
    progress: bool = True,
    metrics_port: int | None = None,
) -> BenchResult:
    """Train dense, moe and sliding_window in turn, each metered, and compare joules per token.

    The runs are bounded in time, so that energy is compared per token. Repeat r trains every
    variant with seed r: on the same batches in the same order. The order of the variants within a
    repeat is balanced over the repeats.

    Args:
        quick: Small models for two CPU cores; else larger ones, for a GPU.
        data: A file or folder of text; the sources of Python's standard library where None.
        out: Folder for records and results; a new one below `runs` where None. A folder that
            holds something gets a sibling instead: nothing is overwritten.
        budget_s: Wall-clock limit in seconds, kept by leaving out whole repeats; where None, 240
            if `quick`, else no limit.
        country: ISO 3166 alpha-3 code, for emissions.
        region: Region of the country.
        pue: Power usage effectiveness of the site, at least 1.
        repeats: How many times each variant is trained; a multiple of 6 balances the order.
        seconds: Length of a run after its warm-up.
        warmup_s: Time at the start of a run that is recorded but not compared.
        progress: Show a progress bar on standard error.
        metrics_port: Serve Prometheus metrics on this port while a run is trained.

    Returns:
        The comparison, where everything was written, and the notices.

    Raises:
        OrderError: A value is out of range, or the text is missing or too small.
        RecordError: The folder cannot be written.
        GridError: The country is unknown.
    """
    _check(repeats=repeats, seconds=seconds, warmup_s=warmup_s, budget_s=budget_s)
    limit_s = QUICK_BUDGET_S if budget_s is None and quick else budget_s
    budget = Budget(limit_s, reserve_s=COMPARING_S)
    size = QUICK if quick else FULL
    text = load_text(data)
    for part in (text.training, text.validation):
        Batches(part, batch=size.batch, sequence=size.model.sequence, seed=0)  # refuses too little
    variants = variants_of(size.model)
    plan = balanced_turns(list(variants), repeats)
    folder = _new_folder(out)
    runs: list[Path] = []
    losses: dict[str, list[float]] = {name: [] for name in variants}

    def train_turn(turn: Turn) -> None:
        config = variants[turn.variant]
        monitor = EnergyMonitor(
            folder / f"{turn.variant}-r{turn.repeat}",
            variant=turn.variant,
            country=country,
            region=region,
            pue=pue,
            tokens=tokens_of,
            batch_size=size.batch,
            flops_per_token=flops_per_token(config).useful,
            metrics_port=metrics_port,
            warmup_s=warmup_s,
            config=run_facts(turn, config, size, text),
            print_summary=False,
        )
        loss = train(
            config,
            text,
            batch=size.batch,
            learning_rate=size.learning_rate,
            seed=turn.repeat,
            limit_s=warmup_s + seconds,
            callbacks=[monitor],
            advance=lambda spent_s: show(turn, spent_s),
        )
        losses[turn.variant].append(loss)
        runs.append(folder / f"{turn.variant}-r{turn.repeat}")

    with quiet_lightning(), progress_bar(plan, warmup_s + seconds, shown=progress) as show:
        done = follow(plan, budget, train_turn)
    comparison = compare(runs, baseline=BASELINE, per="token")
    write_comparison(comparison, folder)
    said = notices(
        variants,
        size,
        planned=repeats,
        done=done,
        limit_s=limit_s,
        measured_share=load(runs[0]).summary()["trust"].get("measured") or 0.0,
    )
    result = BenchResult(
        folder=folder,
        comparison=comparison,
        planned_repeats=repeats,
        done_repeats=done,
        notices=tuple(said),
        runs=tuple(runs),
        held_out_loss_nats={name: tuple(values) for name, values in losses.items()},
    )
    _write_design(result, variants, size, text, warmup_s=warmup_s, seconds=seconds)
    return result


def tokens_of(batch: Batch) -> int:
    """Count the tokens of a batch; windows of a text have no padding."""
    return int(batch[0].numel())


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


def _new_folder(out: str | Path | None) -> Path:
    """Make a folder of its own for the experiment."""
    named = Path("runs", f"bench-{datetime.now():%Y%m%d-%H%M%S}") if out is None else Path(out)  # noqa: DTZ005  # a name for people, in their own time
    folder, number = named, 1
    try:
        while folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            number += 1
            folder = named.with_name(f"{named.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(
            f"{folder} cannot be made: {error.strerror}.",
            "No run was started.",
            "give a folder that can be written with out=",
            path=folder,
        ) from error
    return folder


def _write_design(
    result: BenchResult,
    variants: Mapping[str, ModelConfig],
    size: Size,
    text: Text,
    *,
    warmup_s: float,
    seconds: float,
) -> None:
    """Write how the experiment was made, beside what it found."""
    design = {
        "planned_repeats": result.planned_repeats,
        "done_repeats": result.done_repeats,
        "warmup_s": warmup_s,
        "seconds": seconds,
        "batch": size.batch,
        "learning_rate": size.learning_rate,
        "text": {"source": text.source, "bytes": text.size_bytes, "sha256": text.sha256},
        "variants": {name: model_facts(config) for name, config in variants.items()},
        "runs": [run.name for run in result.runs],
        "held_out_loss_nats": result.held_out_loss_nats,
        "unigram_entropy_nats": text.unigram_entropy_nats(),
        "notices": result.notices,
    }
    (result.folder / "bench.json").write_text(json.dumps(design, indent=2) + "\n", encoding="utf-8")
