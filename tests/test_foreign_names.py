"""Laws of foreign names: whatever a record from elsewhere is called, no form of it acts on that."""

from __future__ import annotations

import csv
import html
import json
import shutil
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from greenai import cli

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
NASTY = (
    "</script><script>alert(1)</script>",
    "=cmd|'/C calc'!A0",
    'a"b\\c\n# EOF\ngreenai_evil_total{x="1"} 5\x1b[2J',
    "x" * 10_000,
)


@pytest.fixture(params=NASTY, ids=["script", "formula", "lines", "long"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """The recorded run with a name wherever a name may stand."""
    folder, name = tmp_path / "runs" / "one", request.param
    shutil.copytree(RECORDED, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    facts = dict.fromkeys(("model", "model_version", "model_sha256"), name)
    ancestor = {"run_id": "b1", "variant": name, "started_utc": name, "energy_j": 1.0}
    manifest |= {"variant": name, "project": name, "git_commit": name, "lineage": [ancestor]}
    manifest["config"] = {**facts, name: name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder, name


def without(texts: str, name: str) -> None:
    """Nothing in it moves a cursor, opens a tag, or goes on for ever."""
    assert "\x1b[2J" not in texts
    assert "<script>alert" not in texts
    assert "x" * 1_000 not in texts or len(name) < 1_000


def test_no_name_acts_in_a_form_for_people(
    named: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, name = named
    out = tmp_path / "out"
    files = {end: out / f"report.{end}" for end in ("html", "md")}
    options = [text for end, path in files.items() for text in (f"--{end}", str(path))]
    assert run(["report", str(folder), *options]) == 0
    many = out / "many.html"
    assert run(["report", str(folder.parent), "--by", "project", "--html", str(many)]) == 0
    assert run(["runs", str(folder.parent)]) == 0
    assert run(["export", str(folder), "--format", "gpai-form", "--out", str(out)]) == 0
    said = capsys.readouterr()
    without(said.err.replace(str(tmp_path), ""), name)
    assert "\x1b[2J" not in said.out
    for path in (files["html"], many):
        without(path.read_text(encoding="utf-8"), name)
    for path in (files["md"], out / "gpai-form.md"):  # there a tag is text
        without(path.read_text(encoding="utf-8").replace("\\<", "("), name)
    assert html.escape(name[:3]) in files["html"].read_text(encoding="utf-8")  # as text it stands


def test_no_name_acts_in_a_form_for_machines(named: tuple[Path, str], tmp_path: Path) -> None:
    folder, name = named
    out = tmp_path / "out"
    kinds = ("openmetrics", "boamps", "csv", "emissions", "json")
    formats = [text for kind in kinds for text in ("--format", kind)]
    form = ["--task-family", name[:100], "--infrastructure", "onPremise"]
    assert run(["export", str(folder), *formats, *form, "--out", str(out)]) == 0
    families = list(text_string_to_metric_families((out / "openmetrics.txt").read_text()))
    assert all(family.name.startswith("greenai_") for family in families)
    assert "greenai_evil" not in {family.name for family in families}
    assert all(
        len(text) < 1_000
        for family in families
        for sample in family.samples
        for text in sample.labels.values()
    )
    assert json.loads((out / "summary.json").read_text())["variant"] == name
    assert "powerConsumption" in json.loads((out / "boamps.json").read_text())["measures"][0]
    for table in ("steps.csv", "emissions.csv"):
        with (out / table).open(encoding="utf-8", newline="") as lines:
            header, *rows = csv.reader(lines)
        assert {len(row) for row in rows} == {len(header)}
        assert not any(cell.startswith(("=", "@", "\t")) for row in rows for cell in row)


def run(arguments: list[str]) -> int:
    """The command's exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)
