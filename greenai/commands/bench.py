"""The command `bench`: what can be asked of the reference experiment, and how it is answered."""

from __future__ import annotations

import enum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.commands.terminal import Across, Country, Pue, Region, console, say_files

if TYPE_CHECKING:
    from greenai.workloads.bench import BenchResult


class Preset(enum.StrEnum):
    """Sizes of the reference models."""

    quick = "quick"
    small = "small"
    medium = "medium"
    large = "large"


class Basis(enum.StrEnum):
    """What reference models can be matched on."""

    active_params = "active-params"
    total_params = "total-params"
    flops = "flops"


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Small models, at most four minutes on two CPU cores.")
    ] = False,
    size: Annotated[
        Preset | None,
        typer.Option(help="How large; medium and large are for GPUs.", show_default="small"),
    ] = None,
    variants: Annotated[
        str,
        typer.Option(
            help="dense, moe, moe_shared, moe_capacity, eager, sliding_window, gqa, "
            "linear; moe+linear joins two."
        ),
    ] = "dense,moe,sliding_window",
    match: Annotated[
        Basis, typer.Option(help="What the variants' widths make equal.")
    ] = Basis.active_params,
    data: Annotated[
        Path | None,
        typer.Option(help="File or folder of text; Python's own sources where not given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and results; a new one below runs/.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Add the missing repeats to the experiment in --out.")
    ] = False,
    across: Annotated[
        Across | None, typer.Option(help="Go on though its runs were made on another device.")
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="Trainings of each variant.", show_default="6, or what is balanced"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a training after its warm-up.")
    ] = None,
    budget_s: Annotated[
        float | None, typer.Option(help="Seconds that it may take; repeats are left out for it.")
    ] = None,
    lr_sweep: Annotated[
        bool, typer.Option("--lr-sweep", help="First find each variant's learning rate.")
    ] = False,
    sweep_seq: Annotated[
        str | None,
        typer.Option(help="Then meter attention at these sequence lengths: 256,512,1024."),
    ] = None,
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics there while a run is trained.")
    ] = None,
) -> None:
    """Train variants of a small language model in turn, each metered, and compare them."""
    from greenai.api import load  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters.comparison_html import (  # noqa: PLC0415 - the same
        write_comparison_page,
    )
    from greenai.exporters.report_terminal import (  # noqa: PLC0415 - the same
        comparison_report,
        lens_report,
    )
    from greenai.lens import lens_of  # noqa: PLC0415 - the same
    from greenai.workloads.bench import run_bench  # noqa: PLC0415 - loads torch

    result = run_bench(
        quick=quick,
        size=size and size.value,
        variants=[name.strip() for name in variants.split(",") if name.strip()],
        match=match.value,
        data=data,
        out=out,
        resume=resume,
        across_device=across is not None,
        repeats=repeats,
        seconds=seconds,
        budget_s=budget_s,
        lr_sweep=lr_sweep,
        sweep_seq=_lengths(sweep_seq),
        country=country,
        region=region,
        pue=pue,
        metrics_port=metrics_port,
    )
    design, page = _design_of(result), result.folder / "comparison.html"
    lens = lens_of(
        [load(run) for run in result.runs],
        baseline=result.comparison.baseline,
        sweep=[load(run) for run in _sweep_runs(result)],
    )
    write_comparison_page(result.comparison, page, design, result.notices, lens)
    terminal = console()
    terminal.print(comparison_report(result.comparison, result.notices))
    terminal.print(lens_report(lens))
    terminal.print()
    terminal.print(design, markup=False, highlight=False)
    sweep = [("sweep", result.sequence_sweep)] if result.sequence_sweep else []
    say_files(
        [
            ("page", page),
            ("table", result.folder / "comparison.csv"),
            ("data", result.folder / "comparison.json"),
            *sweep,
            *(("record", folder) for folder in result.runs[:3]),
        ],
        more=max(0, len(result.runs) - 3),
    )


def _sweep_runs(result: BenchResult) -> list[Path]:
    """Runs of the sweep over sequence lengths, which are no part of the comparison."""
    return [
        run for run in sorted(result.folder.glob("sweep/*/*")) if (run / "manifest.json").is_file()
    ]


def _lengths(text: str | None) -> list[int]:
    """Read sequence lengths; one token has no next one to predict."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 1 for word in words):
        raise typer.BadParameter(f"{text} is no list of lengths of at least 2, as 256,512")
    return [int(word) for word in words]


def _design_of(result: BenchResult) -> str:
    """How the reference experiment was made, in sentences."""
    losses = ", ".join(
        f"{name} {fmean(values):.3f}"
        for name, values in result.held_out_loss_nats.items()
        if values
    )
    repeats = f"{result.done_repeats} of {result.planned_repeats}"
    text = (
        f"{', '.join(result.held_out_loss_nats)} were trained in turn, {repeats} planned repeats. "
        "In a repeat all have the same seed and the same batches in the same order; the order of "
        "the variants is balanced over the repeats."
    )
    return f"{text} Mean held-out loss in nats a byte: {losses}." if losses else text
