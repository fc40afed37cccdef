"""The parts of an HTML page that needs nothing but itself: no network, no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import greenai

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.exporters.sheets import Fact, Section, Sheet

ASSETS = Path(__file__).with_name("assets")
FOOTER = (
    "Written by greenai {version}. Energy is IT energy; only operational emissions contain PUE. "
    "What is unknown is never counted as zero."
)
VERDICTS = {"less": "good", "more": "bad", "not resolved": "warn"}
"""Style of a cell that says a verdict; its word says the same without colour."""


def page(title: str, body: str, charts: Sequence[dict[str, Any]] = ()) -> str:
    """Put a page together.

    The policy in its head lets the browser run only the scripts whose hash it names and load
    nothing at all, so that a text that slipped through unescaped would still do nothing.

    Args:
        title: Text of the window's title, unescaped.
        body: Markup of the main part.
        charts: Data of the plots; with none, the page has no script.

    Returns:
        HTML as one text.
    """
    scripts = [asset("uPlot.iife.min.js"), asset("report.js")] if charts else []
    allowed = " ".join(f"'sha256-{hash_of(script)}'" for script in scripts) or "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"
    styles = asset("report.css") + (asset("uPlot.min.css") if charts else "")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="greenai {greenai.__version__}">',
        f"<title>{escape(title)}</title>",
        f"<style>{styles}</style></head>",
        f"<body><main>{body}",
        f"<footer>{FOOTER.format(version=greenai.__version__)}</footer></main>",
    ]
    if charts:
        parts.append(f"<!--\nuPlot:\n{asset('LICENSE-uPlot.txt')}\n-->")
        parts.append(f'<script type="application/json" id="charts">{inline_json(charts)}</script>')
        parts.extend(f"<script>{script}</script>" for script in scripts)
    return "\n".join([*parts, "</body></html>\n"])


def inline_json(values: Any) -> str:
    r"""JSON that may stand inside a script element: no tag or comment can begin in it.

    Example:
        >>> inline_json({"name": "</script><!--"})
        '{"name":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def heading(level: int, text: str) -> str:
    """Heading of a level, escaped."""
    return f"<h{level}>{escape(text)}</h{level}>"


def tiles(facts: Sequence[Fact]) -> str:
    """The figures that matter most, large."""
    cells = "".join(
        f'<div class="tile"><dt>{escape(fact.name)}</dt>'
        f'<dd class="value">{escape(fact.value)}</dd>'
        f'<dd class="remark">{_whole(escape(fact.remark))}</dd></div>'
        for fact in facts
    )
    return f'<dl class="tiles">{cells}</dl>'


def fact_list(facts: Sequence[Fact]) -> str:
    """Names with their values and remarks."""
    rows = "".join(
        f"<div><dt>{escape(fact.name)}</dt>"
        f'<dd><span class="value">{escape(fact.value)}</span>'
        f'<span class="remark">{escape(fact.remark)}</span></dd></div>'
        for fact in facts
    )
    return f'<dl class="facts">{rows}</dl>'


def sentences(texts: Sequence[str], style: str = "method") -> str:
    """A list of sentences."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="{style}">{items}</ul>'


def notices(texts: Sequence[str]) -> str:
    """What a reader must know, set apart; nothing where there is nothing."""
    if not texts:
        return ""
    inner = heading(2, "Before you use these numbers") + sentences(texts)
    return f'<section class="notices">{inner}</section>'


def table(sheet: Sheet) -> str:
    """A sheet with numbers flush right, bars for its shares, and its total set apart."""
    head = "".join(
        f'<th scope="col"{_style_of(column.numeric)}>{escape(column.title)}</th>'
        for column in sheet.columns
    )
    rows = []
    for number, row in enumerate(sheet.rows):
        is_total = sheet.has_total and number == len(sheet.rows) - 1
        bar = _bar(sheet.shares[number]) if sheet.shares else ""
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for column, text in zip(sheet.columns[1:], row[1:], strict=True):
            style = _style_of(column.numeric, VERDICTS.get(text.partition(":")[0], ""))
            shown = escape(text)
            if bar and column.title == "Share":
                shown = f'{bar}<span class="beside">{shown}</span>'
            cells.append(f"<td{style}>{shown}</td>")
        style = _style_of(False, "total" if is_total else "")
        rows.append(f"<tr{style}>{''.join(cells)}</tr>")
    return (
        # Who has no pointer scrolls a wide table with the keys, once it has the focus.
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(sheet.title)}">'
        f'<table aria-label="{escape(sheet.title)}"><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>{_note(sheet.note)}"
    )


def section(part: Section) -> str:
    """A part of a report under its heading."""
    inner = [heading(2, part.title)]
    if part.facts:
        inner.append(fact_list(part.facts))
    if part.sheet is not None:
        inner.append(table(part.sheet))
    if part.sentences:
        inner.append(sentences(part.sentences))
    if part.paragraph:
        inner.append(f'<p class="method">{escape(part.paragraph)}</p>')
    return "".join(inner)


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""


def _whole(text: str) -> str:
    """Keep a percent sign on the line of its number."""
    return text.replace(" %", "\u00a0%")


def _bar(share: float) -> str:
    """A bar in a box of the full width, so that the bars of a column begin at one line."""
    width = share if 0 < share <= 1 else 0.0
    return f'<span class="bar"><span style="width:{100 * width:.1f}%"></span></span>'


def _style_of(numeric: bool, *others: str) -> str:
    names = " ".join(filter(None, ("number" if numeric else "", *others)))
    return f' class="{names}"' if names else ""


@cache
def asset(name: str) -> str:
    """Text of a file that pages are made of."""
    return (ASSETS / name).read_text(encoding="utf-8").strip()


def hash_of(script: str) -> str:
    """Hash by which a policy names a script or a style."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
