"""The report of a run as one HTML file that opens anywhere, prints, and asks no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from greenai.exporters import page
from greenai.exporters.charts import charts_of
from greenai.exporters.drawing import line_chart, style_of
from greenai.exporters.files import write_text
from greenai.exporters.further_charts import further_charts
from greenai.exporters.outline import outline_of
from greenai.exporters.phase_bars import phase_figure

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.exporters.charts import Chart
    from greenai.exporters.outline import Outline
    from greenai.exporters.readable import ReadableRun
    from greenai.exporters.sheets import Section


def write_report(run: ReadableRun, path: Path) -> None:
    """Write the report of a run.

    Args:
        run: The run.
        path: The HTML file; replaced whole.

    Raises:
        RecordError: The file cannot be written.
    """
    write_text(path, report_html(run))


def report_html(run: ReadableRun) -> str:
    """Render a run as one self-contained HTML page.

    Curves are thinned to 2,000 points each, lowest and highest of each pixel column, and drawn by
    uPlot, which the page contains; the same plots come as SVG for print and without JavaScript.

    Args:
        run: The run.

    Returns:
        HTML; every text that comes from the run is escaped.
    """
    outline, charts = outline_of(run), (*charts_of(run), *further_charts(run))
    live = [chart for chart in charts if chart.curves]
    figures = "".join(_figure(chart, live) for chart in charts)
    body = "".join(
        (
            '<header><p class="brand">greenai · energy and emissions of a training run</p>',
            page.heading(1, outline.title),
            f'<p class="subtitle">{escape(outline.subtitle)}</p></header>',
            page.tiles(outline.headline),
            page.notices(outline.notices),
            *(_energy_section(one, outline, run) for one in outline.energy_sections()),
            page.heading(2, "Over the run"),
            figures,
            *(page.section(one) for one in outline.further_sections()),
        )
    )
    return page.page(f"{outline.title} · greenai", body, [chart.to_json() for chart in live])


def _energy_section(part: Section, outline: Outline, run: ReadableRun) -> str:
    """A table of energies; that of the phases is drawn beneath it."""
    drawing = phase_figure(run.phases()) if part.sheet is outline.phases else ""
    return page.section(part) + drawing


def _figure(chart: Chart, live: list[Chart]) -> str:
    """A plot as SVG, with a key where it has several curves; the page's script draws over it."""
    head = page.heading(3, chart.title)
    caption = f"<figcaption>{escape(chart.summary)}</figcaption>"
    if not chart.curves:
        return f"<figure>{head}{caption}</figure>"
    key = ""
    if len(chart.curves) > 1:
        key = "".join(
            f'<span><svg viewBox="0 0 26 10" aria-hidden="true"><path class="{style_of(number)}" '
            f'd="M1 5H25"/></svg>{escape(curve.name)}</span>'
            for number, curve in enumerate(chart.curves)
        )
        key = f'<div class="key still">{key}</div>'
    position = next(number for number, one in enumerate(live) if one is chart)
    return f'<figure data-chart="{position}">{head}{line_chart(chart)}{key}{caption}</figure>'
