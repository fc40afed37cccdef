"""Laws of the other forms of a report: they say what the page says, and nothing foreign acts."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import greenai
from greenai.analysis.impacts import Factors, Given
from greenai.errors import RecordError
from greenai.exporters.files import write_json
from greenai.exporters.methodology import methodology
from greenai.exporters.outline import outline_of
from greenai.exporters.pdf import write_pdf
from greenai.exporters.report_html import report_html
from greenai.exporters.report_markdown import report_json, report_markdown
from greenai.record.types import CHANGE

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parent.parent
RECORDED = TESTS / "fixtures" / "record-v1"
NASTY = ("<script>alert(1)</script>", "a | b", "[x](javascript:alert(1))", "`x`", "![i](http://x)")
FACTORS = Factors(
    wue_l_per_kwh=Given(0.5, "the site"),
    ewif_l_per_kwh=Given(3.0, "a table"),
    price_per_kwh=Given(0.25, "the contract"),
    currency="EUR",
    market_g_per_kwh=Given(0.0, "certificates"),
    parameters=1e9,
)


def test_the_markdown_of_the_recorded_run_is_the_golden_one() -> None:
    """To accept a new one: write ``report_markdown`` of this run to tests/golden/report.md."""
    text = report_markdown(greenai.load(RECORDED, factors=FACTORS))
    assert text == (TESTS / "golden" / "report.md").read_text(encoding="utf-8")


def test_the_page_the_markdown_and_the_json_have_the_same_sections() -> None:
    run = greenai.load(RECORDED)
    outline = outline_of(run)
    titles = [one.title for one in (*outline.energy_sections(), *outline.further_sections())]
    page, text, plain = report_html(run), report_markdown(run), report_json(run)
    assert [one["title"] for one in plain["sections"]] == titles
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [one for one in headings if one in titles] == titles
    assert all(f"<h2>{title}</h2>" in page for title in titles)


def test_the_json_is_strict_and_holds_the_summary(tmp_path: Path) -> None:
    run = greenai.load(RECORDED)
    write_json(tmp_path / "report.json", report_json(run))
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["summary"] == run.summary()
    assert found["title"] == "record-v1"


def test_what_no_factor_was_given_for_is_unknown_and_never_zero() -> None:
    run = greenai.load(RECORDED, country="NGA")  # no source gives the water of its generation
    facts = {one.name: one.value for one in outline_of(run).impacts}
    for name in ("Water on site", "Water off site", "Cost of the electricity"):
        assert facts[name] == "unknown"
    assert facts["Market-based emissions"] == "none claimed"


def test_water_of_generation_is_that_of_the_country_where_a_source_gives_it() -> None:
    summary = greenai.load(RECORDED).summary()
    energy_kwh = summary["energy_j"] / 3.6e6
    off_site_l = summary["impacts"]["water_off_site_l"]["mid"]
    assert off_site_l == pytest.approx(energy_kwh * 1.2 * 3.6737)  # PUE once
    assert any("World Resources Institute" in said for said in summary["impacts"]["said"])
    assert "facility energy" in methodology(greenai.load(RECORDED, pue_source="DC, 2025").summary())
    assert "DC, 2025" in methodology(greenai.load(RECORDED, pue_source="DC, 2025").summary())


def test_what_was_given_is_worked_out() -> None:
    run = greenai.load(RECORDED, factors=FACTORS)
    facts = {one.name: one.value for one in outline_of(run).impacts}
    energy_kwh = run.summary()["energy_j"] / 3.6e6
    assert facts["Water on site"] == f"{energy_kwh * 0.5 * 1e6:.0f} µL"
    assert facts["Water off site"] == f"{energy_kwh * 1.2 * 3.0 * 1e3:.2f} mL"
    assert facts["Cost of the electricity"] == f"{energy_kwh * 1.2 * 0.25:.6f} EUR"
    assert facts["Market-based emissions"] == "0 g"


def test_the_methodology_is_a_paragraph_that_says_what_was_done() -> None:
    text = methodology(greenai.load(RECORDED).summary())
    assert 80 <= len(text.split()) <= 150
    for said in ("NVML energy counter", "PUE of 1.2", "FRA", "2024", "99.1 %", "No offset"):
        assert said in text
    assert "Not known: market-based emissions" in text
    assert "(measured, read 19.9 ms apart around each change)" in text


def test_the_period_of_sampling_is_that_of_the_reads_around_each_change() -> None:
    run = greenai.load(RECORDED)
    (device,) = run.summary()["devices"]
    spans_ns = [
        int(hi - lo)
        for one in run.record.attempts[0].readings
        for lo, hi, kind in zip(one.t_lo_ns, one.t_hi_ns, one.kind, strict=True)
        if one.channel.primary and one.channel.method == "nvml_energy" and kind == CHANGE
    ]
    assert device["sampling_s"] == pytest.approx(statistics.median(spans_ns) / 1e9)
    sheet = outline_of(run).devices
    assert sheet.rows[0][[one.title for one in sheet.columns].index("Sampling")] == "19.9 ms"


def test_the_methodology_claims_nothing_that_was_not_done(unmetered: Any) -> None:
    facts = {**unmetered.summary(), "devices": [], "pue": None}
    text = methodology(facts)
    assert text.startswith("No device was metered; the energy is unknown.")
    assert "no PUE was given" in text
    assert "Estimated beside it" not in text


@pytest.mark.parametrize("nasty", NASTY)
def test_no_name_acts_in_markdown(make_run: Any, nasty: str) -> None:
    plain = report_markdown(make_run(name="n", variant="v", notices=("notice",)))
    run = make_run(name=nasty, variant=nasty, notices=(nasty,))
    run.record.manifest["config"] = {"learning_rate": nasty}
    text = report_markdown(run)
    assert not re.search(r"(?<!\\)[<`\[]", text.replace("&amp;", ""))
    bars = re.compile(r"(?<!\\)\|")
    assert len(bars.findall(text)) == len(bars.findall(plain))


def test_ten_thousand_characters_are_cut_in_every_form(make_run: Any) -> None:
    run = make_run(name="x" * 10_000, variant="y" * 10_000, notices=("z" * 10_000,))
    run.record.manifest["config"] = {"a" * 10_000: "b" * 10_000}
    for text in (report_markdown(run), report_html(run)):
        assert not re.search(r"([xyzab])\1{601}", text)


def test_a_long_run_with_many_gpus_stays_below_600_kb_in_every_form(make_run: Any) -> None:
    run = make_run(count=100_000, gpus=8)
    assert len(report_html(run).encode()) <= 600_000
    assert len(report_markdown(run).encode()) <= 50_000


@pytest.fixture
def browser(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program that takes the browser's place."""

    def make(script: str) -> str:
        program = tmp_path / "browser"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return str(program)

    return make


@pytest.mark.parametrize("script", ["echo broken >&2; exit 3", "exit 0", "kill -9 $$"])
def test_a_browser_that_prints_nothing_is_an_error_and_leaves_the_old_file(
    tmp_path: Path, browser: Callable[[str], str], script: str
) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"old")
    with pytest.raises(RecordError, match="printed no PDF"):
        write_pdf("<p>x", path, browser=browser(script))
    assert path.read_bytes() == b"old"


def test_a_browser_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        write_pdf("<p>x", tmp_path / "report.pdf", browser=str(tmp_path / "nowhere"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_page_prints_to_a_pdf(tmp_path: Path, run: Any) -> None:
    write_pdf(report_html(run), tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") >= 2
