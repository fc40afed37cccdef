"""Writes the dashboards anew: ``python -m greenai.dashboards.build``, in a checkout."""

from __future__ import annotations

from pathlib import Path

from greenai.dashboards.compare import compare_dashboard
from greenai.dashboards.fleet import fleet_dashboard
from greenai.dashboards.run import run_dashboard

FOLDER = Path(__file__).parent / "grafana"


def built() -> dict[str, str]:
    """JSON of each dashboard by the name of its file."""
    return {
        "greenai-run.json": run_dashboard(),
        "greenai-compare.json": compare_dashboard(),
        "greenai-fleet.json": fleet_dashboard(),
    }


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in built().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
