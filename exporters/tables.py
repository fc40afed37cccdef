"""Tables of a run and of a comparison as files: CSV, Parquet and JSON."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from greenai.errors import OrderError
from greenai.exporters.files import replacing, write_json
from greenai.metrics import PHASE_COLUMNS, STEP_COLUMNS, SUB_PHASE_COLUMNS
from greenai.sensors.base import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from greenai.analysis.compare import Comparison
    from greenai.exporters.readable import ReadableRun

FORMATS = ("csv", "parquet", "json")

TEXT = frozenset({"run_id", "variant", "attribution", "boundary", "phase", "subphase"})
WHOLE = frozenset({"attempt", "step", "epoch", "batches", "ranks", "count"})
"""Columns of integers; one may be unknown all the same."""
COUNTED = frozenset({"samples", "tokens", "flops"})
"""Columns of counts that may exceed what an integer holds; in text without a decimal point."""
ROWS_AT_ONCE = 2**17
"""Rows that are made into text or Parquet at a time."""
LARGEST_EXACT = 2**53
"""Up to here every whole number is a float."""

STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters that make a spreadsheet run a cell instead of showing it (OWASP);
spreadsheets take the wide forms too."""


def export(run: ReadableRun, folder: Path, formats: Iterable[str] = FORMATS) -> list[Path]:
    """Write the tables of a run.

    ``csv`` gives steps.csv and phases.csv (and subphases.csv, where parts of steps were marked),
    ``parquet`` gives steps.parquet with the same rows and
    columns as steps.csv, ``json`` gives summary.json. An unknown is an empty cell, null or None.

    Args:
        run: The run.
        folder: Where to; made where it is missing.
        formats: Any of ``csv, parquet, json``.

    Returns:
        The files, each replaced whole.

    Raises:
        OrderError: A format is unknown.
        RecordError: The folder cannot be written.
    """
    wanted = tuple(dict.fromkeys(formats))
    for name in wanted:
        if name not in FORMATS:
            raise OrderError(f"Unknown format {name!r}.", hint=f"use {', '.join(FORMATS)}")
    writers: dict[str, list[tuple[str, Callable[[Path], None]]]] = {
        "csv": [
            ("steps.csv", lambda path: write_csv(path, run.steps(), STEP_COLUMNS)),
            ("phases.csv", lambda path: write_csv(path, phases_table(run))),
        ],
        "parquet": [("steps.parquet", lambda path: write_parquet(path, run.steps(), STEP_COLUMNS))],
        "json": [("summary.json", lambda path: write_json(path, run.summary()))],
    }
    if "csv" in wanted and len(parts := _typed(run.subphases(), SUB_PHASE_COLUMNS)):
        writers["csv"].append(("subphases.csv", lambda path: write_csv(path, parts)))
    written = []
    for file, write in (one for name in wanted for one in writers[name]):
        write(folder / file)
        written.append(folder / file)
    return written


def export_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write comparison.json and comparison.csv.

    Returns:
        The two files.

    Raises:
        RecordError: The folder cannot be written.
    """
    written = [folder / "comparison.json", folder / "comparison.csv"]
    write_json(written[0], comparison.to_json())
    write_csv(written[1], comparison_table(comparison))
    return written


def steps_table(run: ReadableRun) -> pd.DataFrame:
    """The steps with STEP_COLUMNS in order and one type a column, whatever the run holds."""
    return _typed(run.steps(), STEP_COLUMNS)


def phases_table(run: ReadableRun) -> pd.DataFrame:
    """The phases with PHASE_COLUMNS in order and one type a column."""
    return _typed(run.phases(), PHASE_COLUMNS)


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a variant, the keys of comparison.json as columns; the baseline is named in each."""
    rows = []
    for result in comparison.results:
        plain = result.to_json()
        trust = plain.pop("trust") or {}
        shares = {f"trust_{name}": trust.get(name) for name in get_args(Trust)}
        rows.append({"per": comparison.per, "baseline": comparison.baseline, **plain, **shares})
    return pd.DataFrame(rows)


def write_csv(path: Path, table: pd.DataFrame, columns: Sequence[str] | None = None) -> None:
    r"""Write a table as CSV: UTF-8, lines end in \n, floats read back to the same value.

    A text that a spreadsheet would run as a formula gets a leading apostrophe; numbers never do.

    Args:
        path: The file.
        table: What is written, a stretch of rows at a time.
        columns: Columns that are given one type each, as in ``steps_table``; None writes the table
            as it is.

    Raises:
        RecordError: The file cannot be written.
    """
    names = table.columns if columns is None else columns
    counts = [name for name in names if name in COUNTED]
    whole = {
        name
        for name in counts
        if _all_whole(table[name] if columns is None else _column(name, table[name]))
    }
    with replacing(path) as file:
        for start, some in _stretches(table):
            typed = some if columns is None else _typed(some, columns)
            text = io.StringIO()
            shown = pd.DataFrame({name: _for_csv(name, typed[name], whole) for name in names})
            shown.to_csv(text, index=False, lineterminator="\n", na_rep="", header=start == 0)
            file.write(text.getvalue().encode("utf-8", "replace"))


def write_parquet(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Write a table as Parquet with the same columns, types and order for every run.

    Raises:
        RecordError: The file cannot be written.
    """
    schema = pa.schema([pa.field(name, _arrow_type(name)) for name in columns])
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        for _, some in _stretches(table):
            arrow = pa.Table.from_pandas(_typed(some, columns), schema, preserve_index=False)
            writer.write_table(arrow.replace_schema_metadata(None))


def _stretches(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Rows of a table, some at a time, with their place: all of a long one would take gigabytes."""
    for start in range(0, max(1, len(table)), ROWS_AT_ONCE):
        yield start, table.iloc[start : start + ROWS_AT_ONCE].reset_index(drop=True)


def _all_whole(counts: pd.Series[Any]) -> bool:
    """Whether all counts that are known are integers, and small enough to be exact."""
    known = counts.dropna()
    return bool(((known == np.floor(known)) & (known.abs() <= LARGEST_EXACT)).all())


def _typed(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({name: _column(name, frame[name]) for name in columns})


def _column(name: str, values: pd.Series[Any]) -> pd.Series[Any]:
    """Give a column its type; what is no number is unknown, and so is an unbounded bound."""
    if name in TEXT:
        return values.map(_text).astype(object)
    if name == "start_utc":
        return pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]")
    if name == "rolled_back":
        return values.astype("boolean")
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    numbers = numbers.where(np.isfinite(numbers), np.nan)
    return numbers.astype("Int64") if name in WHOLE else numbers


def _text(value: object) -> str | None:
    """Text that UTF-8 can hold; an absent one stays absent."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _for_csv(name: str, values: pd.Series[Any], whole: Collection[str]) -> pd.Series[Any]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        known = values.notna()
        naive = values.dt.tz_localize(None).to_numpy("datetime64[us]")
        texts = pd.Series(np.datetime_as_string(naive, unit="us"), dtype=object) + "Z"
        return texts.where(known.to_numpy(), None)
    if name in whole:
        return values.astype("Int64")
    if pd.api.types.is_string_dtype(values.dtype) or values.dtype == object:
        return values.map(lambda value: _one_newline(defused(value)))
    return values


def defused(value: object) -> object:
    """Make a text cell one that every spreadsheet shows and none runs; other values stay.

    Example:
        >>> defused("=cmd()"), defused("dense"), defused(-1.5)
        ("'=cmd()", 'dense', -1.5)
    """
    if isinstance(value, str) and value.startswith(STARTS_A_FORMULA):
        return f"'{value}"
    return value


def _one_newline(value: object) -> object:
    r"""Line ends within a cell as \n: until Python 3.13 the csv module leaves \r unquoted."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    return value


def _arrow_type(name: str) -> pa.DataType:
    if name in TEXT:
        return pa.string()
    if name == "start_utc":
        return pa.timestamp("us", tz="UTC")
    if name == "rolled_back":
        return pa.bool_()
    return pa.int64() if name in WHOLE else pa.float64()
