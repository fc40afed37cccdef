"""Laws of the printed summary: every factor is named, and what is unknown is said to be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from greenai.callbacks.summary import settled_figures, summary_text
from greenai.live.shared import Totals
from greenai.settings import Settings

KNOWN = Totals(
    energy_j=7.2e6,
    steps_j=7e6,
    tokens=2e6,
    known_tokens=1e6,
    steps=50,
    operational_co2e_g=114.0,
    settled_step=49,
    closed=True,
)


def text(totals: Totals = KNOWN, **more: Any) -> str:
    settings = more.pop("settings", Settings(country="FRA", pue=1.2))
    return summary_text(
        totals, settings, duration_s=60, folder=more.pop("folder", Path("a")), **more
    )


def test_energy_work_and_emissions_are_said_with_their_factors() -> None:
    assert text().splitlines() == [
        "greenai: 7.20 MJ in 60.0 s, 120,000 W on average",
        "  7.00 J/token in 50 steps",
        "  114 gCO2e at 48 gCO2e/kWh (FRA), PUE 1.2",
        "  record: a (greenai report a)",
    ]


def test_what_the_user_did_not_say_is_named() -> None:
    said = text(settings=Settings())
    assert "world average: no country was given" in said
    assert "of the IT energy alone: no PUE was given" in said


def test_the_unknown_is_no_zero() -> None:
    said = text(Totals())
    assert "energy unknown" in said
    assert "unknown J/token" in said
    assert "emissions unknown" in said
    assert " 0" not in said.replace("a (", "")


def test_one_rank_of_many_says_so() -> None:
    assert "on rank 0 of 8" in text(rank=0, world_size=8)


def test_devices_are_said_by_trust(tmp_path: Path) -> None:
    attempt = tmp_path / "rank-0" / "attempt-1"
    attempt.mkdir(parents=True)
    channels = [
        {"device": "gpu0", "trust": "measured", "primary": True},
        {"device": "dram-0", "trust": "modelled", "primary": True},
        {"device": "gpu1", "trust": "measured", "primary": False},
    ]
    (attempt / "manifest.json").write_text(json.dumps({"channels": channels}))
    assert "  measured: gpu0; modelled: dram-0\n" in text(folder=tmp_path)


def test_figures_for_loggers_leave_out_what_is_unknown() -> None:
    assert settled_figures(Totals()) == {}
    assert settled_figures(KNOWN) == {
        "greenai/energy_j": 7.2e6,
        "greenai/operational_co2e_g": 114.0,
        "greenai/j_per_token": 7.0,
        "greenai/settled_step": 49,
    }


def test_the_end_that_is_foreseen_is_logged_in_kwh_kg_and_money() -> None:
    totals = dataclasses.replace(
        KNOWN,
        settled_step=9.0,
        forecast_energy_low_j=3.6e6,
        forecast_energy_j=7.2e6,
        forecast_energy_high_j=1.08e7,
        forecast_co2e_g=500.0,
        forecast_cost=0.25,
    )
    figures = settled_figures(totals)
    assert {name: one for name, one in figures.items() if "forecast" in name} == {
        "greenai/forecast_low_kwh": 1.0,
        "greenai/forecast_kwh": 2.0,
        "greenai/forecast_high_kwh": 3.0,
        "greenai/forecast_co2e_kg": 0.5,
        "greenai/forecast_cost": 0.25,
    }


def test_an_intensity_of_the_hours_is_named_by_its_file() -> None:
    said = text(settings=Settings(country="FRA", intensity_file="/home/me/grid.csv"))
    assert "(mean over the time, grid.csv)" in said
    assert "FRA" not in said
