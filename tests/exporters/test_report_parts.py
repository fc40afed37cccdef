"""Laws of parts of a report: phases as bars, the model, the lineage; nothing is made up."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import greenai
from greenai.exporters.origins import config_facts, lineage_sheet, model_fact
from greenai.exporters.phase_bars import PARTS, phase_bars, phase_figure
from greenai.metrics import PHASE_COLUMNS

RECORDED = Path(__file__).parent.parent / "fixtures" / "record-v1"


def table(**rows: tuple[float, ...]) -> pd.DataFrame:
    """Phases by name: count, seconds, then joules in all and of gpu, cpu, dram and other."""
    return pd.DataFrame(
        [(name, *row, math.nan) for name, row in rows.items()], columns=list(PHASE_COLUMNS)
    )


PHASES = table(
    train_step=(10, 5.0, 900.0, 700.0, 150.0, 50.0, math.nan),
    validation=(1, 0.5, 100.0, 60.0, math.nan, math.nan, math.nan),
    checkpoint=(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    test=(1, 1.0, *[math.nan] * 5),
    unattributed=(0, math.nan, *[math.nan] * 5),
)


def test_a_bar_is_as_long_as_its_phase_used_energy() -> None:
    bars = {bar.name: bar for bar in phase_bars(PHASES)}
    assert list(bars) == ["training steps", "validation", "test"]
    assert math.isnan(bars["training steps"].parts_j[PARTS.index("component unknown")])
    for bar in (bars["training steps"], bars["validation"]):
        assert sum(part for part in bar.parts_j if math.isfinite(part)) == bar.energy_j
    figure = phase_figure(PHASES)
    ends = re.findall(r'<rect class="part p\d" x="([\d.]+)"[^>]* width="([\d.]+)"', figure)
    lengths = [float(width) for _, width in ends if float(width) != 26]
    assert sum(lengths[:3]) / sum(lengths[3:]) == pytest.approx(9, rel=0.01)


def test_an_unknown_phase_is_named_and_has_no_bar() -> None:
    figure = phase_figure(PHASES)
    label = re.findall(r'<svg role="img"[^>]*aria-label="([^"]*)"', figure)[0]
    assert label.endswith(
        "training steps: 900 J (90.0 %); validation: 100 J (10.0 %); test: unknown."
    )
    assert figure.count('class="part') == 5 + 4  # and four entries of the key
    assert "Of a part of it the component is unknown." in figure


def test_without_a_known_joule_there_is_no_plot(unmetered: Any) -> None:
    assert phase_figure(unmetered.phases()) == ""


def test_the_bars_of_the_recorded_run_are_its_table() -> None:
    run = greenai.load(RECORDED)
    known = run.phases()["energy_j"].sum()
    bars = [bar for bar in phase_bars(run.phases()) if math.isfinite(bar.energy_j)]
    assert sum(bar.energy_j for bar in bars) == pytest.approx(known)


def test_a_model_is_named_by_its_config_and_never_made_up() -> None:
    assert model_fact({}).value == "not named"
    digest = model_fact({"model_sha256": "0f" * 32})
    assert digest.value == "not named"
    assert digest.remark == f"hash {'0f' * 32}"
    assert model_fact({"model": {"layers": [2]}, "model_version": None}).value == "{'layers': [2]}"
    facts = config_facts({"model": "demo", "parameters": 7e9, "x": math.inf})
    assert [(one.name, one.value) for one in facts] == [
        ("config: parameters", "7000000000"),
        ("config: x", "inf"),
    ]


def test_a_lineage_is_a_row_a_run_and_unknown_stays_unknown() -> None:
    gone = {
        "run_id": "<b1>", "variant": "base", "started_utc": "2026-01-01T00:00:00+00:00",
        "energy_j": None, "coverage": None, "operational_co2e_g": None,
    }  # fmt: skip
    lineage = {"ancestors": [gone], "energy_j": None, "operational_co2e_g": None}
    summary = {"energy_j": 5.0, "coverage": 1.0, "operational_co2e_g": 2.0, "lineage": lineage}
    assert lineage_sheet(summary).rows == (
        ("this run", "", "", "5.000", "100 %", "2.000"),
        ("<b1>", "base", "2026-01-01", "unknown", "unknown", "unknown"),
        ("All", "", "", "unknown", "", "unknown"),
    )
    assert lineage_sheet({**summary, "lineage": None}).rows == ()
