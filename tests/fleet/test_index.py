"""Laws of the index and the list: no run vanishes, numbers stay, a condition reaches nothing."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

import greenai
from greenai import cli
from greenai.errors import OrderError, RecordError
from greenai.exporters.tables import STARTS_A_FORMULA
from greenai.fleet import listing
from greenai.fleet.gathering import gather
from greenai.fleet.index import index_bytes, opened
from greenai.fleet.places import place_of
from greenai.fleet.query import Listing
from greenai.fleet.rows import COLUMNS, NUMBER, SUMMARY, TIME, WHOLE, row_of, unreadable
from greenai.fleet.walking import run_folders
from greenai.record.written import newest_ns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ["broken", "deep/moe-0", "deep/moe-1", "dense-0", "running", "stale"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    captured = capsys.readouterr()
    return int(str(end.value.code or 0)), captured.out, captured.err


def test_every_run_has_a_row_and_what_is_not_known_a_reason(root: Path) -> None:
    rows = {row["folder"]: row for row in gather(place_of(root))}
    assert sorted(rows) == NAMES
    assert {name: row["source"] for name, row in rows.items()} == {
        "broken": "unreadable",
        "deep/moe-0": "summary.json",
        "deep/moe-1": "summary.json",
        "dense-0": "summary.json",
        "running": "record",
        "stale": "record",
    }
    assert rows["broken"]["problem"].startswith("broken/manifest.json is not as greenai writes it")
    assert all(str(root) not in str(value) for row in rows.values() for value in row.values())
    # a summary older than its record, or none, is no source
    energy_j = greenai.load(root / "dense-0").summary()["energy_j"]
    assert rows["stale"]["energy_j"] == rows["running"]["energy_j"] == energy_j


def test_computing_all_anew_trusts_no_summary(root: Path, recorded_summary: dict[str, Any]) -> None:
    rows = gather(place_of(root), compute=True)
    assert {row["source"] for row in rows} == {"record", "unreadable"}
    known = [row for row in rows if row["folder"] == "deep/moe-1"]
    assert known[0]["variant"] == recorded_summary["variant"]


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"schema_version": 99}', b"[" * 100_000])
def test_a_summary_that_is_none_is_computed_and_not_believed(
    make_run: Callable[..., Path], content: bytes
) -> None:
    folder = make_run("a")
    (folder / "summary.json").write_bytes(content)
    (row,) = gather(place_of(folder.parent))
    assert (row["source"], row["steps"]) == ("record", 40)


def test_a_summary_that_is_a_link_is_not_followed(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_run("a", energy_j=7.0)
    (folder / "summary.json").rename(tmp_path / "elsewhere.json")
    (folder / "summary.json").symlink_to(tmp_path / "elsewhere.json")
    (row,) = gather(place_of(folder.parent))
    assert row["source"] == "record"


def test_a_record_is_as_new_as_its_newest_file(make_run: Callable[..., Path]) -> None:
    folder = make_run("a")
    for number, path in enumerate(sorted(folder.glob("rank-0/*/*.frames"))):
        os.utime(path, ns=(0, 2**62 + number))
        assert newest_ns(folder) == 2**62 + number


def test_a_damaged_record_is_listed_with_what_is_left_and_why(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("hurt", summary=False)
    (marks,) = folder.glob("rank-*/attempt-*/marks.frames")
    data = bytearray(marks.read_bytes())
    data[40] ^= 0xFF
    marks.write_bytes(data)
    (row,) = gather(place_of(folder.parent))
    assert row["source"] == "record"
    assert row["problem"].startswith("hurt/rank-0/")
    assert row["problem"].endswith("The numbers are of what lies before.")
    _, _, err = said(capsys, "runs", str(folder.parent))
    assert "hurt cannot be read whole: hurt/rank-0/" in err


def test_the_index_gives_back_every_value_and_null_for_what_is_unknown(
    root: Path, tmp_path: Path
) -> None:
    rows = gather(place_of(root))
    path = tmp_path / "i.parquet"
    path.write_bytes(index_bytes(rows))
    table = pq.read_table(path)
    assert table.column_names == list(COLUMNS)
    assert table.to_pylist() == rows
    broken = table.to_pylist()[0]
    assert [name for name, value in broken.items() if value is not None] == [
        "folder",
        "problem",
        "source",
        "indexed_utc",
    ]
    with opened(path.read_bytes()) as fleet, opened(rows) as same:
        assert fleet.choose() == same.choose()


@pytest.mark.parametrize(
    "value", [None, True, "x", [], {}, float("nan"), float("inf"), 10**400, -(10**400), "\ud800"]
)
def test_a_value_of_another_type_is_unknown(value: Any) -> None:
    summary = dict.fromkeys(COLUMNS, value) | {"component_j": value, "devices": [value, {}]}
    row = row_of("a", summary, SUMMARY, None)
    kinds = {WHOLE, NUMBER, TIME}
    assert {row[name] for name, kind in COLUMNS.items() if kind in kinds} == {None}
    index_bytes([row])


def test_times_are_utc_whatever_their_offset() -> None:
    row = row_of("a", {"started_utc": "2026-11-26T01:00:00+02:00"}, SUMMARY, None)
    assert row["started_utc"] == dt.datetime(2026, 11, 25, 23)  # noqa: DTZ001 - UTC by its name


def test_the_command_writes_the_index_whole_and_lists_by_condition(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("runs", str(root), "--where", "variant = 'moe' -- only these", "--sort", "j_per_token")
    without = said(capsys, *words)
    assert not (root / "index.parquet").exists()  # listing writes nothing
    assert said(capsys, "index", str(root))[1].startswith("6 runs, 2 of them computed")
    code, out, err = said(capsys, *words)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["folder", "deep/moe-1", "deep/moe-0"]
    assert without[1] == out
    assert "broken cannot be read whole: broken/manifest.json" in err
    assert "From the index of " in err
    assert [path.name for path in root.glob("*") if path.is_file()] == ["index.parquet"]
    (root / "late" / "rank-0").mkdir(parents=True)
    assert "1 runs are not in it, as late" in said(capsys, *words)[2]
    listed = said(capsys, "runs", f"{root}/index.parquet", "--json", "--sort", "-j_per_token")[1]
    assert [row["folder"] for row in json.loads(listed)][:2] == ["deep/moe-0", "dense-0"]
    assert json.loads(listed)[-1]["energy_j"] is None  # what is unknown comes last
    table = said(capsys, "runs", str(root), "--csv", "--columns", "folder,energy_j", "--limit", "1")
    assert list(csv.reader(io.StringIO(table[1]))) == [["folder", "energy_j"], ["broken", ""]]


@pytest.mark.parametrize(
    "where",
    [
        "enegy_j > 1",
        "(",
        "folder = $1",
        "1 = 1) UNION ALL BY NAME (FROM read_text('{secret}')",
        "folder IN (SELECT content FROM read_text('{secret}'))",
        "folder IN (SELECT content FROM read_csv_auto('{secret}'))",
        "folder IN (FROM '{secret}')",
        "folder IN (SELECT file FROM glob('{secret}*'))",
        "folder IN (SELECT x FROM variable_of_this_program)",
        "1 = 1); DROP TABLE runs; SELECT (1",
        "1 = 1); COPY runs TO '{secret}'; SELECT (1",
        "1 = 1); SET enable_external_access = true; SELECT (1",
        "1 = 1); INSTALL httpfs; SELECT (1",
    ],
)
def test_a_condition_reads_no_file_and_runs_no_second_statement(where: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("content\nhush\n")
    where = where.replace("{secret}", str(secret))
    with opened([unreadable("a", "damaged")]) as fleet:
        with pytest.raises(OrderError) as refused:
            fleet.choose(where)
        assert "hush" not in str(refused.value)
        assert len(fleet.choose().rows) == 1
    assert secret.read_text() == "content\nhush\n"
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_a_wrong_column_is_refused_with_those_there_are() -> None:
    with opened([unreadable("a", "damaged")]) as fleet:
        for words in ({"sort": ["colour"]}, {"columns": ["colour"]}, {"where": "colour = 1"}):
            with pytest.raises(OrderError, match="j_per_token"):
                fleet.choose(**words)  # type: ignore[arg-type] # one of three, each of its type


def test_an_index_that_is_none_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415 - of this test alone

    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    for data in (b"", b"PAR1", (tmp_path / "other.parquet").read_bytes()):
        with pytest.raises(RecordError, match="index"), opened(data):
            pass


def test_a_folder_without_runs_is_refused_and_not_an_empty_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("runs", str(tmp_path)), ("index", str(tmp_path)), ("runs", "nowhere")):
        assert said(capsys, *words)[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_a_link_is_not_walked_into(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (root / "dense-0").rename(outside)
    (root / "dense-0").symlink_to(outside)
    assert "dense-0" not in [path.name for path in run_folders(root)]


def test_no_name_moves_the_cursor_and_no_cell_runs() -> None:
    nasty = "=cmd()\x1b[2J\r\n"
    shown = Listing(("folder", "steps"), [(nasty, 1), (None, None)])
    assert "\x1b" not in listing.text_of(shown)
    cells = list(csv.reader(io.StringIO(listing.csv_of(shown))))
    assert cells == [["folder", "steps"], ["'=cmd()\x1b[2J\n", "1"], ["", ""]]
    assert json.loads(listing.json_of(shown))[0]["folder"] == nasty
    assert listing._STARTS_A_FORMULA == STARTS_A_FORMULA


def test_listing_from_an_index_loads_nothing_heavy_and_comes_soon(root: Path) -> None:
    rows = [row for row in gather(place_of(root)) if row["problem"] is None]
    (root / "index.parquet").write_bytes(index_bytes(rows * 300))
    code = (
        "import sys; from greenai import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "  heavy = {'torch', 'codecarbon', 'greenai.run'} & set(sys.modules)\n"
        "  import duckdb\n"
        "  if not duckdb.__version__.startswith('1.'):  # 1.1.3, and its typer, load these\n"
        "    heavy |= {'pandas', 'numpy', 'pyarrow', 'rich'} & set(sys.modules)\n"
        "  sys.exit(end.code or ' '.join(heavy) or None)"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "runs", str(root), "--where", "variant = 'moe'"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 601
    assert time.perf_counter() - begin < 30  # tests/bench/fleet.py prints the real figures
