"""The command line: each command imports what it needs when it runs, so that help comes at once.

Exit codes: 0 all is well; 1 something is wrong with a run or the machine, said on standard error;
2 the command line itself is wrong.
"""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

import greenai
from greenai.cli_factors import Country, IntensityFile, Pue, Region, Service, Zone, intensity_of
from greenai.cli_impacts import impacts
from greenai.errors import GreenAIError, RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from greenai.analysis.compare import Comparison
    from greenai.workloads.bench import BenchResult

PIPED_WIDTH = 110
"""Columns where the output is no terminal and nothing else is asked for."""

SECONDS_MAX = 3600.0
"""No sensor is examined for longer."""

EXTRAS = {
    "codecarbon": "codecarbon",
    "lightning": "lightning",
    "pytorch_lightning": "lightning",
    "torch": "lightning",
}
"""Which extra brings a third party that a command may miss."""

app = typer.Typer(
    name="greenai",
    help="What a training run costs in energy and carbon, per step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(impacts)


class Per(enum.StrEnum):
    """Units of work that energy and time may be counted per."""

    token = "token"  # noqa: S105 - of text, not of access
    sample = "sample"
    step = "step"
    flop = "flop"


class Format(enum.StrEnum):
    """Files that a run can be exported to."""

    csv = "csv"
    parquet = "parquet"
    json = "json"


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
Partial = Annotated[
    bool, typer.Option("--partial", help="Take what lies before a damaged part of the record.")
]


def _span(seconds: float) -> float:
    """Refuse what is no span of time; NaN passes every bound that is compared with."""
    if not 0 < seconds <= SECONDS_MAX:
        raise typer.BadParameter(f"{seconds} is not between 0 and {SECONDS_MAX:g} seconds")
    return seconds


def _names(names: list[str] | None) -> list[str] | None:
    """Refuse a sensor that nobody knows."""
    from greenai.errors import SensorError  # noqa: PLC0415 - only here
    from greenai.sensors import check_names  # noqa: PLC0415 - only this command names sensors

    try:
        check_names(names or [])
    except SensorError as error:
        raise typer.BadParameter(f"{error.what} {error.hint}") from None
    return names


@app.command()
def report(
    run: RunFolder,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; RUN/report.html where not given.")
    ] = None,
    partial: Partial = False,
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    intensity_file: IntensityFile = None,
    intensity: Service = None,
    zone: Zone = None,
) -> None:
    """Show a run: energy, emissions, phases; and write the page with its plots.

    Other factors than the recorded ones compute it anew; the record itself is never changed.
    """
    from greenai.api import load  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters.report_html import write_report  # noqa: PLC0415 - the same
    from greenai.exporters.report_terminal import run_report  # noqa: PLC0415 - the same

    series = intensity_of(run, intensity_file, intensity, zone, partial=partial)
    loaded = load(run, partial=partial, country=country, region=region, pue=pue, intensity=series)
    _console().print(run_report(loaded))
    path = html or run / "report.html"
    try:
        write_report(loaded, path)
    except RecordError as error:
        if html is not None:
            raise
        _complain(f"{error.what} Use --html to write the page elsewhere.", style="yellow")
    else:
        _say_files([("page", path)])


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders that hold some.")
    ],
    baseline: Annotated[str, typer.Option(help="Variant that the others are compared with.")],
    per: Annotated[Per, typer.Option(help="Unit of the work.")] = Per.token,
    json: Annotated[Path | None, typer.Option(help="Write the comparison as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write it as CSV, one row a variant.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as a page.")] = None,
    across_devices: Annotated[
        bool, typer.Option("--across-devices", help="Also compare runs on unlike devices.")
    ] = False,
) -> None:
    """Compare variants by energy and time for the same work, with 95 % intervals."""
    from greenai import api  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters.contrasts import about_devices  # noqa: PLC0415 - the same
    from greenai.exporters.report_terminal import comparison_report  # noqa: PLC0415 - the same

    folders = dict.fromkeys(folder.resolve() for path in runs for folder in api.run_folders(path))
    loaded = [api.load(folder) for folder in folders]
    found = api.compare(loaded, baseline=baseline, per=per.value, across_devices=across_devices)
    others = about_devices(loaded)
    _console().print(comparison_report(found, others))
    _say_files(_write_comparison(found, others, json=json, csv=csv, html=html))


@app.command()
def export(
    run: RunFolder,
    formats: Annotated[
        list[Format], typer.Option("--format", help="What to write; may be given several times.")
    ] = [Format.csv],  # noqa: B006 - typer reads it and changes nothing
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN if not given.")] = None,
    partial: Partial = False,
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    intensity_file: IntensityFile = None,
    intensity: Service = None,
    zone: Zone = None,
) -> None:
    """Write steps.csv and phases.csv, steps.parquet, or summary.json."""
    from greenai.api import load  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters import tables  # noqa: PLC0415 - the same

    series = intensity_of(run, intensity_file, intensity, zone, partial=partial)
    loaded = load(run, partial=partial, country=country, region=region, pue=pue, intensity=series)
    for attempt in loaded.record.attempts:
        for problem in attempt.problems:
            _complain(problem, style="yellow")
    names = [one.value for one in formats]
    _say_files([("file", path) for path in tables.export(loaded, out or run, names)])


@app.command()
def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object; what is unknown is null.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(callback=_span, help="How long each sensor is read; more tells more."),
    ] = 3.0,
    sensor: Annotated[
        list[str] | None,
        typer.Option(
            callback=_names,
            help="Examine this one only; may be given several times.",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Say which sensors work here and why others do not.

    Each sensor works, is refused with the one command that mends it, is not on this machine, or is
    not needed beside a counter. Of each device that works: power (and whether that is at rest),
    noise, how often its value changes, how long a read takes, its counter against the integral of
    its power. Then what a run's totals would lack, and what a mark costs the training thread here.

    Exit code 0 where at least one measured source works, 1 where none does, 2 for a wrong option.
    """
    from greenai import doctor as doctors  # noqa: PLC0415 - opens hardware libraries
    from greenai.doctor_text import lines  # noqa: PLC0415 - the same

    found = doctors.examine(sensor or None, seconds=seconds, say=_progress)
    _progress("")
    if json:
        from json import dumps  # noqa: PLC0415 - for scripts only

        typer.echo(dumps(doctors.to_json(found), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        for line in lines(found):
            typer.echo(line)
    raise typer.Exit(0 if found.measured else 1)


@app.command()
def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Small models, at most four minutes on two CPU cores.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="File or folder of text; Python's own sources where not given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and results; a new one below runs/.")
    ] = None,
    budget_s: Annotated[
        float | None, typer.Option(help="Seconds that it may take; repeats are left out for it.")
    ] = None,
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics there while a run is trained.")
    ] = None,
) -> None:
    """Train dense, mixture-of-experts and sliding-window models in turn and compare them."""
    from greenai.exporters.comparison_html import (  # noqa: PLC0415 - help must not wait for it
        write_comparison_page,
    )
    from greenai.exporters.report_terminal import comparison_report  # noqa: PLC0415 - the same
    from greenai.workloads.bench import run_bench  # noqa: PLC0415 - loads torch

    result = run_bench(
        quick=quick,
        data=data,
        out=out,
        budget_s=budget_s,
        country=country,
        region=region,
        pue=pue,
        metrics_port=metrics_port,
    )
    design, page = _design_of(result), result.folder / "comparison.html"
    write_comparison_page(result.comparison, page, design, result.notices)
    console = _console()
    console.print(comparison_report(result.comparison, result.notices))
    console.print()
    console.print(design, markup=False, highlight=False)
    _say_files(
        [
            ("page", page),
            ("table", result.folder / "comparison.csv"),
            ("data", result.folder / "comparison.json"),
            *(("record", folder) for folder in result.runs[:3]),
        ],
        more=max(0, len(result.runs) - 3),
    )


@app.command()
def version() -> None:
    """Say which version of greenai this is."""
    typer.echo(f"greenai {greenai.__version__}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process where None.

    Raises:
        SystemExit: Always, with the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without UTF-8 shows ? and not a traceback
            stream.reconfigure(errors="replace")
    try:
        app(None if arguments is None else list(arguments), prog_name="greenai")
    except GreenAIError as error:
        _complain(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None
    except ImportError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None and "pip install" not in str(error):
            raise
        _complain(
            str(error)
            if extra is None
            else f"{error.name} is not installed, which this command needs.\n\n"
            f'hint: pip install "greenai[{extra}]"'
        )
        raise SystemExit(1) from None


def _write_comparison(
    comparison: Comparison,
    others: Iterable[str],
    *,
    json: Path | None,
    csv: Path | None,
    html: Path | None,
) -> list[tuple[str, Path]]:
    """Write the files that were asked for."""
    from greenai.exporters import files, tables  # noqa: PLC0415 - loads pandas
    from greenai.exporters.comparison_html import write_comparison_page  # noqa: PLC0415 - the same

    written = []
    if json is not None:
        files.write_json(json, comparison.to_json())
        written.append(("data", json))
    if csv is not None:
        tables.write_csv(csv, tables.comparison_table(comparison))
        written.append(("table", csv))
    if html is not None:
        write_comparison_page(comparison, html, others=others)
        written.append(("page", html))
    return written


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


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - loads slowly

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(highlight=False, width=PIPED_WIDTH)
    return console


def _say_files(files: Iterable[tuple[str, Path]], more: int = 0) -> None:
    """Name what was written, each on a line of its own that can be copied."""
    listed = list(files)
    if listed:
        typer.echo()
    for what, path in listed:
        typer.echo(f"{what + ':':<8}{path}")
    if more:
        typer.echo(f"        and {more} more")


def _progress(text: str) -> None:
    """Show on a terminal what is going on, in one line; an empty text wipes it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _complain(text: str, style: str = "red") -> None:
    from rich.console import Console  # noqa: PLC0415 - loads slowly
    from rich.text import Text  # noqa: PLC0415 - the same

    Console(stderr=True, highlight=False).print(Text(text, style=style), soft_wrap=True)
