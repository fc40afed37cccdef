"""The commands on many runs: make their index, list those that fit, copy one to a URL."""

from __future__ import annotations

import io
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.commands.terminal import complain, say_files
from greenai.errors import OrderError, RecordError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.fleet.places import Place
    from greenai.fleet.query import Fleet
    from greenai.fleet.rows import Row

Root = Annotated[
    str, typer.Argument(metavar="ROOT", help="Folder or URL below which runs lie, at any depth.")
]
NAMED_MAX = 5
"""Runs named on standard error; the others are counted."""


def index(
    root: Root,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; ROOT/index.parquet where not given.")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute every run from its record.")
    ] = False,
) -> None:
    """Put the summaries of all runs below ROOT into one Parquet file.

    One row a run: those that failed or still run too, and those that cannot be read, with the
    reason in `problem`. A summary.json that is older than its record, or missing, is computed from
    the record; `source` says which. The index is replaced whole; run it again for newer runs.
    """
    from greenai.exporters.files import replacing  # noqa: PLC0415 - help must come at once
    from greenai.fleet.gathering import gather  # noqa: PLC0415 - the same
    from greenai.fleet.index import index_bytes  # noqa: PLC0415 - loads DuckDB
    from greenai.fleet.places import INDEX_FILE, place_of  # noqa: PLC0415 - the same
    from greenai.fleet.rows import COMPUTED, UNREADABLE  # noqa: PLC0415 - the same

    place = place_of(root)
    rows = gather(place, compute=recompute, say=_progress)
    data = index_bytes(rows)
    if out is None:
        place.put(INDEX_FILE, io.BytesIO(data))
    else:
        with replacing(out) as file:
            file.write(data)
    computed = sum(row["source"] == COMPUTED for row in rows)
    broken = [(row["folder"], row["problem"]) for row in rows if row["source"] == UNREADABLE]
    typer.echo(f"{len(rows)} runs, {computed} of them computed from the record.")
    _say_unreadable(broken)
    say_files([("index", out or root.rstrip("/") + f"/{INDEX_FILE}")])


def runs(
    root: Annotated[
        str,
        typer.Argument(
            metavar="ROOT", help="Folder or URL below which runs lie; or an index.parquet."
        ),
    ],
    where: Annotated[
        str, typer.Option(help="Condition in SQL, as \"variant = 'moe' AND steps > 100\".")
    ] = "",
    sort: Annotated[
        str, typer.Option(help="Columns to sort by, commas between; -energy_j: largest first.")
    ] = "",
    columns: Annotated[
        str, typer.Option(help="Columns to show, commas between; a few, or all in CSV and JSON.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=0, help="Most runs that are listed.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List the runs below ROOT that fit a condition, from its index or else from their summaries.

    The condition sees the columns of the index and nothing else: no file, no network. A run that
    cannot be read is named on standard error; `--where "problem IS NOT NULL"` lists all of those.
    """
    if csv and json:
        raise OrderError("--csv and --json do not go together.", "", "leave one out")
    from greenai.fleet import listing as forms  # noqa: PLC0415 - help must come at once
    from greenai.fleet.index import opened  # noqa: PLC0415 - loads DuckDB

    shown = _names(columns) or (() if csv or json else forms.SHOWN)
    index_or_rows, place = _found(root)
    with opened(index_or_rows) as fleet:
        if place is not None:
            _say_age(fleet, place, root)
        found = fleet.choose(where, sort=_names(sort), columns=shown, limit=limit)
        broken = fleet.choose("problem IS NOT NULL", columns=("folder", "problem"))
    form = forms.csv_of if csv else forms.json_of if json else forms.text_of
    typer.echo(form(found).removesuffix("\n"))
    _say_unreadable(broken.rows)


def _found(root: str) -> tuple[bytes | list[Row], Place | None]:
    """The index of a root and the place that it is of; else rows made of the summaries now."""
    from greenai.fleet.places import INDEX_BYTES_MAX, INDEX_FILE, place_of  # noqa: PLC0415 - late

    if root.endswith(".parquet"):
        folder, slash, name = root.rpartition("/")
        data = place_of(folder + slash or ".").read(name, INDEX_BYTES_MAX)
        if data is None:
            raise RecordError(
                f"{root} does not exist.", "No run was listed.", "make it: greenai index ROOT"
            )
        return data, None
    place = place_of(root)
    data = place.read(INDEX_FILE, INDEX_BYTES_MAX)
    if data is not None:
        return data, place
    from greenai.fleet.gathering import gather  # noqa: PLC0415 - only where there is no index

    return gather(place, say=_progress), None


def _say_age(fleet: Fleet, place: Place, root: str) -> None:
    """Say on standard error of when the index is, and which runs it lacks."""
    listed = fleet.choose(columns=("folder", "indexed_utc")).rows
    written = max((when for _, when in listed if when is not None), default=None)
    missing = sorted(set(place.names()) - {folder for folder, _ in listed})
    age = "" if written is None else f" of {written.isoformat(sep=' ', timespec='seconds')} UTC"
    lacks = f"; {len(missing)} runs are not in it, as {missing[0]}" if missing else ""
    typer.echo(f"From the index{age}{lacks}. Newer: greenai index {root}", err=True)


def _say_unreadable(broken: Sequence[tuple[str, str]]) -> None:
    for folder, problem in broken[:NAMED_MAX]:
        complain(f"{folder} cannot be read whole: {problem}", style="yellow")
    if len(broken) > NAMED_MAX:
        complain(f"{len(broken) - NAMED_MAX} more cannot be read whole.", style="yellow")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _progress(text: str) -> None:
    """Show on a terminal what is going on, in one line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of this machine.")],
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Where the run's folder shall be, as s3://bucket/runs/dense; "
            "with / at its end, the folder that it shall be in.",
        ),
    ],
) -> None:
    """Copy the record of a run, finished or not, to a URL or to another folder.

    The summary goes last: where it is, all is. Repeat the command to go on after a failure, or for
    what was recorded since. Nothing is deleted, and no other run is overwritten. Credentials come
    from the environment, as fsspec's file systems take them.
    """
    from greenai.fleet import push as pushing  # noqa: PLC0415 - help must come at once

    done = pushing.push(run, url)
    for notice in done.notices:
        complain(notice, style="yellow")
    typer.echo(
        f"{len(done.copied)} files of {done.size_bytes} bytes copied, {done.kept} there already."
    )
    say_files([("run", pushing.target_of(run, url))])
