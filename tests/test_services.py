"""Laws of live services: figures or a hole with its reason, never a secret, never another kind."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from simulation.grid_services import PASSWORD, TOKEN, USER, Fault, GridServices

import greenai
from greenai import cli
from greenai.errors import GridError
from greenai.services import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.analysis.intensity import IntensitySeries

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
HOUR_NS = 3_600_000_000_000
NAMES = ("electricitymaps", "watttime", "ukcarbon")
ZONES = {"electricitymaps": "FR", "watttime": "CAISO_NORTH", "ukcarbon": "GB"}


def ns(hour: float, day: int = 24) -> int:
    start = datetime(2026, 11, day, tzinfo=UTC)
    return int(start.timestamp()) * 1_000_000_000 + int(hour * HOUR_NS)


NOW_NS = ns(12, day=25)


@dataclasses.dataclass
class Desk:
    """Who asks: a cache of its own, no sleep, a fixed present."""

    server: GridServices
    cache: Path
    waits: list[float] = dataclasses.field(default_factory=list)
    now_utc_ns: int = NOW_NS

    def ask(self, name: str, start_ns: int, end_ns: int, zone: str = "") -> IntensitySeries:
        return fetch(
            name, zone or ZONES[name], start_ns, end_ns,
            cache=self.cache, wait=self.waits.append, now_utc_ns=self.now_utc_ns,
        )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", TOKEN)
    monkeypatch.setenv("WATTTIME_USER", USER)
    monkeypatch.setenv("WATTTIME_PASSWORD", PASSWORD)
    with GridServices(lambda at: 100.0 + at.hour) as server:
        for name, path in zip(NAMES, ("em", "wt", "uk"), strict=True):
            monkeypatch.setenv(f"GREENAI_{name.upper()}_URL", f"{server.url}/{path}/")
        yield Desk(server, tmp_path / "cache")


def hourly(series: IntensitySeries, hours: list[float]) -> list[float]:
    """Figures in force at some hours of the 24th."""
    at = np.searchsorted(series.edges_utc_ns, [ns(hour) for hour in hours], side="right") - 1
    return [float(series.g_per_kwh[k]) if 0 <= k < len(series.g_per_kwh) else math.nan for k in at]


def test_electricity_maps_gives_hourly_life_cycle_averages(desk: Desk) -> None:
    found = desk.ask("electricitymaps", ns(3.2), ns(5.5))
    assert hourly(found, [3.5, 4.5, 5.4]) == [103, 104, 105]
    assert (found.basis, found.signal, found.place) == ("lifecycle", "average", "FR")
    assert found.fetched_utc == "2026-11-25T12:00:00Z"
    assert not found.estimated.any()
    assert found.problems == ()


def test_the_latest_day_needs_no_access_to_the_past(desk: Desk) -> None:
    found = desk.ask("electricitymaps", ns(20), ns(22))
    assert hourly(found, [20.5, 21.5]) == [120, 121]
    (asked,) = desk.server.asked
    assert "/carbon-intensity/history?" in asked


def test_watttime_is_marginal_and_its_pounds_are_converted_and_named(desk: Desk) -> None:
    found = desk.ask("watttime", ns(3.2), ns(5.5))
    assert hourly(found, [3.5, 5.4]) == pytest.approx([103 * 0.45359237, 105 * 0.45359237])
    assert (found.basis, found.signal) == ("direct", "marginal")
    assert "lb/MWh converted" in found.source
    assert np.diff(found.edges_utc_ns).max() == 300 * 1_000_000_000


def test_the_uk_gives_half_hours_of_direct_averages(desk: Desk) -> None:
    found = desk.ask("ukcarbon", ns(3.2), ns(5.5))
    assert hourly(found, [3.5, 5.4]) == [103, 105]
    assert (found.basis, found.signal) == ("direct", "average")
    regional = desk.ask("ukcarbon", ns(3.2), ns(5.5), zone="13")
    assert hourly(regional, [3.5]) == [103]
    assert regional.estimated.all()  # regions have forecasts only


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_ahead_is_a_forecast_and_flagged(desk: Desk, name: str) -> None:
    found = desk.ask(name, ns(10, day=25), ns(15, day=25))
    middles = (found.edges_utc_ns[:-1] + found.edges_utc_ns[1:]) // 2
    assert np.isfinite(found.g_per_kwh[(middles > ns(10, day=25)) & (middles < ns(15, 25))]).all()
    assert found.estimated[middles > NOW_NS].all()
    assert not found.estimated[middles < NOW_NS].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_long_run_is_asked_for_in_pieces_that_join(desk: Desk, name: str) -> None:
    start_ns = ns(0) - 40 * 24 * HOUR_NS
    found = desk.ask(name, start_ns, ns(0))
    assert np.isfinite(found.g_per_kwh).all()
    assert (found.edges_utc_ns[0], found.edges_utc_ns[-1]) == (start_ns, ns(0))
    pages = [path for path in desk.server.asked if "login" not in path]
    assert len(pages) == (2 if name == "watttime" else 6)


@pytest.mark.parametrize("name", NAMES)
def test_nulls_and_left_out_slots_are_holes(desk: Desk, name: str) -> None:
    desk.server.g_at = lambda at: None if at.hour == 4 else 50.0
    desk.server.left_out = {
        datetime(2026, 11, 24, 6, minute, tzinfo=UTC) for minute in range(0, 60, 5)
    }
    found = desk.ask(name, ns(3), ns(8))
    known = np.isfinite(hourly(found, [3.5, 4.5, 5.5, 6.5, 7.5]))
    assert known.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("name", ["electricitymaps", "ukcarbon"])
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_fault_is_tried_again_with_growing_waits(desk: Desk, name: str, status: int) -> None:
    desk.server.faults = [Fault(status), Fault(status), Fault(status)]
    found = desk.ask(name, ns(3), ns(5))
    assert hourly(found, [3.5]) == [103]
    first, second, third = desk.waits
    assert 0.25 <= first <= 0.5 <= second <= 1 <= third <= 2


def test_a_service_that_asks_for_patience_gets_it_within_bounds(desk: Desk) -> None:
    desk.server.faults = [Fault(429, retry_after="7")]
    assert hourly(desk.ask("ukcarbon", ns(3), ns(5)), [3.5]) == [103]
    assert desk.waits == [7]
    desk.server.faults = [Fault(429, retry_after="3600")]
    found = desk.ask("ukcarbon", ns(6), ns(7))
    assert desk.waits == [7]
    assert "asked again in 3600 s" in found.problems[0]


@pytest.mark.parametrize("fault", [Fault(500), Fault(502), Fault(200), Fault(200, '{"data": 3}')])
@pytest.mark.parametrize("name", ["electricitymaps", "ukcarbon"])
def test_a_service_that_fails_leaves_a_hole_with_its_reason(
    desk: Desk, name: str, fault: Fault
) -> None:
    desk.server.faults = [fault] * 4
    found = desk.ask(name, ns(3), ns(5))
    assert np.isnan(found.g_per_kwh).all()
    (problem,) = found.problems
    assert "gave nothing for a part of the run" in problem
    assert "secret-page" not in problem


def test_a_piece_that_fails_leaves_the_others(desk: Desk) -> None:
    desk.server.faults = [Fault(500)] * 4
    found = desk.ask("electricitymaps", ns(0) - 10 * 24 * HOUR_NS, ns(0))
    assert hourly(found, [-0.5]) == [123]
    assert found.edges_utc_ns[0] == ns(0) - 3 * 24 * HOUR_NS
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9", "ConnectError"),
        ("http://127.0.0.1:port", "InvalidURL"),
        ("ftp://127.0.0.1", "UnsupportedProtocol"),
    ],
)
def test_no_server_at_all_is_a_hole_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("GREENAI_UKCARBON_URL", url)
    found = desk.ask("ukcarbon", ns(3), ns(5))
    assert np.isnan(found.g_per_kwh).all()
    assert f"{reason}, 4 times" in found.problems[0]


def test_figures_of_another_basis_or_unit_are_never_mixed_in(desk: Desk) -> None:
    row = {"carbonIntensity": 50, "datetime": "2026-11-24T03:00:00.000Z"}
    direct = [row | {"emissionFactorType": "direct"}]
    desk.server.faults = [Fault(200, json.dumps({"zone": "FR", "data": direct}))]
    found = desk.ask("electricitymaps", ns(3), ns(4))
    assert np.isnan(found.g_per_kwh).all()
    assert "gave direct figures" in found.problems[0]
    kilos = {"data": [], "meta": {"units": "kg_per_mwh"}}
    desk.server.valid_tokens = {"x"}
    desk.server.faults = [Fault(200, '{"token": "x"}'), Fault(200, json.dumps(kilos))]
    found = desk.ask("watttime", ns(3), ns(4))
    assert "kg_per_mwh" in found.problems[0]


def test_a_time_that_is_none_is_a_hole_and_no_crash(desk: Desk) -> None:
    rows = [{"carbonIntensity": 50, "datetime": "noon"}]
    desk.server.faults = [Fault(200, json.dumps({"zone": "FR", "data": rows}))]
    assert "'noon'" in desk.ask("electricitymaps", ns(3), ns(4)).problems[0]


def test_a_wrong_or_missing_token_is_the_users_to_mend(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "wrong-secret")
    with pytest.raises(GridError, match="401 Invalid auth-token") as refused:
        desk.ask("electricitymaps", ns(3), ns(5))
    assert "ELECTRICITYMAPS_TOKEN" in refused.value.hint
    assert "wrong-secret" not in str(refused.value)
    monkeypatch.delenv("ELECTRICITYMAPS_TOKEN")
    with pytest.raises(GridError, match="needs a token"):
        desk.ask("electricitymaps", ns(3), ns(5))
    monkeypatch.setenv("WATTTIME_PASSWORD", "wrong-secret")
    with pytest.raises(GridError, match="401 wrong login") as refused:
        desk.ask("watttime", ns(3), ns(5))
    assert "wrong-secret" not in str(refused.value)


def test_an_unknown_zone_or_service_is_refused_with_the_nearest(desk: Desk) -> None:
    with pytest.raises(GridError, match="no zone 'FRA'") as refused:
        desk.ask("electricitymaps", ns(3), ns(5), zone="FRA")
    assert "did you mean FR" in refused.value.hint
    with pytest.raises(GridError, match="no zone '99'") as refused:
        desk.ask("ukcarbon", ns(3), ns(5), zone="99")
    assert "GB" in refused.value.hint
    with pytest.raises(GridError, match="403 no access") as refused:
        desk.ask("watttime", ns(3), ns(5), zone="PJM")
    assert "CAISO_NORTH" in refused.value.hint
    with pytest.raises(GridError, match="Unknown service 'wattime'") as refused:
        desk.ask("wattime", ns(3), ns(5), zone="x")
    assert "did you mean watttime" in refused.value.hint


def test_a_login_that_expires_is_renewed_once(desk: Desk) -> None:
    seen = desk.server._watttime

    def expires(path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        if path.endswith("historical") and desk.server.logins == 1:
            desk.server.valid_tokens = set()
        return seen(path, query, headers)

    desk.server._watttime = expires  # type: ignore[method-assign] # a token that lasts no time
    assert hourly(desk.ask("watttime", ns(3), ns(5)), [3.5]) == pytest.approx([103 * 0.45359237])
    assert desk.server.logins == 2


def test_an_answer_is_kept_with_its_time_and_never_with_a_secret(desk: Desk) -> None:
    for name in NAMES:
        desk.ask(name, ns(3), ns(5))
    asked = len(desk.server.asked)
    later = dataclasses.replace(desk, now_utc_ns=NOW_NS + 60 * 1_000_000_000)
    assert later.ask("electricitymaps", ns(3), ns(5)).fetched_utc == "2026-11-25T12:00:00Z"
    assert len(desk.server.asked) == asked
    tomorrow = dataclasses.replace(desk, now_utc_ns=NOW_NS + 24 * HOUR_NS)
    assert tomorrow.ask("electricitymaps", ns(3), ns(5)).fetched_utc == "2026-11-26T12:00:00Z"
    assert len(desk.server.asked) == asked + 1
    kept = "".join(path.read_text() for path in desk.cache.rglob("*.json"))
    for secret in (TOKEN, PASSWORD, "jwt-1"):
        assert secret not in kept


def test_what_is_long_past_is_asked_for_once(desk: Desk) -> None:
    long_ago = ns(0) - 30 * 24 * HOUR_NS
    desk.ask("ukcarbon", long_ago, long_ago + HOUR_NS)
    next_year = dataclasses.replace(desk, now_utc_ns=NOW_NS + 365 * 24 * HOUR_NS)
    found = next_year.ask("ukcarbon", long_ago, long_ago + HOUR_NS)
    assert found.fetched_utc == "2026-11-25T12:00:00Z"
    assert len(desk.server.asked) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"fetched_utc": 3}', "\x00"])
def test_a_damaged_cache_is_asked_anew(desk: Desk, text: str) -> None:
    desk.ask("ukcarbon", ns(3), ns(5))
    (path,) = desk.cache.rglob("*.json")
    path.write_text(text)
    assert hourly(desk.ask("ukcarbon", ns(3), ns(5)), [3.5]) == [103]


def test_report_asks_a_service_and_fills_what_it_lacks_from_the_country(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GREENAI_CACHE_DIR", str(desk.cache))
    before = {path: path.read_bytes() for path in RECORDED.rglob("*") if path.is_file()}
    words = ["report", str(RECORDED), "--intensity", "electricitymaps", "--zone", "FR"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--html", str(tmp_path / "page.html")])
    assert ended.value.code == 0
    assert "103 gCO₂e/kWh" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert "Electricity Maps API v3" in page
    assert TOKEN not in page
    assert before == {path: path.read_bytes() for path in RECORDED.rglob("*") if path.is_file()}
    desk.server.faults = [Fault(401, '{"message": "no"}')]
    gone = dataclasses.replace(desk, cache=tmp_path / "other")
    desk.server.faults = [Fault(500)] * 4
    series = gone.ask("electricitymaps", ns(3), ns(4))
    run = greenai.load(RECORDED, intensity=series)
    filled = run.footprint()
    assert filled.over_time is not None
    assert filled.over_time.filled_share == pytest.approx(1)
    assert filled.intensity_g_per_kwh == pytest.approx(44.179)
    assert any("gave nothing for a part" in said for said in filled.assumptions)
    world = dataclasses.replace(series, basis="direct")
    assert math.isnan(greenai.load(RECORDED, intensity=world).footprint().operational_co2e_g)


@pytest.mark.parametrize(
    "words",
    [["--intensity", "ukcarbon"], ["--zone", "GB"],
     ["--intensity", "ukcarbon", "--zone", "GB", "--intensity-file", "x.csv"]],
)  # fmt: skip
def test_options_that_contradict_one_another_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", str(RECORDED), *words])
    assert ended.value.code == 1
    assert "do not go together" in capsys.readouterr().err
