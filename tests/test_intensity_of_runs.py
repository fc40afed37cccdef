"""Laws of a run under an intensity over time: joined by UTC, closed, and the record stays."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

import greenai
from greenai import cli
from greenai.analysis.intensity import IntensitySeries, series_of
from greenai.analysis.spans import Row
from greenai.energy_utc import energy_over, from_utc_ns
from greenai.errors import GridError
from greenai.intensity_file import read_intensity
from greenai.merging import parts_of, to_utc_ns
from greenai.record.types import NOTE, STEP_END, STOP, Anchor, Record
from greenai.run import Run

S = 1000 * MS
RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
NIGHT = 1_780_000_000 * S
"""UTC of the start of the simulated runs."""


def record(watts: Any, seconds: float = 20.0, **manifest: Any) -> Record:
    """A run whose energy since its start is ``watts(t)``; its clocks differ by years."""
    readings = SimulatedCounter(watts, refresh_ms=20).readings(
        seconds + 1, a_channel(refresh_ns=25 * MS)
    )
    start_ns = START_NS + S // 2
    rows: list[tuple] = [(start_ns, NOTE, "train_start", 0, 0.0)]
    rows += [(start_ns + n * S, STEP_END, "", n, 2.0) for n in range(1, int(seconds))]
    rows.append((start_ns + int((seconds - 1) * S), STOP, "", 0, 0.0))
    made = dataclasses.replace(
        attempt_of([readings], marks_of(rows)), anchors=(Anchor(START_NS, NIGHT, START_NS),)
    )
    facts = {"run_id": "abc", "variant": "dense", "project": "p", "settings": {}, **manifest}
    return Record(Path("runs/dense"), facts, (made,))


def hours(*rows: tuple[float, float, float], **changes: Any) -> IntensitySeries:
    """Rows of seconds since the start of the run, and g/kWh."""
    facts = {"basis": "lifecycle", "signal": "average", "source": "a file", **changes}
    return series_of(
        [Row(NIGHT + int(start * S), NIGHT + int(end * S), g) for start, end, g in rows], **facts
    )


def a_turn(t: float) -> float:
    """100 W for ten seconds, then 400 W."""
    return 100 * t + 300 * max(0.0, t - 10)


def test_the_energy_of_spans_of_utc_is_that_of_the_waveform() -> None:
    parts = parts_of(record(a_turn))
    edges_ns = NIGHT + np.array([-5, 2, 5, 10, 15, 99]) * S
    found = energy_over(parts, edges_ns)
    assert found.tolist() == pytest.approx([150, 300, 500, 2000, 1800], rel=5e-3)
    assert found.sum() == pytest.approx(Run(record(a_turn)).energy(), rel=1e-9)


def test_spans_however_cut_close_to_the_energy_of_the_run() -> None:
    run = Run(record(a_turn))
    cuts = np.sort(np.random.default_rng(0).uniform(0, 20, 200) * S).astype(np.int64)
    edges_ns = NIGHT + np.concatenate(([-S], cuts, [30 * S]))
    assert energy_over(run.parts, edges_ns).sum() == pytest.approx(run.energy(), rel=1e-9)


def test_a_run_under_a_series_emits_what_each_second_emitted() -> None:
    given = hours((-10, 10, 100), (10, 60, 500))
    run = Run(record(a_turn), pue=1.2, intensity=given)
    expected_g = 1.2 * (950 * 100 + 3800 * 500) / 3.6e6
    emitted = run.footprint()
    assert emitted.operational_co2e_g == pytest.approx(expected_g, rel=5e-3)
    assert emitted.over_time is not None
    assert emitted.over_time.series_share == pytest.approx(1)
    steps = run.steps()
    assert steps["operational_co2e_g"].sum() == pytest.approx(expected_g, rel=0.02)
    assert steps["intensity_g_per_kwh"].iloc[0] == pytest.approx(100)
    assert steps["intensity_g_per_kwh"].iloc[-1] == pytest.approx(500)
    summary = run.summary()
    assert summary["operational_co2e_g"] == pytest.approx(emitted.operational_co2e_g)
    assert summary["intensity_over_time"]["filled_share"] == 0
    assert summary["intensity_signal"] == "average"


def test_a_constant_series_gives_what_the_constant_gives() -> None:
    country = {"settings": {"country": {"value": "FRA"}, "pue": {"value": 1.3}}}
    constant = Run(record(a_turn, **country))
    same = Run(record(a_turn, **country), intensity=hours((-10, 60, 44.179)))
    assert same.footprint().operational_co2e_g == pytest.approx(
        constant.footprint().operational_co2e_g, rel=1e-9
    )
    assert same.steps()["operational_co2e_g"].to_list() == pytest.approx(
        constant.steps()["operational_co2e_g"].to_list(), rel=1e-9
    )


def test_a_hole_takes_the_factor_of_the_country_but_never_the_world_average() -> None:
    given = hours((-10, 10, 100))
    country = {"settings": {"country": {"value": "FRA"}}}
    filled = Run(record(a_turn, **country), intensity=given).footprint()
    assert filled.over_time is not None
    assert filled.over_time.filled_share == pytest.approx(0.8, abs=5e-3)
    assert filled.operational_co2e_g == pytest.approx((950 * 100 + 3800 * 44.179) / 3.6e6, rel=5e-3)
    direct = dataclasses.replace(given, basis="direct")
    left_open = Run(record(a_turn), intensity=direct).footprint()  # the world's is direct too
    assert math.isnan(left_open.operational_co2e_g)
    assert left_open.over_time is not None
    assert left_open.over_time.open_share == pytest.approx(0.8, abs=5e-3)


def test_footprint_takes_another_series_and_a_country_alone_means_its_factor() -> None:
    run = Run(record(a_turn), intensity=hours((-10, 60, 100)))
    assert run.footprint(intensity=hours((-10, 60, 200))).intensity_g_per_kwh == pytest.approx(200)
    assert run.footprint(country="FRA").intensity_g_per_kwh == 44.179
    assert run.footprint().intensity_g_per_kwh == pytest.approx(100)


def test_a_clock_that_was_set_keeps_the_energy_and_its_order() -> None:
    anchors = (Anchor(0, 1000, 0), Anchor(100, 900, 0), Anchor(300, 1500, 0))
    utc_ns = np.arange(800, 2000, 7)
    found = from_utc_ns(anchors, utc_ns)
    assert (np.diff(found) >= 0).all()
    later = found[utc_ns > 1500]
    assert to_utc_ns(anchors, later).tolist() == utc_ns[utc_ns > 1500].tolist()


HEAD = "start_utc,end_utc,g_per_kwh\n"


def file(folder: Path, text: str) -> Path:
    path = folder / "new.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_the_users_is_read_with_its_words(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "start_utc,end_utc,g_per_kwh,basis,signal,source,place\n"
        "2026-01-01T00:00Z,2026-01-01T01:00Z,50,direct,average,a meter,FR\n"
        "2026-01-01T02:00:00+01:00,2026-01-01 02:00,,direct,average,a meter,FR\n",
    )
    found = read_intensity(path)
    assert (found.basis, found.signal, found.source, found.place) == (
        "direct", "average", "a meter", "FR",
    )  # fmt: skip
    assert found.g_per_kwh.tolist()[0] == 50
    assert math.isnan(found.g_per_kwh[1])
    assert np.diff(found.edges_utc_ns).tolist() == [3600 * S, 3600 * S]


def test_pounds_a_megawatt_hour_are_converted_and_named(tmp_path: Path) -> None:
    path = file(
        tmp_path, "start_utc,end_utc,lb_per_mwh\n2026-01-01T00:00Z,2026-01-01T01:00Z,1000\n"
    )
    found = read_intensity(path)
    assert found.g_per_kwh.tolist() == pytest.approx([453.59237])
    assert "lb/MWh converted" in found.source


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("", "columns are none", "start_utc,end_utc,g_per_kwh"),
        ("start,end,g\n", "'start' is unknown", "did you mean start_utc"),
        ("start_utc,end_utc\n", "columns are", "start_utc,end_utc,g_per_kwh"),
        (HEAD, "no rows", "at least one"),
        (
            HEAD + "2026-01-01T00:00 CET,2026-01-01T01:00Z,5\n",
            "zone is unknown",
            "2026-01-01T00:00Z",
        ),
        (HEAD + "0001-01-01,2026-01-01T01:00Z,5\n", "is no time from", "ISO 8601"),
        (HEAD + "9999-01-01,9999-01-02,5\n", "is no time from", "ISO 8601"),
        (HEAD + "yesterday,2026-01-01T01:00Z,5\n", "is no time from", "ISO 8601"),
        (HEAD + "2026-01-01T00:00Z,2026-01-01T01:00Z,five\n", "no number", "hole"),
        (
            HEAD + "2026-01-01T00:00Z,2026-01-01T01:00Z,-5\n",
            "line 2 has a figure of -5",
            "0 or",
        ),
        (HEAD + "2026-01-01T01:00Z,2026-01-01T00:00Z,5\n", "line 2 ends", "after 2026-01-01T01:00"),
        (HEAD + "2199-01-01T00:00Z,2199-01-01T01:00Z,5\n", "in the future", "or before"),
        (
            HEAD + "2026-01-01T00:00Z,2026-01-01T02:00Z,5\n2026-01-01T01:00Z,2026-01-01T03:00Z,5\n",
            "line 3 starts at 2026-01-01T01:00:00Z, inside line 2",
            "let it start at 2026-01-01T02:00:00Z",
        ),
        (
            "start_utc,end_utc,g_per_kwh,basis\n2026-01-01T00:00Z,2026-01-01T01:00Z,5,lifecicle\n",
            "'lifecicle' is unknown",
            "did you mean lifecycle",
        ),
        (
            (
                "start_utc,end_utc,g_per_kwh,signal\n2026-01-01T00:00Z,2026-01-01T01:00Z,5,average\n"
                "2026-01-01T01:00Z,2026-01-01T02:00Z,5,marginal\n"
            ),
            "'average' and 'marginal'",
            "never mixed",
        ),
    ],
)
def test_a_bad_file_is_a_clear_error(tmp_path: Path, text: str, what: str, hint: str) -> None:
    with pytest.raises(GridError, match=what) as refused:
        read_intensity(file(tmp_path, text))
    assert hint in refused.value.hint


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="cannot be read"):
        read_intensity(tmp_path / "none.csv")


def test_an_old_run_is_computed_anew_and_its_record_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in RECORDED.rglob("*") if path.is_file()}
    csv = file(tmp_path, HEAD + "2026-11-24T00:00Z,2026-11-24T12:00Z,1000\n")
    words = ["report", str(RECORDED), "--intensity-file", str(csv), "--pue", "1.5"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--html", str(tmp_path / "page.html")])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "1000 gCO₂e/kWh" in said.replace(",", "").replace("1 000", "1000")
    assert "as it changed with time" in said
    run = greenai.load(RECORDED, pue=1.5, intensity=read_intensity(csv))
    assert run.footprint().operational_co2e_g == pytest.approx(run.energy() / 3.6e6 * 1500)
    assert before == {path: path.read_bytes() for path in RECORDED.rglob("*") if path.is_file()}


def test_an_export_takes_the_same_intensity(tmp_path: Path) -> None:
    csv = file(tmp_path, HEAD + "2026-11-24T00:00Z,2026-11-24T12:00Z,1000\n")
    words = ["export", str(RECORDED), "--format", "json", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--intensity-file", str(csv)])
    assert ended.value.code == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["intensity_g_per_kwh"] == pytest.approx(1000)
    assert summary["intensity_over_time"]["series_share"] == pytest.approx(1)
