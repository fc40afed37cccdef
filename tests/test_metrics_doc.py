"""The law of docs/metrics.md: its table is the catalogue."""

from __future__ import annotations

from pathlib import Path

from greenai.metrics import COMMON_LABELS, FAMILIES

DOC = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"


def table() -> str:
    rows = []
    for one in FAMILIES:
        labels = ", ".join(f"`{name}`" for name in one.labels)
        rows.append(f"| `{one.name}` | {one.type} | {labels} | {one.help} |")
    return "\n".join(["| name | type | labels | what it is |", "|---|---|---|---|", *rows])


def test_the_table_of_metrics_is_the_catalogue() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert table() in text, f"put this into {DOC.name}:\n{table()}"
    assert ", ".join(f"`{name}`" for name in COMMON_LABELS) in text
