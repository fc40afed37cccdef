"""The command line: each command imports what it needs when it runs, so that help comes at once.

Exit codes: 0 all is well; 1 something is wrong with a run or the machine, said on standard error;
2 the command line itself is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

import greenai
from greenai.commands.bench import bench
from greenai.commands.estimate import estimate
from greenai.commands.fleet import index, push, runs
from greenai.commands.impacts import impacts
from greenai.commands.merge import merge
from greenai.commands.options import sensor_names, span, unit
from greenai.commands.report import export, report
from greenai.commands.run import FORWARDING, run
from greenai.commands.scaling import scaling
from greenai.commands.terminal import Across, complain
from greenai.commands.terminal import console as _console
from greenai.commands.terminal import say_files as _say_files
from greenai.errors import GreenAIError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenai.analysis.compare import Comparison
    from greenai.analysis.lens import Lens

EXTRAS = {
    "codecarbon": "codecarbon",
    "duckdb": "fleet",
    "fsspec": "fleet",
    "huggingface_hub": "hub",
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
app.command(context_settings=FORWARDING)(run)


app.command()(report)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders that hold some.")
    ],
    baseline: Annotated[str, typer.Option(help="Variant that the others are compared with.")],
    per: Annotated[
        str,
        typer.Option(
            callback=unit,
            metavar="UNIT",
            help="token, sample, step, flop, active_flop; or loss:2.5, energy until that loss.",
        ),
    ] = "token",
    json: Annotated[Path | None, typer.Option(help="Write the comparison as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write it as CSV, one row a variant.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as a page.")] = None,
    across: Annotated[
        Across | None,
        typer.Option(help="Compare runs on unlike devices too; refused where not given."),
    ] = None,
) -> None:
    """Compare variants by energy and time for the same work, with 95 % intervals.

    Runs are paired by `repeat` or `seed` of their config, never by the order of folders; the
    interval is Student's t on the logs of the paired ratios, or Welch's where not every run has
    its partner. Verdicts on several variants are adjusted by Holm. One run of each variant gives a
    ratio and no verdict; modelled energy never gets one; energy until a loss needs three seeds.

    Energy is gross, idle power included. Where the config has `idle_power_w`, the ratio above idle
    stands beside it.
    """
    from greenai import api  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters.contrasts import about_devices  # noqa: PLC0415 - the same
    from greenai.exporters.report_terminal import (  # noqa: PLC0415 - the same
        comparison_report,
        lens_report,
    )
    from greenai.lens import lens_of  # noqa: PLC0415 - the same

    folders = dict.fromkeys(folder.resolve() for path in runs for folder in api.run_folders(path))
    loaded = [api.load(folder) for folder in folders]
    found = api.compare(loaded, baseline=baseline, per=per, across_devices=across is not None)
    others = about_devices(loaded)
    _console().print(comparison_report(found, others))
    lens = lens_of(loaded, baseline=baseline, per=per)
    _console().print(lens_report(lens))
    _say_files(_write_comparison(found, others, lens, json=json, csv=csv, html=html))


app.command()(export)


@app.command()
def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object; what is unknown is null.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(callback=span, help="How long each sensor is read; more tells more."),
    ] = 3.0,
    sensor: Annotated[
        list[str] | None,
        typer.Option(
            callback=sensor_names,
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


app.command()(bench)


app.command()(merge)
app.command()(scaling)
app.command()(index)
app.command()(runs)
app.command()(push)
app.command()(estimate)


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
        complain(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None
    except ImportError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None and "pip install" not in str(error):
            raise
        complain(
            str(error)
            if extra is None
            else f"{error.name} is not installed, which this command needs.\n\n"
            f'hint: pip install "greenai[{extra}]"'
        )
        raise SystemExit(1) from None


def _write_comparison(
    comparison: Comparison,
    others: Iterable[str],
    lens: Lens,
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
        files.write_json(json, {**comparison.to_json(), "why": lens.to_json()})
        written.append(("data", json))
    if csv is not None:
        tables.write_csv(csv, tables.comparison_table(comparison))
        written.append(("table", csv))
    if html is not None:
        write_comparison_page(comparison, html, others=others, lens=lens)
        written.append(("page", html))
    return written


def _progress(text: str) -> None:
    """Show on a terminal what is going on, in one line; an empty text wipes it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
