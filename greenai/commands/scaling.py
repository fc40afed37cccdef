"""The command ``greenai scaling``: how loss falls with energy, and what a loss would cost."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from greenai.commands.terminal import Across, console


def scaling(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders that hold some.")
    ],
    loss: Annotated[
        float | None, typer.Option(help="Say what this loss would cost in kWh on this device.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object; what is unknown is null.")
    ] = False,
    across: Annotated[
        Across | None,
        typer.Option(help="Fit runs on unlike devices together; refused where not given."),
    ] = None,
) -> None:
    """Fit loss against energy, tokens and active parameters over runs of at least four sizes.

    A run's loss is the one on held-out text where every run's config has it
    (held_out_loss_nats), else the mean of the last tenth of its logged training losses. Its
    energy is that of the whole run, its parameters are the config's active_parameters.
    """
    from greenai import api  # noqa: PLC0415 - help must not wait for pandas

    folders = dict.fromkeys(folder.resolve() for path in runs for folder in api.run_folders(path))
    found = api.scaling(folders, across_devices=across is not None)
    if json:
        from json import dumps  # noqa: PLC0415 - for scripts only

        plain = found.to_json(loss)
        typer.echo(dumps(plain, indent=2, allow_nan=False, ensure_ascii=False))
        return
    from greenai.exporters.report_terminal import scaling_report  # noqa: PLC0415 - loads rich

    console().print(scaling_report(found, loss))
