"""Laws of CodeCarbon's emissions.csv and of model cards: their columns, their units, our values."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput
from huggingface_hub import ModelCard

import greenai
from greenai.errors import OrderError, RecordError
from greenai.exporters.emissions import emissions_table, write_emissions
from greenai.exporters.model_card import KEY, card_metadata, patch_card

TESTS = Path(__file__).parent.parent
RECORDED = TESTS / "fixtures" / "record-v1"
CARD = """---
license: mit
tags:
- moe
---

# A model

Text with --- and `co2_eq_emissions: 1` in it.
"""


def test_the_columns_are_those_of_codecarbon_in_its_order(tmp_path: Path) -> None:
    write_emissions(
        greenai.load(RECORDED, intensity_table="codecarbon"), tmp_path / "emissions.csv"
    )
    header = (tmp_path / "emissions.csv").read_text().partition("\n")[0].split(",")
    assert header == [one.name for one in fields(EmissionsData)]


def test_codecarbon_appends_to_our_file(tmp_path: Path) -> None:
    run = greenai.load(RECORDED, intensity_table="codecarbon")
    write_emissions(run, tmp_path / "emissions.csv")
    row = emissions_table(run).iloc[0].to_dict()
    FileOutput("emissions.csv", str(tmp_path)).out(EmissionsData(**row), None)
    assert len(pd.read_csv(tmp_path / "emissions.csv")) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["emissions.csv"]


def test_units_are_kilograms_and_kilowatt_hours_with_pue() -> None:
    run = greenai.load(RECORDED, intensity_table="codecarbon")
    summary, row = run.summary(), emissions_table(run).iloc[0]
    assert row["emissions"] == pytest.approx(summary["operational_co2e_g"] / 1000)
    assert row["energy_consumed"] == pytest.approx(summary["energy_j"] / 3.6e6 * 1.2)
    assert row["emissions"] / row["energy_consumed"] == pytest.approx(
        summary["intensity_g_per_kwh"] / 1000
    )
    assert row["gpu_power"] == pytest.approx(summary["energy_j"] * 1.2 / summary["duration_s"])
    assert (row["gpu_count"], row["gpu_model"]) == (2, "2 x NVIDIA Simulated GPU")
    assert (row["country_iso_code"], row["timestamp"]) == ("FRA", "2026-11-24T03:23:50")


def test_what_is_unknown_is_an_empty_cell_and_not_codecarbons_zero(tmp_path: Path) -> None:
    write_emissions(
        greenai.load(RECORDED, intensity_table="codecarbon"), tmp_path / "emissions.csv"
    )
    row = pd.read_csv(tmp_path / "emissions.csv").iloc[0]
    for name in ("cpu_energy", "ram_energy", "cpu_power", "water_consumed", "wue"):
        assert pd.isna(row[name])


def test_the_file_of_the_recorded_run_is_the_golden_one(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    write_emissions(greenai.load(RECORDED, intensity_table="codecarbon"), path)
    wanted = pd.read_csv(TESTS / "golden" / "emissions.csv")
    version = ["codecarbon_version"]
    found = pd.read_csv(path)[[one for one in wanted if one in pd.read_csv(path)]]
    pd.testing.assert_frame_equal(
        found.drop(columns=version), wanted[list(found)].drop(columns=version)
    )


def test_a_card_has_grams_and_keeps_all_else(tmp_path: Path) -> None:
    card, summary = (
        tmp_path / "README.md",
        greenai.load(RECORDED, intensity_table="codecarbon").summary(),
    )
    card.write_text(CARD)
    patch_card(card, card_metadata(summary, "pre-training"))
    found = ModelCard.load(card)
    block = found.data.to_dict()[KEY]
    assert block["emissions"] == summary["operational_co2e_g"]
    assert block["training_type"] == "pre-training"
    assert block["geographical_location"] == "FRA"
    assert block["hardware_used"] == "2 x NVIDIA Simulated GPU"
    assert (found.data.license, found.data.tags) == ("mit", ["moe"])
    assert card.read_text().endswith(CARD.partition("---\n\n")[2])


def test_the_block_of_the_recorded_run_is_the_golden_one(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(CARD)
    patch_card(card, card_metadata(greenai.load(RECORDED, intensity_table="codecarbon").summary()))
    assert card.read_text() == (TESTS / "golden" / "model-card.md").read_text()


def test_a_card_that_is_patched_again_has_one_block(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    summary = greenai.load(RECORDED, intensity_table="codecarbon").summary()
    patch_card(card, card_metadata(summary))
    patch_card(card, card_metadata({**summary, "operational_co2e_g": 7.0}))
    assert card.read_text().count(KEY) == 1
    assert ModelCard.load(card).data.to_dict()[KEY]["emissions"] == 7.0


@pytest.mark.parametrize(
    "nasty", ["a: b\n---\nlicense: gpl", "<script>", "'\"{[", "=cmd()", "x" * 10_000]
)
def test_no_name_of_hardware_gets_out_of_its_value(tmp_path: Path, nasty: str) -> None:
    card, summary = (
        tmp_path / "README.md",
        greenai.load(RECORDED, intensity_table="codecarbon").summary(),
    )
    card.write_text(CARD)
    summary["devices"][0]["model"] = nasty
    patch_card(card, card_metadata(summary))
    head = yaml.safe_load(card.read_text().split("---\n")[1])
    assert set(head) == {"license", "tags", KEY}
    assert head["license"] == "mit"
    assert len(head[KEY]["hardware_used"]) < 100


@pytest.mark.parametrize("broken", ["---\na: [\n---\n", "---\n- a\n- b\n---\n"])
def test_a_card_with_broken_metadata_is_left_as_it_is(tmp_path: Path, broken: str) -> None:
    card = tmp_path / "README.md"
    card.write_text(broken)
    with pytest.raises(RecordError, match="metadata"):
        patch_card(card, {"emissions": 1.0})
    assert card.read_text() == broken


def test_unknown_emissions_are_not_put_into_a_card() -> None:
    with pytest.raises(OrderError, match="unknown"):
        card_metadata({"operational_co2e_g": None})


@pytest.mark.parametrize("nasty", ["=cmd()", "<script>", 'a,"b', "x" * 10_000])
def test_a_name_that_a_spreadsheet_would_run_is_made_harmless(
    make_run: Any, tmp_path: Path, nasty: str
) -> None:
    path = tmp_path / "emissions.csv"
    run = make_run(name=nasty, variant=nasty)
    write_emissions(run, path)
    row = pd.read_csv(path).iloc[0]
    assert row["run_id"] == (f"'{nasty}" if nasty.startswith("=") else nasty)
    assert row["duration"] == pytest.approx(run.summary()["duration_s"])
