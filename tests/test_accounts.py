"""Laws of a run's accounts: its own hardware and work, from the recorded run."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

import greenai
from greenai import cli, embodied
from greenai.accounts import impacts_of
from greenai.analysis.embodied import Life
from greenai.analysis.impacts import Factors, Given
from greenai.analysis.ranges import Range
from greenai.errors import OrderError
from greenai.intensity_file import read_prices
from greenai.run import Run

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"


def test_the_accounts_of_a_run_follow_from_its_summary() -> None:
    run = greenai.load(RECORDED)
    summary, found = run.summary(), impacts_of(run, Factors(wue_l_per_kwh=Given(0.4, "site")))
    assert found.energy_kwh.mid == pytest.approx(summary["energy_j"] / 3.6e6)
    assert found.energy_kwh.low == pytest.approx(0.95 * summary["energy_low_j"] / 3.6e6)
    assert found.location_based_g.mid == pytest.approx(summary["operational_co2e_g"])
    assert found.water_on_site_l.mid == pytest.approx(0.4 * summary["energy_j"] / 3.6e6)
    (per_token, per_sample) = found.sci
    assert (per_token.unit, per_token.amount) == ("token", summary["tokens"])
    assert (per_sample.unit, per_sample.is_standard) == ("sample", False)
    homes, _ = found.equivalences
    assert homes.amount.mid == pytest.approx(summary["energy_j"] / 3.6e6 * 1.2 / 10_791)


def test_hardware_that_is_in_no_table_is_unknown_and_said() -> None:
    found = impacts_of(greenai.load(RECORDED))
    named = {device.partition(" (")[0] for device in greenai.load(RECORDED).devices()}
    known = all(embodied.device_or_unknown(name).made_kg.is_known for name in named)
    assert found.embodied_g.is_known == known
    assert any("Embodied" in said for said in found.said)


def test_each_hour_is_paid_at_its_own_price_and_a_missing_one_makes_the_cost_unknown(
    tmp_path: Path,
) -> None:
    run = greenai.load(RECORDED, pue=1.5)
    path = tmp_path / "prices.csv"
    head = "start_utc, end_utc, price_per_kwh, currency\n"
    path.write_text(head + "2026-11-24T03:00Z,2026-11-24T04:00Z,0.2,EUR\n")
    found = impacts_of(run, prices=read_prices(path))
    assert found.cost == pytest.approx(run.energy() / 3.6e6 * 1.5 * 0.2)
    assert found.currency == "EUR"
    assert not any("No price" in said for said in found.said)
    path.write_text(head + "2026-11-24T03:00Z,2026-11-24T04:00Z,-0.2,EUR\n")
    assert impacts_of(run, prices=read_prices(path)).cost < 0
    path.write_text(head + "2026-11-24T05:00Z,2026-11-24T06:00Z,0.2,EUR\n")
    assert math.isnan(impacts_of(run, prices=read_prices(path)).cost)


def test_hardware_that_is_named_is_counted_for_the_time_of_the_run() -> None:
    run = greenai.load(RECORDED)
    devices = [embodied.device("H100 SXM", 8), embodied.device("server")]
    found = impacts_of(run, devices=devices, life=Life(Range.exactly(4.0)))
    hours = run.summary()["duration_s"] / 3600
    assert found.embodied_g.mid == pytest.approx((8 * 164 + 2500) * 1000 * hours / 35_064)
    assert found.sci[0].g_per_unit.is_known


def test_every_row_of_the_embodied_table_is_sourced_or_says_why_not() -> None:
    with embodied.TABLE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        assert row["source"] if row["kg"] else row["note"], row
        assert embodied.device(row["name"]).made_kg.is_known == bool(row["kg"])


def test_no_name_means_two_devices() -> None:
    with embodied.TABLE.open(encoding="utf-8", newline="") as lines:
        names = [
            name.casefold()
            for row in csv.DictReader(lines)
            for name in (row["name"], *filter(None, row["aliases"].split(";")))
        ]
    assert len(set(names)) == len(names)


def test_an_unknown_accelerator_is_an_error_with_the_nearest_names() -> None:
    with pytest.raises(OrderError, match="Unknown accelerator 'H100 SMX'") as refused:
        embodied.device("H100 SMX")
    assert "H100 SXM" in refused.value.hint
    assert not embodied.device_or_unknown("NVIDIA H100 PCIe").made_kg.is_known


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["impacts", str(RECORDED), *words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_the_command_shows_all_with_bounds_and_names_what_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--pue", "1.2", "--wue", "0.4", "--price", "0.2", "--currency", "EUR"]
    code, said = shown(capsys, *words, "--device", "8×H100 SXM", "--device", "server")
    assert code == 0
    assert "Embodied: 8 H100 SXM" in said
    lines = {line.partition(":")[0]: line.partition(":")[2].strip() for line in said.splitlines()}
    assert lines["market-based"] == "unknown"
    assert " l (" in lines["water off site"]
    assert " to " in lines["location-based"]
    assert lines["cost"].endswith("EUR")


def test_the_command_gives_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = shown(capsys, "--json", "--parameters", "7e9", "--market-g-per-kwh", "0")
    assert code == 0
    plain = json.loads(said)
    assert plain["market_based_g"]["mid"] == 0
    assert plain["water_on_site_l"]["mid"] is None
    assert {one["unit"] for one in plain["sci"]} == {"token", "sample", "parameter"}


def test_the_world_average_is_named_in_the_accounts_too() -> None:
    run = greenai.load(RECORDED)
    run.record.manifest["settings"] |= {"country": {"value": None}}
    found = impacts_of(Run(run.record))
    assert any("world average of 475 g/kWh" in said for said in found.said)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--device", "H100 SMX"], "H100 SXM"),
        (["--wue", "-1"], "wue_l_per_kwh is -1"),
        (["--pue", "0.9"], "PUE is 0.9"),
        (["--pue", "-1"], "PUE is -1"),
        (["--active-parameters", "1e9"], "without parameters"),
        (["--country", "FR"], "did you mean FRA"),
    ],
)
def test_bad_factors_are_refused_with_the_nearest_choice(
    capsys: pytest.CaptureFixture[str], words: list[str], what: str
) -> None:
    code, said = shown(capsys, *words)
    assert code == 1
    assert what in said
    assert "hint:" in said


def test_a_report_takes_the_servers_and_the_prices_that_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.csv"
    head = "start_utc,end_utc,price_per_kwh,currency\n"
    prices.write_text(head + "2026-11-24T03:00Z,2026-11-24T04:00Z,0.2,EUR\n")
    plain, page = tmp_path / "r.json", tmp_path / "r.html"
    words = ["--device", "2×A100 SXM", "--device", "server", "--price-file", str(prices)]
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", str(RECORDED), "--json", str(plain), "--html", str(page), *words])
    assert ended.value.code == 0
    capsys.readouterr()
    summary = json.loads(plain.read_text("utf-8"))["summary"]
    hours = summary["duration_s"] / 3600
    share = hours / (5 * 8766)
    assert summary["impacts"]["embodied_g"]["mid"] == pytest.approx(1000 * 2755.2 * share)
    assert summary["impacts"]["embodied_g"]["low"] < summary["impacts"]["embodied_g"]["mid"]
    assert summary["impacts"]["cost"] == pytest.approx(summary["energy_j"] / 3.6e6 * 1.2 * 0.2)
    assert any(said.startswith("Embodied: 1 server") for said in summary["impacts"]["said"])
    assert "SCI per token" in page.read_text("utf-8")


def test_a_factor_has_the_source_that_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--wue",
        "0.4",
        "--market-g-per-kwh",
        "12",
        "--source",
        "market=PPA of a wind farm, 2026",
    ]
    code, said = shown(capsys, *words, "--source", "wue=the operator, 2025")
    assert code == 0
    assert "Market-based factor: 12 g/kWh, source: PPA of a wind farm, 2026." in said
    assert "WUE: 0.4 l/kWh of IT energy, source: the operator, 2025." in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--source", "markt=x"], "did you mean market"),
        (["--wue", "1", "--source", "wue="], "names no factor"),
        (["--source", "price=x"], "without its value"),
    ],
)
def test_a_source_of_nothing_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(OrderError, match=says):
        cli.app(["impacts", str(RECORDED), *words], standalone_mode=False)


def test_what_the_devices_would_have_used_at_rest_is_said_where_it_is_known() -> None:
    run = greenai.load(RECORDED)
    assert run.summary()["idle_j"] is None
    run.record.manifest["config"]["idle_power_w"] = 80.0
    summary = Run(run.record).summary()
    assert summary["idle_j"] == pytest.approx(80.0 * summary["duration_s"])
