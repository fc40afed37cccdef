"""Writes the dashboards and the table of metrics anew: ``python -m greenai.dashboards.build``.

In a checkout, that is: what it writes is committed.
"""

from __future__ import annotations

from pathlib import Path

from greenai.dashboards.compare import compare_dashboard
from greenai.dashboards.fleet import fleet_dashboard
from greenai.dashboards.run import run_dashboard
from greenai.metrics import COMMON_LABELS, FAMILIES

FOLDER = Path(__file__).parent / "grafana"
DOCUMENT = Path(__file__).parents[1] / "docs" / "dashboards.md"
BEGIN, END = "<!-- metrics -->\n", "<!-- /metrics -->\n"


def built() -> dict[str, str]:
    """JSON of each dashboard by the name of its file."""
    return {
        "greenai-run.json": run_dashboard(),
        "greenai-compare.json": compare_dashboard(),
        "greenai-fleet.json": fleet_dashboard(),
    }


def metrics_table() -> str:
    """The catalogue as a table in Markdown."""
    rows = [
        f"| `{family.name}` | {family.type} | {_ticked(family.labels)} | {family.help} |"
        for family in FAMILIES
    ]
    common = f"Every sample has {_ticked(COMMON_LABELS)} as well.\n"
    return "\n".join(
        [common, "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""]
    )


def documented(text: str) -> str:
    """The document with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{metrics_table()}{END}{after}"


def _ticked(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in built().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    DOCUMENT.write_text(documented(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
