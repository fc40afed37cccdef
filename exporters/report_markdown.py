"""The report of a run as Markdown and as JSON, from the same outline as the page."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from greenai.exporters.files import strict
from greenai.exporters.outline import outline_of

if TYPE_CHECKING:
    from greenai.exporters.readable import ReadableRun
    from greenai.exporters.sheets import Fact, Section, Sheet

_MEANING = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>()#+!|~$"} | {"&": "&amp;"})
"""Signs that Markdown, or HTML within it, would act on."""


def report_markdown(run: ReadableRun) -> str:
    """Render a run as Markdown, without its plots.

    Args:
        run: The run.

    Returns:
        Text whose every foreign part is escaped: no name becomes a tag, a link or a column.
    """
    outline = outline_of(run)
    parts = [f"# {escaped(outline.title)}", escaped(outline.subtitle), _facts(outline.headline)]
    if outline.notices:
        parts += ["## Before you use these numbers", _list(outline.notices)]
    for one in (*outline.energy_sections(), *outline.further_sections()):
        parts.append(_section(one))
    return "\n\n".join(part for part in parts if part) + "\n"


def report_json(run: ReadableRun) -> dict[str, Any]:
    """The report as plain values: what the page says, and the summary with every number of it.

    Args:
        run: The run.

    Returns:
        ``title, subtitle, headline, notices, sections, summary``; unknown is None.
    """
    outline = outline_of(run)
    sections = (*outline.energy_sections(), *outline.further_sections())
    plain: dict[str, Any] = strict(
        {
            "title": outline.title,
            "subtitle": outline.subtitle,
            "headline": [dataclasses.asdict(one) for one in outline.headline],
            "notices": list(outline.notices),
            "sections": [dataclasses.asdict(one) for one in sections],
            "summary": run.summary(),
        }
    )
    return plain


def escaped(text: str) -> str:
    r"""Text that Markdown shows as it is.

    Example:
        >>> print(escaped("<script> | *x*"))
        \<script\> \| \*x\*
    """
    return text.translate(_MEANING)


def _section(part: Section) -> str:
    inner = [f"## {escaped(part.title)}"]
    if part.facts:
        inner.append(_facts(part.facts))
    if part.sheet is not None:
        inner.append(_table(part.sheet))
    if part.sentences:
        inner.append(_list(part.sentences))
    if part.paragraph:
        inner.append(escaped(part.paragraph))
    return "\n\n".join(inner)


def _facts(facts: tuple[Fact, ...]) -> str:
    rows = (f"| {_cells(one.name, one.value, one.remark)} |" for one in facts)
    return "\n".join(["| Figure | Value | Remark |", "|---|---|---|", *rows])


def _table(sheet: Sheet) -> str:
    head = f"| {_cells(*(column.title for column in sheet.columns))} |"
    rule = "|" + "|".join("---:" if column.numeric else "---" for column in sheet.columns) + "|"
    rows = "\n".join([head, rule, *(f"| {_cells(*row)} |" for row in sheet.rows)])
    return f"{rows}\n\n{escaped(sheet.note)}" if sheet.note else rows


def _cells(*texts: str) -> str:
    return " | ".join(escaped(text) for text in texts)


def _list(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"- {escaped(one)}" for one in sentences)
