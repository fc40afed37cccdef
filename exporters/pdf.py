"""A page as PDF, printed by Chromium where it is installed, else by WeasyPrint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from greenai.errors import OrderError, RecordError
from greenai.exporters.files import replacing

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 180.0
FIRST_BYTES = b"%PDF-"
STYLES = Path(__file__).with_name("assets") / "report.css"


def write_pdf(markup: str, path: Path, *, browser: str | None = None) -> None:
    """Print a page to PDF.

    The browser runs alone in an empty profile that is removed afterwards; the page needs no
    network and gets none of the user's settings. Where no browser is found WeasyPrint prints it,
    which fetches nothing either.

    Args:
        markup: HTML that needs nothing but itself.
        path: The PDF file; replaced whole.
        browser: Program to print with; the first of ``BROWSERS`` that is found where None.

    Raises:
        OrderError: Neither such a browser nor WeasyPrint is installed.
        RecordError: Nothing was printed, or the file cannot be written.
    """
    program = browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        data, reason = _by_weasyprint(markup), ""
    else:
        data, reason = _by_browser(markup, program)
    if not data.startswith(FIRST_BYTES):
        raise RecordError(
            f"{program or 'WeasyPrint'} printed no PDF: {reason or 'it said nothing'}.",
            "No PDF was written; the numbers are not affected.",
            "give --html and print the page from a browser",
            path=path,
        )
    with replacing(path) as file:
        file.write(data)


def _by_browser(markup: str, program: str) -> tuple[bytes, str]:
    with tempfile.TemporaryDirectory(prefix="greenai-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        page, printed = folder / "report.html", folder / "report.pdf"
        page.write_bytes(markup.encode("utf-8", "replace"))
        reason = _print(program, page, printed)
        return printed.read_bytes() if printed.is_file() else b"", reason


def _by_weasyprint(markup: str) -> bytes:
    """Print without a browser; scripts do not run, so that the SVG plots are what is seen."""
    try:
        from weasyprint import HTML  # noqa: PLC0415 - an extra, and loads slowly
    except (ImportError, OSError) as error:  # OSError: Pango is missing
        raise OrderError(
            f"No Chromium was found to print the PDF with, and no WeasyPrint: {error}.",
            "No PDF was written; the numbers are not affected.",
            'apt-get install chromium, or pip install "greenai[pdf]" with Pango; or give --html '
            "and print the page from a browser",
        ) from None
    text = markup.encode("utf-8", "replace").decode()
    printed: bytes = HTML(string=with_styled_plots(text), url_fetcher=_Nothing()).write_pdf()
    return printed


def with_styled_plots(markup: str) -> str:
    """A page whose plots carry their own colours: WeasyPrint gives a plot none of the page's.

    Example:
        >>> styled = with_styled_plots("<svg viewBox='0 0 1 1'><path class='curve'/></svg>")
        >>> ".curve { fill: none;" in styled, "var(" in styled
        (True, False)
    """
    return re.sub(
        r"<svg\b[^>]*>", lambda found: f"{found[0]}<style>{_plot_styles()}</style>", markup
    )


@cache
def _plot_styles() -> str:
    """Rules of the stylesheet for plots, with the colours of print put in."""
    styles = STYLES.read_text(encoding="utf-8")
    screen, _, printed = styles.partition("@media print")
    colours = dict(re.findall(r"--([\w-]+):\s*([^;]+);", printed))
    rules = re.findall(r"(svg [^{}@]+)\{([^}]*)\}", screen)
    text = " ".join(
        f"{one.replace('svg ', '').strip()} {{ {body.strip()} }}" for one, body in rules
    )
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours.get(found[1], "#000000"), text)


class _Nothing:
    """A fetcher that fetches nothing: nothing in a page can make the machine ask for more."""

    _fail_on_errors = False  # WeasyPrint from 67 on asks its fetcher whether to go on without

    def __call__(self, url: str, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(f"{url[:80]} was not fetched")


def _print(program: str, page: Path, printed: Path) -> str:
    """Let the browser print; its last words where it failed."""
    as_root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    command = [
        program,
        "--headless",
        *as_root,
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-pdf-header-footer",
        f"--user-data-dir={page.parent / 'profile'}",
        "--virtual-time-budget=3000",
        f"--print-to-pdf={printed}",
        page.as_uri(),
    ]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {TIMEOUT_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    lines = answer.stderr.strip().splitlines()
    return f"exit code {answer.returncode}, {lines[-1][:200]}" if lines else ""
