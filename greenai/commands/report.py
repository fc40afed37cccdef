"""The commands that say what a run cost, or many, on the terminal and as files."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenai.commands.factors import (
    Currency,
    DeviceNames,
    Ewif,
    Market,
    Price,
    PriceFile,
    Sources,
    Wue,
    factors_of,
)
from greenai.commands.intensity import IntensityFile, Service, Zone, intensity_of
from greenai.commands.terminal import (
    Country,
    IntensityTable,
    Pue,
    PueSource,
    Region,
    complain,
    console,
    say_files,
)
from greenai.errors import OrderError, RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.run import Run

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
Partial = Annotated[
    bool, typer.Option("--partial", help="Take what lies before a damaged part of the record.")
]
LastDay = Annotated[
    datetime | None,
    typer.Option("--to", formats=["%Y-%m-%d"], help="With --by: last day, included."),
]


class Format(enum.StrEnum):
    """Files that a run can be exported to."""

    csv = "csv"
    parquet = "parquet"
    json = "json"
    emissions = "emissions"
    model_card = "model-card"
    openmetrics = "openmetrics"
    boamps = "boamps"
    gpai_form = "gpai-form"


class Infrastructure(enum.StrEnum):
    """What a BoAmps report calls what a run ran on."""

    public_cloud = "publicCloud"
    private_cloud = "privateCloud"
    on_premise = "onPremise"
    other = "other"


class Training(enum.StrEnum):
    """What a model card calls the training."""

    pre_training = "pre-training"
    fine_tuning = "fine-tuning"


def report(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Run folder or URL; with --by one that holds runs."),
    ],
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; RUN/report.html where not given.")
    ] = None,
    md: Annotated[Path | None, typer.Option(help="Write the report as Markdown.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON.")] = None,
    pdf: Annotated[
        Path | None, typer.Option(help="Write it as PDF, by Chromium or WeasyPrint.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="With --by: write the runs as CSV.")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Report the runs below RUN by project,month,variant or place."),
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="With --by: first day, in UTC."),
    ] = None,
    last: LastDay = None,
    partial: Partial = False,
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    pue_source: PueSource = None,
    intensity_table: IntensityTable = None,
    intensity_file: IntensityFile = None,
    intensity: Service = None,
    zone: Zone = None,
    wue: Wue = None,
    ewif: Ewif = None,
    price: Price = None,
    price_file: PriceFile = None,
    currency: Currency = "",
    market: Market = None,
    device: DeviceNames = None,
    source: Sources = None,
) -> None:
    """Show a run: energy, emissions, phases; and write the page with its plots.

    Other factors than the recorded ones compute it anew; the record itself is never changed.
    With --by, show many runs instead, failed ones included.
    """
    given = factors_of(
        wue=wue, ewif=ewif, price=price, currency=currency, market=market, devices=device,
        price_file=price_file,
        sources=source,
    )  # fmt: skip
    if by is not None or first is not None or last is not None or csv is not None:
        if md or json or pdf or intensity_file or intensity or zone:
            raise OrderError(
                "--md, --json, --pdf and intensities over time are for one run.",
                "Nothing was reported.",
                "leave them out with --by; --html and --csv are written",
            )
        _report_many(
            run, by or "project,month", first, last, html, csv,
            country=country, region=region, pue=pue, pue_source=pue_source,
            intensity_table=intensity_table, factors=given,
        )  # fmt: skip
        return
    from greenai.api import load  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters.report_terminal import run_report  # noqa: PLC0415 - the same
    from greenai.fleet.places import at_hand, is_url  # noqa: PLC0415 - the same

    with at_hand(run) as folder:
        series = intensity_of(folder, intensity_file, intensity, zone, partial=partial)
        loaded = load(
            folder, partial=partial, country=country, region=region, pue=pue,
            pue_source=pue_source, intensity=series, intensity_table=intensity_table,
            factors=given,
        )  # fmt: skip
        console().print(run_report(loaded))
        page = html or (None if is_url(run) else folder / "report.html")
        say_files(_write_report(loaded, page, named=html is not None, md=md, json=json, pdf=pdf))


def export(
    run: RunFolder,
    formats: Annotated[
        list[Format], typer.Option("--format", help="What to write; may be given several times.")
    ] = [Format.csv],  # noqa: B006 - typer reads it and changes nothing
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN if not given.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="With model-card: the README.md to patch.")
    ] = None,
    training: Annotated[
        Training | None,
        typer.Option(help="With model-card and boamps: what kind of training it was."),
    ] = None,
    task_family: Annotated[
        str, typer.Option(help="With boamps: family of the task, such as 'text generation'.")
    ] = "",
    infrastructure: Annotated[
        Infrastructure | None, typer.Option(help="With boamps: what it ran on.")
    ] = None,
    partial: Partial = False,
    country: Country = None,
    region: Region = None,
    pue: Pue = None,
    pue_source: PueSource = None,
    intensity_table: IntensityTable = None,
    intensity_file: IntensityFile = None,
    intensity: Service = None,
    zone: Zone = None,
) -> None:
    """Write steps.csv and phases.csv, steps.parquet, summary.json, or what other programs read.

    `emissions` writes emissions.csv as CodeCarbon has it; `model-card` puts the emissions, in
    grams, into the metadata of a Hugging Face model card on this disk; `openmetrics` writes
    openmetrics.txt, the counters by time, for `promtool tsdb create-blocks-from openmetrics`;
    `boamps` writes boamps.json as Boavizta has it; `gpai-form` writes the energy and compute fields
    of the EU's form for general-purpose models, gpai-form.md and gpai-form.json.
    """
    if Format.model_card in formats and card is None:
        raise OrderError(
            "--format model-card needs a card.", "Nothing was written.", "add --card README.md"
        )
    from greenai.api import load  # noqa: PLC0415 - help must not wait for pandas
    from greenai.exporters import tables  # noqa: PLC0415 - the same

    series = intensity_of(run, intensity_file, intensity, zone, partial=partial)
    loaded = load(
        run, partial=partial, country=country, region=region, pue=pue, pue_source=pue_source,
        intensity=series, intensity_table=intensity_table,
    )  # fmt: skip
    for attempt in loaded.record.attempts:
        for problem in attempt.problems:
            complain(problem, style="yellow")
    names = [one.value for one in formats if one.value in tables.FORMATS]
    written = [("file", path) for path in tables.export(loaded, out or run, names)]
    if Format.emissions in formats:
        from greenai.exporters.emissions import write_emissions  # noqa: PLC0415 - loads pandas

        write_emissions(loaded, path := (out or run) / "emissions.csv")
        written.append(("file", path))
    if Format.openmetrics in formats:
        from greenai.backfill import courses_of  # noqa: PLC0415 - loads pandas
        from greenai.exporters.openmetrics import FILE, write_openmetrics  # noqa: PLC0415

        write_openmetrics(path := (out or run) / FILE, courses_of(loaded))
        written.append(("file", path))
    if Format.model_card in formats and card is not None:
        from greenai.exporters.model_card import card_metadata, patch_card  # noqa: PLC0415 - extra

        patch_card(card, card_metadata(loaded.summary(), training.value if training else None))
        written.append(("card", card))
    written.extend(
        ("file", path)
        for path in _write_forms(
            loaded,
            out or run,
            formats,
            training=training,
            family=task_family,
            infrastructure=infrastructure,
        )
    )
    say_files(written)


def _write_forms(
    loaded: Run,
    folder: Path,
    formats: list[Format],
    *,
    training: Training | None,
    family: str,
    infrastructure: Infrastructure | None,
) -> Iterator[Path]:
    """Write the forms of others that were asked for."""
    from greenai.exporters import boamps, files, gpai_form  # noqa: PLC0415 - loads pandas

    if Format.boamps in formats:
        report = boamps.boamps_report(
            loaded,
            family=family,
            infrastructure=infrastructure.value if infrastructure is not None else "",
            stage="finetuning" if training is Training.fine_tuning else "training",
            published_utc=datetime.now(UTC).isoformat(),
        )
        files.write_json(path := folder / "boamps.json", report)
        yield path
    if Format.gpai_form in formats:
        files.write_text(path := folder / "gpai-form.md", gpai_form.gpai_markdown(loaded))
        yield path
        files.write_json(path := folder / "gpai-form.json", gpai_form.gpai_json(loaded))
        yield path


def _write_report(
    loaded: Run, page: Path | None, *, named: bool, md: Path | None, json: Path | None,
    pdf: Path | None,
) -> list[tuple[str, Path]]:  # fmt: skip
    """Write the page, and the other forms that were asked for."""
    from greenai.exporters import files, report_html, report_markdown  # noqa: PLC0415 - pandas

    written = []
    try:
        if page is not None:
            report_html.write_report(loaded, page)
            written.append(("page", page))
    except RecordError as error:
        if named:
            raise
        complain(f"{error.what} Use --html to write the page elsewhere.", style="yellow")
    if md is not None:
        files.write_text(md, report_markdown.report_markdown(loaded))
        written.append(("text", md))
    if json is not None:
        files.write_json(json, report_markdown.report_json(loaded))
        written.append(("data", json))
    if pdf is not None:
        from greenai.exporters.pdf import write_pdf  # noqa: PLC0415 - rarely needed

        write_pdf(report_html.report_html(loaded), pdf)
        written.append(("pdf", pdf))
    return written


def _report_many(
    root: str,
    by: str,
    first: datetime | None,
    last: datetime | None,
    html: Path | None,
    csv: Path | None,
    **factors: Any,
) -> None:
    """Show sums over the runs below a folder, and write the page and the table asked for."""
    from greenai import grid  # noqa: PLC0415 - help must come at once
    from greenai.exporters import portfolio  # noqa: PLC0415 - loads pandas
    from greenai.exporters.report_terminal import sheet_report  # noqa: PLC0415 - the same
    from greenai.overview import entries_of  # noqa: PLC0415 - the same

    keys = portfolio.keys_of(by)
    names = (factors[name] for name in ("country", "region", "intensity_table"))
    grid.check(*names)  # a wrong word is no fault of a run's
    days = (None if day is None else day.date() for day in (first, last))
    entries = entries_of(root, *days, **factors)
    console().print(sheet_report(portfolio.groups_sheet(entries, keys)))
    written = []
    if html is not None:
        title = Path(root).name if "://" in root else Path(root).resolve().name or root
        portfolio.write_runs_page(html, title, entries, keys)
        written.append(("page", html))
    if csv is not None:
        portfolio.write_runs_csv(csv, entries)
        written.append(("table", csv))
    say_files(written)
