"""A comparison as one HTML file: bars with their intervals, the sheets, and how it was made."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from greenai.exporters import contrasts, page, quantities
from greenai.exporters.design_text import design_text
from greenai.exporters.drawing import tick_texts, ticks
from greenai.exporters.files import write_text
from greenai.exporters.lens_html import lens_sections
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from greenai.analysis.compare import Comparison
    from greenai.analysis.lens import Lens
    from greenai.exporters.contrasts import Ratio

WIDTH, LEFT, RIGHT = 900, 170, 190
TOP, BOTTOM = 10, 44
GROUP, BAR, BETWEEN = 62, 20, 4
"""Height of a variant's place, of one bar, and between its two bars."""
BEYOND = 2.5
"""An interval is cut at so many times the largest ratio, and an arrow says so."""


def write_comparison_page(
    comparison: Comparison,
    path: Path,
    design: str = "",
    others: Iterable[str] = (),
    lens: Lens | None = None,
) -> None:
    """Write a comparison as HTML; arguments as for ``comparison_html``.

    Raises:
        RecordError: The file cannot be written.
    """
    write_text(path, comparison_html(comparison, design, others, lens))


def comparison_html(
    comparison: Comparison,
    design: str = "",
    others: Iterable[str] = (),
    lens: Lens | None = None,
) -> str:
    """Render a comparison as one self-contained page without any script.

    Args:
        comparison: The comparison.
        design: How the runs were made, as text; an empty line begins a new paragraph.
        others: Sentences of whoever made the runs, shown after the comparison's own.
        lens: The runs, for the sections on why they differ and the paragraph on how they were
            made; None leaves both out.

    Returns:
        HTML; every text is escaped.
    """
    title = f"Energy per {comparison.per} against {printable(comparison.baseline)}"
    energy, time = contrasts.energy_sheet(comparison), contrasts.time_sheet(comparison)
    if lens is not None:
        others = (*others, *lens.notes)
        design = "\n\n".join(filter(None, (design_text(comparison, lens), design)))
    paragraphs = [f"<p>{escape(one.strip())}</p>" for one in design.split("\n\n") if one.strip()]
    body = "".join(
        (
            '<header><p class="brand">greenai · comparison of training runs</p>',
            page.heading(1, title),
            f'<p class="subtitle">{escape(_subtitle(comparison))}</p></header>',
            page.notices(contrasts.footnotes(comparison, others)),
            page.heading(2, "Ratio to the baseline"),
            _figure(comparison),
            page.heading(2, energy.title),
            page.table(energy),
            page.heading(2, time.title),
            page.table(time),
            f'<p class="note">{escape(contrasts.explanation(comparison))}</p>',
            lens_sections(lens) if lens is not None else "",
            *((page.heading(2, "How the runs were made"), *paragraphs) if paragraphs else ()),
        )
    )
    return page.page(f"{title} · greenai", body)


def _subtitle(comparison: Comparison) -> str:
    runs = [f"{printable(one.variant, limit=40)} ({one.n})" for one in comparison.results]
    baseline = f"{printable(comparison.baseline, limit=40)} ({comparison.baseline_n})"
    return f"runs: {', '.join([baseline, *runs])}"


def _figure(comparison: Comparison) -> str:
    energies, times = contrasts.ratios(comparison, ""), contrasts.ratios(comparison, "time_")
    known = [one.ratio for one in (*energies, *times) if math.isfinite(one.ratio)]
    limit = BEYOND * max([1.0, *known])
    ends = [one.high for one in (*energies, *times) if math.isfinite(one.high)]
    highest = 1.05 * min(limit, max([1.0, *known, *ends]))
    height = TOP + GROUP * len(energies) + BOTTOM
    parts = [_axis(highest, height)]
    for place, (energy, time) in enumerate(zip(energies, times, strict=True)):
        top = TOP + place * GROUP + (GROUP - 2 * BAR - BETWEEN) / 2
        middle = top + BAR + BETWEEN / 2 + 4
        name = energy.variant if len(energy.variant) <= 22 else f"{energy.variant[:21]}…"  # noqa: PLR2004 - what fits beside the bars
        parts.append(
            f'<text class="end name" x="{LEFT - 10}" y="{middle:.1f}">{escape(name)}</text>'
        )
        parts.append(_bar(energy, "energy", top, highest))
        parts.append(_bar(time, "time", top + BAR + BETWEEN, highest))
    one = _x(1.0, highest)
    parts.append(f'<path class="one" d="M{one:.1f} {TOP - 6}V{height - BOTTOM}"/>')
    alt = escape(f"Ratios to the baseline. {' '.join(map(_spoken, energies, times))}")
    key = "".join(
        f'<span><svg viewBox="0 0 26 10" aria-hidden="true"><rect class="{style}" width="26" '
        f'height="10"/></svg>{text}</span>'
        for style, text in (("energy", "energy"), ("time", "time"))
    )
    return (
        f'<figure><svg role="img" viewBox="0 0 {WIDTH} {height}" aria-label="{alt}">'
        f'{"".join(parts)}</svg><div class="key">{key}</div>'
        "<figcaption>Whiskers: 95 % intervals. Dashed line: the baseline.</figcaption></figure>"
    )


def _axis(highest: float, height: int) -> str:
    marks = ticks(0.0, highest)
    parts = []
    for mark, text in zip(marks, tick_texts(marks), strict=True):
        at = _x(mark, highest)
        parts.append(
            f'<path class="grid" d="M{at:.1f} {TOP - 6}V{height - BOTTOM}"/>'
            f'<text class="mid" x="{at:.1f}" y="{height - BOTTOM + 17}">{text}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="mid axis" x="{middle}" y="{height - 6}">Ratio to the baseline</text>'
    )
    return "".join(parts)


def _bar(one: Ratio, style: str, top: float, highest: float) -> str:
    """A bar from zero with its interval as a whisker, and the figures beside it."""
    middle = top + BAR / 2
    if not math.isfinite(one.ratio):
        return f'<text x="{LEFT + 8}" y="{middle + 4:.1f}">unknown</text>'
    width = _x(one.ratio, highest) - LEFT
    place = f'x="{LEFT}" y="{top:.1f}" width="{width:.1f}" height="{BAR}"'
    parts = [f'<rect class="{style}" {place}/>']
    decimals = contrasts.decimals_of([one])
    text = quantities.ratio(one.ratio, decimals)
    if interval := contrasts.interval_text(one, decimals):
        low, high = _x(min(one.low, highest), highest), _x(min(one.high, highest), highest)
        end = "m-5 -4l5 4l-5 4" if one.high > highest else "m0 -5v10"
        start = f"M{low:.1f} {middle - 5:.1f}v10M{low:.1f} {middle:.1f}"
        parts.append(f'<path class="whisker" d="{start}H{high:.1f}{end}"/>')
        text += f" ({interval})"
    parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{middle + 4:.1f}">{text}</text>')
    return "".join(parts)


def _x(ratio: float, highest: float) -> float:
    return LEFT + ratio / highest * (WIDTH - LEFT - RIGHT)


def _spoken(energy: Ratio, time: Ratio) -> str:
    """Both ratios of a variant in words."""
    said = []
    for name, one in (("energy", energy), ("time", time)):
        decimals = contrasts.decimals_of([one])
        interval = contrasts.interval_text(one, decimals).replace(" – ", " to ")
        between = f"from {interval}" if interval else "interval unknown"
        said.append(f"{name} {quantities.ratio(one.ratio, decimals)}, {between}")
    return f"{energy.variant}: {'; '.join(said)}."
