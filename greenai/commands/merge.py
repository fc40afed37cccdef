"""The command that puts the folders of one run together, where ranks shared no file system."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import Annotated

import typer

from greenai.commands.terminal import complain, say_files


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of one run: of its nodes, or its attempts."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.")],
) -> None:
    """Copy ranks and attempts of one run into one run folder.

    For nodes without a shared file system, and for a training that went on in another folder. The
    order does not matter, the folders stay as they are. Folders of different runs, or with the
    same attempt of the same rank twice, are refused.
    """
    from greenai.api import load  # noqa: PLC0415 - help must not wait for pandas
    from greenai.record.gather import gather  # noqa: PLC0415 - the same

    pieces = gather(runs, out)
    ranks = len({piece.rank for piece in pieces})
    typer.echo(f"{len(pieces)} attempts of {ranks} ranks are in {out}.")
    for notice in load(out, partial=True).notices:
        if "ranks are here" in notice or "lie elsewhere" in notice:
            complain(notice, style="yellow")
    say_files([("run", out)])
