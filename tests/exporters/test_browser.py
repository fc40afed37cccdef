"""Laws that only a browser can check: the page draws its plots, alone, and nothing foreign runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from greenai.exporters.report_html import report_html

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: no page was opened"),
]


def opened(markup: str, folder: Path, *options: str) -> tuple[str, str]:
    """What the page has become after its scripts ran, and what the browser complained of."""
    page = folder / "report.html"
    page.write_text(markup, encoding="utf-8")
    answer = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=3000",
            *options,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    said = [line for line in answer.stderr.splitlines() if ":CONSOLE" in line]
    return answer.stdout, "\n".join(said)


def drawn(dom: str) -> int:
    return len(re.findall(r'<figure data-chart="\d" class="drawn">', dom))


def test_every_plot_is_drawn_without_a_complaint(make_run: Any, tmp_path: Path) -> None:
    dom, complaints = opened(report_html(make_run(count=100_000, gpus=8)), tmp_path)
    assert complaints == ""
    assert drawn(dom) == 6
    assert dom.count("<canvas") == 6


def test_a_run_without_sensors_opens_without_a_complaint(unmetered: Any, tmp_path: Path) -> None:
    dom, complaints = opened(report_html(unmetered), tmp_path)
    assert complaints == ""
    assert drawn(dom) == 1


def test_a_script_that_got_into_the_page_does_not_run(run: Any, tmp_path: Path) -> None:
    script = "<script>document.title = 'owned'</script></main>"
    dom, complaints = opened(report_html(run).replace("</main>", script, 1), tmp_path)
    assert "<title>owned</title>" not in dom
    assert "Content Security Policy" in complaints
    assert drawn(dom) == 6


def test_no_name_runs_and_the_plots_are_drawn_all_the_same(make_run: Any, tmp_path: Path) -> None:
    nasty = (
        "</script><script>document.title='owned'</script><!-- \u2028 <img src=x onerror=alert(1)>"
    )
    run = make_run(name=nasty, variant=nasty, notices=(nasty,))
    run.curves = [type(one)(nasty, one.kind, one.trust, one.t_s, one.power_w) for one in run.curves]
    dom, complaints = opened(report_html(run), tmp_path)
    assert complaints == ""
    assert "<title>owned</title>" not in dom
    assert "<img" not in dom
    assert drawn(dom) == 6
