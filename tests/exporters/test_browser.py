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


def test_a_hundred_thousand_steps_open_within_a_second_and_fit_a_phone(
    make_run: Any, tmp_path: Path
) -> None:
    """Given a browser that runs, the fastest of eight is the page's own time; light and dark."""
    pytest.importorskip("playwright", reason="playwright comes with the extra dev")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - see above

    file = tmp_path / "report.html"
    file.write_text(report_html(make_run(count=100_000, gpus=8)), encoding="utf-8")
    loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened_ms = []
        for wide, scheme in ((1100, "light"), (1100, "dark"), (390, "light"), (390, "dark")):
            tab = browser.new_page(
                viewport={"width": wide, "height": 900},
                color_scheme=scheme,  # type: ignore[arg-type] # a word from the table above
            )
            for _ in range(2):
                tab.goto(file.as_uri())
                tab.wait_for_function(f"{loaded} > 0")
                opened_ms.append(tab.evaluate(loaded))
            assert tab.evaluate("document.documentElement.scrollWidth") == wide
            assert tab.locator("canvas").count() == 6
            tab.close()
        browser.close()
    assert min(opened_ms) <= 1000


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
