"""Laws of many runs: none is left out, sums are of what is known, names act nowhere."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import greenai
from greenai import cli
from greenai.errors import OrderError, RecordError
from greenai.exporters.portfolio import COLUMNS, Entry, groups_sheet, keys_of, runs_html, runs_table
from greenai.overview import entries_of, record_sha256

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
NASTY = ("<script>alert(1)</script>", "=cmd()", "+1", "@x", "x" * 10_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs that can be read, one of them deeper, and one that cannot."""
    for name in ("runs/a", "runs/deep/b", "runs/c"):
        shutil.copytree(RECORDED, tmp_path / name)
    (tmp_path / "runs/c/manifest.json").write_text("{")
    return tmp_path / "runs"


def entry(folder: str = "a", **facts: Any) -> Entry:
    return Entry(folder, {**greenai.load(RECORDED).summary(), **facts}, "", "0" * 64)


def test_every_run_is_an_entry_and_a_broken_one_says_why(root: Path) -> None:
    found = entries_of(root)
    assert [one.folder for one in found] == ["a", "c", "deep/b"]
    assert found[1].summary is None
    assert "manifest.json is not as greenai writes it" in found[1].problem
    assert str(root) not in found[1].problem
    assert all(len(one.record_sha256) == 64 for one in found)


def test_days_are_in_utc_and_both_included_and_no_broken_run_vanishes(root: Path) -> None:
    day = dt.date(2026, 11, 24)
    assert len(entries_of(root, day, day)) == 3
    before = entries_of(root, None, day - dt.timedelta(days=1))
    assert [one.folder for one in before] == ["c"]
    assert [one.folder for one in entries_of(root, day + dt.timedelta(days=1))] == ["c"]


def test_the_digest_is_what_sha256sum_says_and_derived_files_do_not_change_it(
    root: Path,
) -> None:
    first = record_sha256(root / "a")
    names = sorted(
        path.relative_to(root / "a").as_posix()
        for path in (root / "a").glob("rank-*/*/*")
        if path.name != "live.json"  # the newest totals, for others to look at; no record
    )
    lines = subprocess.run(
        ["sha256sum", "manifest.json", *names], cwd=root / "a", capture_output=True, check=True
    ).stdout
    assert first == hashlib.sha256(lines).hexdigest()
    (root / "a" / "summary.json").write_text("{}")
    assert record_sha256(root / "a") == first
    with (root / "a" / names[0]).open("ab") as file:
        file.write(b"x")
    assert record_sha256(root / "a") != first


def test_a_sum_is_of_what_is_known_and_says_of_how_many_it_is_not(root: Path) -> None:
    sheet = groups_sheet(entries_of(root), ("project", "month"))
    assert [row[:5] for row in sheet.rows] == [
        ("fixtures", "2026-11", "2", "0", "0"),
        ("unknown", "unknown", "1", "1", "1"),
        ("All", "", "3", "1", "1"),
    ]
    energy = [row[5] for row in sheet.rows]
    assert energy == ["5.437", "unknown", "5.437"]


def test_coverage_is_weighted_by_time_and_trust_by_energy() -> None:
    runs = [
        entry(duration_s=30.0, coverage=1.0, energy_j=100.0, trust={"measured": 1.0}),
        entry(duration_s=10.0, coverage=0.2, energy_j=300.0, trust={"measured": 0.2}),
    ]
    row = groups_sheet(runs, ("project",)).rows[-1]
    assert row[5:7] == ("80.0 %", "40.0 %")


def test_nothing_known_is_unknown_and_not_zero() -> None:
    row = groups_sheet([Entry("c", None, "broken", "")], ("month",)).rows[-1]
    assert row[4:] == ("unknown",) * 5
    plain = runs_table([Entry("c", None, "broken", "")]).iloc[0]
    assert plain["problem"] == "broken"
    assert plain[["energy_j", "attempts", "coverage", "record_sha256"]].isna().all()


@pytest.mark.parametrize("wrong", ["colour", "project,colour", "", ","])
def test_an_unknown_key_is_refused_with_those_there_are(wrong: str) -> None:
    with pytest.raises(OrderError, match="project, month, variant, place"):
        keys_of(wrong)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No run lies below"):
        entries_of(tmp_path)


@pytest.mark.parametrize("nasty", NASTY)
def test_no_name_acts_on_the_page(nasty: str) -> None:
    plain = runs_html("runs", [entry()], ("project", "variant"))
    page = runs_html(nasty, [entry(nasty, project=nasty, variant=nasty)], ("project", "variant"))
    assert page.count("<") == plain.count("<")
    assert "x" * 400 not in page


def test_the_command_writes_the_page_and_the_table(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((root / "a/manifest.json").read_text())
    (root / "a/manifest.json").write_text(json.dumps({**manifest, "project": "=cmd()"}))
    page, table = root.parent / "many.html", root.parent / "many.csv"
    words = ["report", str(root), "--by", "project,month", "--from", "2026-11-01", "--to"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "2026-11-30", "--html", str(page), "--csv", str(table)])
    assert not ended.value.code
    assert "2026-11" in capsys.readouterr().out
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["folder"] for row in rows] == ["a", "c", "deep/b"]
    assert [row["project"] for row in rows] == ["'=cmd()", "", "fixtures"]
    assert (rows[0]["attempts"], rows[0]["intensity_year"]) == ("1", "2024")
    assert float(rows[0]["energy_j"]) == greenai.load(RECORDED).energy()
    assert "not as greenai writes it" in page.read_text()


@pytest.mark.parametrize(
    "words", [["--md", "x.md"], ["--pdf", "x.pdf"], ["--country", "ATLANTIS"], ["--by", "moon"]]
)
def test_what_does_not_go_with_many_runs_is_refused(
    root: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", str(root), "--by", "project", *words])
    assert ended.value.code == 1
    assert "hint:" in capsys.readouterr().err
