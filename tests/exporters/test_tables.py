"""Laws of the files: columns in order, floats exact, unknown empty, nothing runs, nothing torn."""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.errors import OrderError, RecordError
from greenai.exporters import files, tables
from greenai.metrics import PHASE_COLUMNS, STEP_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

SURROGATE = "a\ud800b"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_format_gives_its_files(run: Any, tmp_path: Path) -> None:
    written = tables.export(run, tmp_path / "new" / "folder")
    names = ["steps.csv", "phases.csv", "steps.parquet", "summary.json"]
    assert [path.name for path in written] == names
    assert names_in(tmp_path / "new" / "folder") == sorted(names)


def test_columns_stand_in_the_published_order(run: Any, tmp_path: Path) -> None:
    run.frame = run.frame[list(reversed(STEP_COLUMNS))]
    tables.export(run, tmp_path)
    assert tuple(rows_of(tmp_path / "steps.csv")[0]) == STEP_COLUMNS
    assert tuple(pq.read_table(tmp_path / "steps.parquet").column_names) == STEP_COLUMNS
    assert tuple(rows_of(tmp_path / "phases.csv")[0]) == PHASE_COLUMNS


def test_an_unknown_is_an_empty_cell_and_never_zero(run: Any, tmp_path: Path) -> None:
    run.frame.loc[3, "epoch"] = np.nan
    run.frame.loc[3, "energy_high_j"] = math.inf
    tables.export(run, tmp_path)
    middle, third = rows_of(tmp_path / "steps.csv")[200], rows_of(tmp_path / "steps.csv")[3]
    assert (middle["energy_j"], middle["attribution"], middle["dram_j"]) == ("", "", "")
    assert (third["epoch"], third["energy_high_j"]) == ("", "")
    stored = pq.read_table(tmp_path / "steps.parquet").to_pylist()
    assert (stored[200]["energy_j"], stored[200]["attribution"]) == (None, None)
    assert (stored[3]["epoch"], stored[3]["energy_high_j"]) == (None, None)


def test_a_run_without_sensors_is_exported_without_a_joule(unmetered: Any, tmp_path: Path) -> None:
    tables.export(unmetered, tmp_path)
    assert {row["energy_j"] for row in rows_of(tmp_path / "steps.csv")} == {""}
    assert {row["energy_j"] for row in rows_of(tmp_path / "phases.csv")} == {""}
    assert json.loads((tmp_path / "summary.json").read_text())["energy_j"] is None


def test_floats_read_back_to_the_same_value(run: Any, tmp_path: Path) -> None:
    exact = [0.1 + 0.2, 1e-300, 123456789.123456789, 5e-324, 1 / 3]
    run.frame.loc[: len(exact) - 1, "energy_j"] = exact
    tables.export(run, tmp_path, ["csv"])
    read = [float(row["energy_j"]) for row in rows_of(tmp_path / "steps.csv")[: len(exact)]]
    assert read == exact


def test_csv_and_parquet_hold_the_same_rows(run: Any, tmp_path: Path) -> None:
    tables.export(run, tmp_path, ["csv", "parquet"])
    rows = rows_of(tmp_path / "steps.csv")
    stored = pq.read_table(tmp_path / "steps.parquet").to_pylist()
    assert len(rows) == len(stored) == 400
    for row, values in zip(rows, stored, strict=True):
        for name, value in values.items():
            if value is None:
                assert row[name] == ""
            elif isinstance(value, bool | str):
                assert row[name] == str(value)
            elif isinstance(value, int | float):
                assert float(row[name]) == value
            else:
                assert datetime.fromisoformat(row[name]) == value


def test_every_run_has_the_same_types(run: Any, unmetered: Any, tmp_path: Path) -> None:
    tables.export(run, tmp_path / "a", ["parquet"])
    tables.export(unmetered, tmp_path / "b", ["parquet"])
    schemas = [pq.read_schema(tmp_path / name / "steps.parquet") for name in "ab"]
    assert schemas[0].equals(schemas[1])


def test_a_run_without_steps_has_a_heading(make_run: Any, tmp_path: Path) -> None:
    run = make_run(count=1)
    run.frame = run.frame.iloc[:0]
    tables.export(run, tmp_path, ["csv", "parquet"])
    assert (tmp_path / "steps.csv").read_text() == ",".join(STEP_COLUMNS) + "\n"
    assert pq.read_table(tmp_path / "steps.parquet").num_rows == 0


def test_whole_numbers_have_no_decimal_point(run: Any, tmp_path: Path) -> None:
    tables.export(run, tmp_path, ["csv"])
    row = rows_of(tmp_path / "steps.csv")[0]
    whole = ("attempt", "step", "epoch", "batches", "samples", "tokens", "flops", "ranks")
    assert [row[name] for name in whole] == ["0", "0", "0", "1", "8", "2048", "3100000000000", "1"]
    assert row["start_utc"].startswith("2026-03-01T10:00:01.5")
    assert row["start_utc"].endswith("Z")


@pytest.mark.parametrize("sign", tables.STARTS_A_FORMULA)
def test_no_spreadsheet_runs_a_name(make_run: Any, tmp_path: Path, sign: str) -> None:
    run = make_run(count=2, name=f"{sign}cmd|' /C calc'!A0", variant='x"\n=1')
    tables.export(run, tmp_path, ["csv"])
    row = rows_of(tmp_path / "steps.csv")[0]
    assert row["run_id"].startswith("'" + sign.replace("\r", "\n") + "cmd")
    assert row["variant"] == 'x"\n=1'


def test_a_negative_number_is_no_formula(run: Any, tmp_path: Path) -> None:
    run.frame["loss"] = -1.5
    tables.export(run, tmp_path, ["csv"])
    assert rows_of(tmp_path / "steps.csv")[0]["loss"] == "-1.5"


def test_a_name_that_is_no_unicode_can_be_written(make_run: Any, tmp_path: Path) -> None:
    tables.export(make_run(count=2, name=SURROGATE), tmp_path)
    assert rows_of(tmp_path / "steps.csv")[0]["run_id"] == "a?b"
    assert json.loads((tmp_path / "summary.json").read_text())["run_id"] == SURROGATE


def test_an_unknown_format_is_refused_before_anything_is_written(run: Any, tmp_path: Path) -> None:
    with pytest.raises(OrderError, match="excel"):
        tables.export(run, tmp_path, ["csv", "excel"])
    assert names_in(tmp_path) == []


def test_a_comparison_is_written_as_json_and_csv(make_comparison: Any, tmp_path: Path) -> None:
    comparison = make_comparison(repeats=1)
    tables.export_comparison(comparison, tmp_path)
    plain = json.loads((tmp_path / "comparison.json").read_text())
    assert plain == comparison.to_json()
    rows = rows_of(tmp_path / "comparison.csv")
    assert [row["variant"] for row in rows] == ["moe", "window"]
    assert rows[0]["low"] == ""
    assert rows[0]["trust_measured"] == "1.0"
    assert float(rows[0]["ratio"]) == comparison.results[0].ratio


def test_json_is_strict(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, 1.5]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, 1.5]}


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("before")

    def fail_halfway() -> None:
        with files.replacing(path) as file:
            file.write(b"half of")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert path.read_text() == "before"
    assert names_in(tmp_path) == ["steps.csv"]


def test_a_file_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    files.write_text(tmp_path / "new", "text")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_cannot_be_written_is_named(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"steps\.csv cannot be written"):
        tables.export(run, tmp_path / "file")


@given(st.text())
def test_a_defused_text_never_starts_a_formula(text: str) -> None:
    assert not str(tables.defused(text)).startswith(tables.STARTS_A_FORMULA)
