"""The report of a run and of a comparison for a terminal, as rich renderables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from greenai.exporters import contrasts, scaling_text
from greenai.exporters.lens_sheets import lens_sheets
from greenai.exporters.outline import outline_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from greenai.analysis.compare import Comparison
    from greenai.analysis.lens import Lens
    from greenai.analysis.scaling import Scaling
    from greenai.exporters.readable import ReadableRun
    from greenai.exporters.sheets import Fact, Sheet

HEADING = "bold green"
STYLES = {
    "measured": "green",
    "modelled": "yellow",
    "assumed": "red",
    "less": "bold green",
    "more": "bold red",
    "not resolved": "yellow",
    "unknown": "dim",
    "not metered": "dim",
}
"""Colours of cells that say one of these words; the word itself says it without colour."""


def run_report(run: ReadableRun) -> RenderableType:
    """Render a run: figures, notices, components, phases, emissions and work.

    Args:
        run: The run.

    Returns:
        For ``rich.console.Console.print``; no text of the run is taken for markup.
    """
    outline = outline_of(run)
    return Group(
        Text(outline.title, style="bold"),
        Text(outline.subtitle, style="dim"),
        Text(),
        _facts(outline.headline),
        *_notices(outline.notices),
        *_section(outline.components),
        *_section(outline.phases),
        _heading("Emissions"),
        _facts(outline.emissions),
        _heading("Work"),
        _facts(outline.work),
    )


def comparison_report(comparison: Comparison, others: Iterable[str] = ()) -> RenderableType:
    """Render a comparison: energy and time of every variant against the baseline.

    Args:
        comparison: The comparison.
        others: Sentences of whoever made the runs, shown after the comparison's own.

    Returns:
        For ``rich.console.Console.print``.
    """
    further = contrasts.evidence_sheet(comparison), contrasts.above_idle_sheet(comparison)
    return Group(
        *_section(contrasts.energy_sheet(comparison)),
        *_section(contrasts.time_sheet(comparison)),
        *(part for sheet in further if sheet for part in _section(sheet)),
        Text(),
        Text(contrasts.explanation(comparison), style="dim"),
        *_notices(contrasts.footnotes(comparison, others)),
    )


def sheet_report(sheet: Sheet) -> RenderableType:
    """Render one table under its heading.

    Args:
        sheet: The table.

    Returns:
        For ``rich.console.Console.print``.
    """
    return Group(*_section(sheet))


def lens_report(lens: Lens) -> RenderableType:
    """Render why the variants of a comparison differ, as far as their records tell.

    Args:
        lens: The runs that were compared.

    Returns:
        For ``rich.console.Console.print``.
    """
    sections = [part for sheet in lens_sheets(lens) for part in _section(sheet)]
    return Group(*sections, *_notices(lens.notes))


def scaling_report(found: Scaling, loss: float | None = None) -> RenderableType:
    """Render the laws of a scaling fit and, where asked, what a loss would cost.

    Args:
        found: The fit.
        loss: A loss to be reached; None asks for none.

    Returns:
        For ``rich.console.Console.print``.

    Raises:
        ComparisonError: Nothing can be said of the loss.
    """
    answer = () if loss is None else (Text(), Text(scaling_text.answer_text(found, loss)))
    return Group(
        *_section(scaling_text.law_sheet(found)),
        *answer,
        *_notices(scaling_text.footnotes(found)),
    )


def _heading(text: str) -> RenderableType:
    return Padding(Text(text, style=HEADING), (1, 0, 0, 0))


def _section(sheet: Sheet) -> tuple[RenderableType, ...]:
    note = (Text(sheet.note, style="dim"),) if sheet.note else ()
    return _heading(sheet.title), _table(sheet), *note


def _table(sheet: Sheet) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    for column in sheet.columns:
        table.add_column(
            Text(column.title),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
        )
    for number, row in enumerate(sheet.rows):
        is_total = sheet.has_total and number == len(sheet.rows) - 1
        table.add_row(*map(_cell, row), style="bold" if is_total else "")
    return table


def _cell(text: str) -> Text:
    return Text(text, style=STYLES.get(text.partition(":")[0], ""))


def _facts(facts: Sequence[Fact]) -> Table:
    """Names, values and remarks in three columns; only remarks break."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(style="dim", overflow="fold")
    for fact in facts:
        table.add_row(Text(fact.name), _cell(fact.value), Text(fact.remark))
    return table


def _notices(texts: Sequence[str]) -> tuple[RenderableType, ...]:
    if not texts:
        return ()
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="yellow")
    table.add_column(overflow="fold")
    for text in texts:
        table.add_row("!", Text(text))
    return (_heading("Before you use these numbers"), table)
