"""The command that shows runs as they go: a page, the node's /metrics, or the terminal."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from greenai.commands.terminal import complain, console
from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.exporters.endpoint import Endpoint
    from greenai.following.folder import Watch


LAST_S = 2.5
"""How long a page outlives its sampler, so that viewers see the end."""


def watch(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|FOLDER", help="Run folder, or one that holds runs.")
    ],
    port: Annotated[int, typer.Option(help="Port of the page and /metrics; 0 takes any.")] = 0,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    strict_port: Annotated[
        bool, typer.Option("--strict-port", help="A port that is taken is an error.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines without a token.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Further name of this machine that browsers may use; repeatable."),
    ] = None,
    certfile: Annotated[
        Path | None, typer.Option(help="PEM file with the certificate: serves HTTPS.")
    ] = None,
    keyfile: Annotated[Path | None, typer.Option(help="PEM file with its key.")] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Show it here; nothing is served.")
    ] = False,
) -> None:
    """Watch runs, live or finished, from any machine that sees their folder.

    Reads the record alone: the training neither knows nor waits. The page shows power by device,
    energy per step with its interval, J/token, loss, emissions, phases, the forecast, gaps and
    warnings, for several runs side by side; `/metrics` on the same port shows every run that is
    going on, each once. Other addresses than loopback need a token in GREENAI_METRICS_TOKEN (a
    browser asks for it as a password), or --insecure. Ctrl-C ends it; the runs go on.
    """
    from greenai.following.folder import Watch  # noqa: PLC0415 - help must not wait for numpy

    watched = Watch(path)
    if terminal:
        from greenai.exporters.watch_terminal import show  # noqa: PLC0415 - the same

        with contextlib.suppress(KeyboardInterrupt):
            show(watched.update, watched.state, console(), time.sleep)
        return
    if certfile is None and keyfile is not None:
        raise OrderError("--keyfile needs --certfile.", hint="give the certificate too")
    endpoint = serve(
        watched, host, port, strict_port=strict_port, insecure=insecure, names=tuple(name or ()),
        certfile=certfile, keyfile=keyfile,
    )  # fmt: skip
    try:
        with contextlib.suppress(KeyboardInterrupt):
            watched.start()
            if endpoint.warning:
                complain(endpoint.warning, style="yellow")
            typer.echo(f"page:    {endpoint.url}/\nmetrics: {endpoint.url}/metrics")
            threading.Event().wait()
    finally:
        endpoint.close()
        watched.close()


def serve_beside(
    run_folder: Path, sampler_ended: Callable[[float], bool], listening: Callable[[int], None]
) -> None:
    """Serve one run's page on this machine as long as its sampler lives, and to its last word.

    Args:
        run_folder: The run.
        sampler_ended: Waits for so many seconds; whether the sampler has ended.
        listening: Told the port.
    """
    from greenai.following.folder import UPDATE_S, Watch  # noqa: PLC0415 - loads numpy

    watched = Watch(run_folder)
    endpoint = serve(watched, "127.0.0.1", 0)
    listening(endpoint.port)
    watched.start()
    while not sampler_ended(UPDATE_S):
        pass
    time.sleep(LAST_S)  # the end of the run is read and told
    endpoint.close()
    watched.close()


def serve(
    watched: Watch,
    host: str,
    port: int,
    *,
    strict_port: bool = False,
    insecure: bool = False,
    names: tuple[str, ...] = (),
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> Endpoint:
    """Serve the page, its events and /metrics.

    Raises:
        OrderError: The address or port cannot be had, or others reach it without a token.
    """
    from greenai.exporters.access import Access, token_of  # noqa: PLC0415 - only where it serves
    from greenai.exporters.endpoint import listen  # noqa: PLC0415 - the same
    from greenai.exporters.prometheus import metrics_page, registry_of  # noqa: PLC0415 - the same
    from greenai.exporters.watch_page import pages_of  # noqa: PLC0415 - the same

    access = Access(
        token=token_of(),
        insecure=insecure,
        hosts=names,
        certfile=None if certfile is None else str(certfile),
        keyfile=None if keyfile is None else str(keyfile),
    )
    pages = pages_of(watched.feed)
    pages["/metrics"] = metrics_page(registry_of(watched.live.collect))
    return listen(pages, address=host, port=port, access=access, strict_port=strict_port)
