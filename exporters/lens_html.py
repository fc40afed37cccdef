"""Why variants differ, as sections of a page: plots first, then the sheets behind them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from greenai.exporters import page
from greenai.exporters.drawing import line_chart, style_of
from greenai.exporters.lens_charts import lens_plots
from greenai.exporters.lens_sheets import lens_sheets
from greenai.exporters.router_bars import router_figures

if TYPE_CHECKING:
    from greenai.analysis.lens import Lens
    from greenai.exporters.lens_charts import Plot


def lens_sections(lens: Lens) -> str:
    """Markup of the sections; every text is escaped."""
    plots = "".join(_figure(plot) for plot in lens_plots(lens))
    sheets = "".join(
        page.heading(2, sheet.title)
        + page.table(sheet)
        + (router_figures(lens) if sheet.title == "Routers" else "")
        for sheet in lens_sheets(lens)
    )
    return plots + sheets


def _figure(plot: Plot) -> str:
    key = "".join(
        f'<span><svg viewBox="0 0 26 10" aria-hidden="true">{_sample(number, dots=plot.dots)}</svg>'
        f"{escape(name)}</span>"
        for name, number in plot.key
    )
    drawing = line_chart(plot.chart, plot.colours, dots=plot.dots)
    return (
        page.heading(2, plot.chart.title)
        + f'<figure id="{plot.chart.key}">{drawing}<div class="key">{key}</div>'
        f"<figcaption>{escape(plot.chart.summary)}</figcaption></figure>"
    )


def _sample(number: int, *, dots: bool) -> str:
    style = style_of(number)
    if dots:
        return f'<circle class="dot {style}" cx="13" cy="5" r="4"/>'
    return f'<path class="{style}" d="M1 5h24"/>'
