"""Figures and tables as text, before they are laid out for a terminal or a page."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """One figure with its name and, where it needs one, a remark."""

    name: str
    value: str
    remark: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column; numbers stand flush right."""

    title: str
    numeric: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Sheet:
    """A table as text.

    Attributes:
        title: What it is of.
        columns: Headings.
        rows: Cells, one a column.
        has_total: Whether the last row sums up those above it.
        shares: Per row, the part of the whole that a bar shows; empty for no bars.
        note: One sentence below it; may be empty.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    has_total: bool = False
    shares: tuple[float, ...] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A part of a report under one heading; it has facts, a table, sentences or a paragraph.

    Attributes:
        title: Heading.
        facts: Figures with their names.
        sheet: A table; None for none.
        sentences: A list of sentences.
        paragraph: Running text.
    """

    title: str
    facts: tuple[Fact, ...] = ()
    sheet: Sheet | None = None
    sentences: tuple[str, ...] = ()
    paragraph: str = ""
