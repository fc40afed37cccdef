"""A page as PDF, printed by Chromium where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from greenai.errors import OrderError, RecordError
from greenai.exporters.files import replacing

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 180.0
FIRST_BYTES = b"%PDF-"


def write_pdf(markup: str, path: Path, *, browser: str | None = None) -> None:
    """Print a page to PDF.

    The browser runs alone in an empty profile that is removed afterwards; the page needs no
    network and gets none of the user's settings.

    Args:
        markup: HTML that needs nothing but itself.
        path: The PDF file; replaced whole.
        browser: Program to print with; the first of ``BROWSERS`` that is found where None.

    Raises:
        OrderError: No such browser is installed.
        RecordError: The browser printed nothing, or the file cannot be written.
    """
    program = browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise OrderError(
            "No Chromium was found to print the PDF with.",
            "No PDF was written; the numbers are not affected.",
            "apt-get install chromium, or give --html and print the page from a browser",
        )
    with tempfile.TemporaryDirectory(prefix="greenai-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        page, printed = folder / "report.html", folder / "report.pdf"
        page.write_bytes(markup.encode("utf-8", "replace"))
        reason = _print(program, page, printed)
        data = printed.read_bytes() if printed.is_file() else b""
    if not data.startswith(FIRST_BYTES):
        raise RecordError(
            f"{program} printed no PDF: {reason or 'it said nothing'}.",
            "No PDF was written; the numbers are not affected.",
            "give --html and print the page from a browser",
            path=path,
        )
    with replacing(path) as file:
        file.write(data)


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
