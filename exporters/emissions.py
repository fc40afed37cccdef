"""A run as CodeCarbon's emissions.csv, through its own data class, so that its readers take it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pandas as pd

import greenai
from greenai.exporters.tables import write_csv
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from greenai.exporters.readable import ReadableRun

G_PER_KG = 1000.0
SECOND = len("2026-11-25T10:00:00")
"""CodeCarbon writes a time to the second without its zone; ours is UTC."""
COMPONENTS = {"cpu": "cpu", "gpu": "gpu", "ram": "dram"}
"""Components of CodeCarbon by their names there."""


def write_emissions(run: ReadableRun, path: Path) -> None:
    """Write emissions.csv as CodeCarbon has it: one row, its columns in its order.

    Args:
        run: The run.
        path: The file; replaced whole.

    Raises:
        ImportError: CodeCarbon is not installed.
        RecordError: The file cannot be written.
    """
    write_csv(path, emissions_table(run))


def emissions_table(run: ReadableRun) -> pd.DataFrame:
    """The row of emissions.csv: kg, kWh and watts, where the summary has grams and joules.

    Energies and powers contain PUE, as CodeCarbon's do (it multiplies them as it reads), so that
    emissions over energy is the intensity. What is unknown is an empty cell and not the 0 that
    the class would give. Water is that of the site.

    Args:
        run: The run.

    Returns:
        One row.

    Raises:
        ImportError: CodeCarbon is not installed.
    """
    from codecarbon.output_methods.emissions_data import (  # noqa: PLC0415 - loads for long
        EmissionsData,
    )

    values = _values(run.summary())
    row = EmissionsData(**{one.name: values.get(one.name) for one in fields(EmissionsData)})
    return pd.DataFrame([dict(row.values)])


def _values(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that are known; all others stay empty."""
    seconds, pue = summary["duration_s"], summary["pue"]
    emitted_kg = _over(summary["operational_co2e_g"], G_PER_KG)
    energies_j = {**summary["component_j"], "all": summary["energy_j"]}
    used_j = {
        name: None if energy_j is None else energy_j * (1.0 if pue is None else pue)
        for name, energy_j in energies_j.items()
    }
    devices = summary.get("devices") or []
    country, _, region = str(summary.get("intensity_place") or "").partition("/")
    return {
        "timestamp": str(summary.get("ended_utc") or summary.get("started_utc") or "")[:SECOND],
        "project_name": summary["project"],
        "run_id": summary["run_id"],
        "experiment_id": summary["variant"],
        "duration": seconds,
        "emissions": emitted_kg,
        "emissions_rate": _over(emitted_kg, seconds),
        **{f"{theirs}_power": _over(used_j[ours], seconds) for theirs, ours in COMPONENTS.items()},
        **{
            f"{theirs}_energy": _over(used_j[ours], J_PER_KWH)
            for theirs, ours in COMPONENTS.items()
        },
        "energy_consumed": _over(used_j["all"], J_PER_KWH),
        "water_consumed": (summary.get("impacts") or {}).get("water_on_site_l", {}).get("mid"),
        "country_iso_code": country or None,
        "region": region or None,
        "codecarbon_version": f"greenai {greenai.__version__}",
        "cpu_count": _count(devices, "cpu"),
        "cpu_model": _models(devices, "cpu"),
        "gpu_count": _count(devices, "gpu"),
        "gpu_model": _models(devices, "gpu"),
        "tracking_mode": "machine",
        "pue": pue,
    }


def _over(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _count(devices: list[dict[str, Any]], kind: str) -> int | None:
    return sum(one["count"] for one in devices if one["kind"] == kind) or None


def _models(devices: list[dict[str, Any]], kind: str) -> str | None:
    """As CodeCarbon writes it: ``8 x NVIDIA H100``."""
    own = [one for one in devices if one["kind"] == kind]
    if kind == "gpu":
        return ", ".join(f"{one['count']} x {one['model']}" for one in own) or None
    return ", ".join(dict.fromkeys(str(one["model"]) for one in own)) or None
