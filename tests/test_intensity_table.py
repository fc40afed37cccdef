"""Laws of a user's table of yearly intensities: every row is sourced, none is about the future."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import greenai
from greenai import cli, grid
from greenai.errors import GridError, OrderError
from greenai.intensity_table import read_table
from greenai.settings import resolve

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
HEAD = "region,year,g_per_kwh,basis,signal,source"
ROWS = (
    "FRA,2024,20.5,direct,average,the operator",
    "FRA,2023,30.0,direct,average,the operator",
    "fra/Brittany,2025,100,lifecycle,marginal,a study",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "own.csv"
    found.write_text("\n".join((HEAD, *ROWS)) + "\n", encoding="utf-8")
    return found


def write(path: Path, *rows: str, head: str = HEAD) -> Path:
    path.write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
    return path


def test_of_several_years_the_latest_counts_and_basis_and_signal_are_kept(path: Path) -> None:
    found = grid.intensity("FRA", table=path)
    assert (found.g_per_kwh, found.year, found.basis) == (20.5, 2024, "direct")
    inner = grid.intensity("FRA", " BRITTANY ", str(path))
    assert (inner.g_per_kwh, inner.signal, inner.place) == (100, "marginal", "FRA/brittany")


def test_a_run_is_worked_out_anew_with_it_and_says_so(path: Path) -> None:
    own = greenai.load(RECORDED, intensity_table=path).summary()
    assert (own["intensity_g_per_kwh"], own["intensity_source"]) == (20.5, "the operator")
    marginal = greenai.load(RECORDED, country="FRA", region="brittany", intensity_table=path)
    assert marginal.summary()["intensity_signal"] == "marginal"
    assert any("not comparable with averages" in said for said in marginal.notices)
    forced = greenai.load(RECORDED, intensity_table="codecarbon").summary()
    assert (forced["intensity_g_per_kwh"], forced["intensity_year"]) == (56.039, 2023)


def test_bounds_of_a_row_go_into_every_range(path: Path) -> None:
    row = "FRA,2024,40,direct,average,the operator,30,60"
    run = greenai.load(
        RECORDED, intensity_table=write(path, row, head=f"{HEAD},low_g_per_kwh,high_g_per_kwh")
    )
    summary = run.summary()
    energy, found = summary["impacts"]["energy_kwh"], summary["impacts"]["location_based_g"]
    assert (summary["intensity_low_g_per_kwh"], summary["intensity_high_g_per_kwh"]) == (30, 60)
    for corner, g_per_kwh in (("low", 30), ("mid", 40), ("high", 60)):
        assert found[corner] == pytest.approx(energy[corner] * 1.2 * g_per_kwh)
    made = greenai.estimate(
        parameters=1e9, tokens=1e11, accelerator="H100", country="FRA", intensity_table=str(path)
    )
    factor = next(one for one in made.assumptions if one.name.startswith("carbon intensity"))
    assert (factor.low, factor.mid, factor.high) == (30, 40, 60)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("FRA,2999,20,direct,average,x", "lies in the future"),
        ("FRA,24,20,direct,average,x", "give four digits"),
        ("FRA,2024,-1,direct,average,x", "g_per_kwh is '-1'"),
        ("FRA,2024,nan,direct,average,x", "g_per_kwh is 'nan'"),
        ("FRA,2024,,direct,average,x", "at least 0"),
        ("FRA,2024,20,dirct,average,x", "did you mean direct"),
        ("FRA,2024,20,direct,marginl,x", "did you mean marginal"),
        ("FRA,2024,20,direct,average,", "has no source"),
        (",2024,20,direct,average,x", "has no region"),
        ("FRA", "the basis is ''"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_line(path: Path, row: str, says: str) -> None:
    with pytest.raises(GridError, match=says) as refused:
        read_table(write(path, row))
    assert "line 2" in refused.value.what
    assert refused.value.hint


def test_a_place_and_year_that_stand_twice_are_refused(path: Path) -> None:
    with pytest.raises(GridError, match="gives FRA of 2024 a second time"):
        read_table(write(path, ROWS[0], ROWS[0]))


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("region,year,g_per_kwh,basis,signal", "no column source"),
        (f"{HEAD},low_g_per_kw", "did you mean low_g_per_kwh"),
        ("", "no column region"),
    ],
)
def test_a_head_that_is_none_is_refused(path: Path, head: str, says: str) -> None:
    with pytest.raises(GridError, match=says):
        read_table(write(path, head=head))


def test_a_figure_outside_of_its_bounds_is_refused(path: Path) -> None:
    with pytest.raises(GridError, match="is not between its bounds"):
        read_table(write(path, "FRA,2024,20,direct,average,x,30", head=f"{HEAD},low_g_per_kwh"))


def test_a_place_that_the_table_lacks_names_the_nearest_of_it(path: Path) -> None:
    with pytest.raises(GridError, match=r"of own\.csv") as refused:
        grid.intensity("FRB", table=path)
    assert "did you mean FRA" in refused.value.hint
    with pytest.raises(GridError, match="did you mean brittany"):
        grid.intensity("FRA", "britany", path)
    with pytest.raises(GridError, match="name one of its places: FRA"):
        grid.intensity(None, table=path)
    with pytest.raises(GridError, match="cannot be read"):
        grid.intensity("FRA", table=path.with_name("none.csv"))


def test_a_record_holds_the_name_of_a_table_and_never_a_path() -> None:
    assert resolve({}, intensity_table="ember", country="FRA").intensity_table == "ember"
    with pytest.raises(OrderError, match=r"intensity_table is 'own\.csv'"):
        resolve({}, intensity_table="own.csv")


@pytest.mark.parametrize("command", ["report", "impacts", "export"])
def test_every_command_takes_a_table_and_the_source_of_a_pue(
    command: str, path: Path, tmp_path: Path, capsys: Any
) -> None:
    run = shutil.copytree(RECORDED, tmp_path / "run")
    given = ("--intensity-table", str(path), "--pue", "1.5", "--pue-source", "the operator, 2025")
    shape = ("--format", "json") if command == "export" else ()
    with pytest.raises(SystemExit) as ended:
        cli.main([command, str(run), *given, *shape])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    if command == "export":
        said = (run / "summary.json").read_text("utf-8")
    if command == "report":
        said = (run / "report.html").read_text("utf-8")
    assert "the operator, 2025" in said


def test_the_source_of_a_pue_belongs_to_that_pue_alone(tmp_path: Path) -> None:
    run = shutil.copytree(RECORDED, tmp_path / "run")
    manifest = (run / "manifest.json").read_text("utf-8")
    assert '"pue"' in manifest
    own = '"pue_source": {"value": "the site, 2025", "origin": "file"}, "pue"'
    (run / "manifest.json").write_text(manifest.replace('"pue"', own, 1), "utf-8")
    assert greenai.load(run).summary()["pue_source"] == "the site, 2025"
    assert greenai.load(run, pue=1.3).summary()["pue_source"] is None
    assert greenai.load(run, pue=1.3, pue_source="a guess").footprint().pue_source == "a guess"
