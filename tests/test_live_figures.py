"""Laws of what a running job shows: other ranks, emissions over time, and the end ahead."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel

from greenai import grid
from greenai.analysis.intensity import series_of
from greenai.analysis.meters import RunningMeters
from greenai.analysis.outlook import POINTS_MAX, Outlook
from greenai.analysis.spans import Row
from greenai.analysis.told import EXPERTS_MAX, Told
from greenai.emitted import Emissions
from greenai.exporters.figures import DeviceFigures, Figures
from greenai.exporters.live_file import figures_to_json
from greenai.exporters.prometheus import registry_of
from greenai.local_ranks import STALE_NS, LocalRanks
from greenai.record.types import NOTE, STEP_END, VALUE
from greenai.sensors.base import Channel
from greenai.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
WORK = {"warmup_s": 0.0, "total_steps": None, "price_per_kwh": None}
HOUR = 3600 * S
KWH = 3.6e6
HERE = "0123456789abcdef"


def write_rank(run: Path, rank: int, *, host: str = HERE, energy_j: float = 1.0, at: int = 0,
               launch: str = "a", says: int | None = None,
               closed: bool = False) -> Path:  # fmt: skip
    gpu = DeviceFigures(
        device="gpu0", kind="gpu", key=f"GPU-{rank}", energy_j_by_phase={"train_step": energy_j}
    )
    figures = Figures(
        run_id="r",
        attempt=0,
        rank=rank if says is None else says,
        info={"host": host},
        devices=(gpu,),
        steps=7.0,
        tokens=100.0,
    )
    path = run / f"rank-{rank}" / f"attempt-{launch}" / "live.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    other = path.with_suffix(".new")
    other.write_text(
        json.dumps({"written_utc_ns": at, "closed": closed, "figures": figures_to_json(figures)})
    )
    other.replace(path)  # as the sampler does
    return path


def neighbours_of(run: Path, rank: int = 0) -> LocalRanks:
    folder = run / f"rank-{rank}" / "attempt-a"
    folder.mkdir(parents=True, exist_ok=True)
    return LocalRanks(folder, HERE)


def test_only_ranks_of_this_launch_on_this_host_that_still_write_are_shown(tmp_path: Path) -> None:
    write_rank(tmp_path, 0)
    write_rank(tmp_path, 1)
    write_rank(tmp_path, 2, host="fedcba9876543210")
    write_rank(tmp_path, 3, launch="earlier")
    write_rank(tmp_path, 4)
    write_rank(tmp_path, 5, says=6)
    write_rank(tmp_path, 7).write_text("{")
    (tmp_path / "rank-8").write_text("a file")
    write_rank(tmp_path, 9, at=STALE_NS)
    around = neighbours_of(tmp_path)
    assert [one.rank for one in around.figures(now_utc_ns=1)] == [1, 4, 9]
    assert [one.rank for one in around.figures(now_utc_ns=STALE_NS)] == [9]


def test_the_hosts_ranks_are_closed_when_each_of_them_is(tmp_path: Path) -> None:
    write_rank(tmp_path, 1)
    write_rank(tmp_path, 2, host="fedcba9876543210")
    around = neighbours_of(tmp_path)
    around.figures()
    assert not around.are_closed()
    write_rank(tmp_path, 1, closed=True)
    assert around.are_closed()


def test_a_dead_rank_disappears_and_never_jumps(tmp_path: Path) -> None:
    own = Figures(run_id="r", attempt=0, steps=7.0, tokens=100.0)
    write_rank(tmp_path, 1, energy_j=500.0, at=10 * S)
    around, now = neighbours_of(tmp_path), [11 * S]
    registry = registry_of(lambda: [own, *around.figures(now[0])])

    def energy_j() -> float | None:
        return registry.get_sample_value(
            "greenai_energy_joules_total",
            {"run_id": "r", "attempt": "0", "rank": "1", "device": "gpu0", "kind": "gpu",
             "phase": "train_step"},
        )  # fmt: skip

    assert energy_j() == 500.0
    write_rank(tmp_path, 1, energy_j=600.0, at=12 * S)
    assert energy_j() == 600.0
    now[0] = 12 * S + STALE_NS
    assert energy_j() is None
    write_rank(tmp_path, 1, energy_j=599.0, at=now[0])
    assert energy_j() == 600.0


def test_what_is_the_runs_is_shown_once_and_what_is_a_ranks_adds_up(tmp_path: Path) -> None:
    own = Figures(run_id="r", attempt=0, steps=7.0, tokens=100.0)
    for rank in range(1, 8):
        write_rank(tmp_path, rank)
    around = neighbours_of(tmp_path)
    sums: dict[str, float] = {}
    for metric in registry_of(lambda: [own, *around.figures(1)]).collect():
        sums[metric.name] = sum(sample.value for sample in metric.samples)
    assert sums["greenai_optimizer_steps"] == 7.0
    assert sums["greenai_tokens"] == 800.0
    assert sums["greenai_energy_joules"] == 7.0


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rank(tmp_path, 1)
    around, reads = neighbours_of(tmp_path), []
    real = LocalRanks.figures.__globals__["read_live"]

    def counted(path: Path) -> object:
        reads.append(path)
        return real(path)

    monkeypatch.setattr("greenai.local_ranks.read_live", counted)
    for _ in range(5):
        assert len(around.figures(1)) == 1
    assert len(reads) == 1


FRANCE = grid.intensity("FRA")


def emissions(rows: list[Row], *, world: bool = False, basis: str = "") -> Emissions:
    place = grid.intensity(None) if world else FRANCE
    series = series_of(
        rows,
        basis=basis or place.basis,  # type: ignore[arg-type] # a word of Basis
        signal="average",
        source="meter.csv",
    )
    return Emissions(place, 2.0, series)


def test_each_kwh_is_counted_at_the_intensity_of_its_hour() -> None:
    course = emissions([Row(0, HOUR, 100.0), Row(HOUR, 2 * HOUR, 300.0)])
    seen = []
    for hour in range(2):
        course.add(KWH, hour * HOUR, (hour + 1) * HOUR)
        seen.append((course.grams, course.present(hour * HOUR).g_per_kwh))
    assert seen == [(200.0, 100.0), (800.0, 300.0)]
    course.add(KWH, HOUR // 2, 3 * HOUR // 2)
    assert course.grams == pytest.approx(1200.0)


def test_a_hole_takes_the_yearly_factor_of_the_same_kind_and_says_so() -> None:
    course = emissions([Row(0, HOUR, 100.0), Row(2 * HOUR, 3 * HOUR, 100.0)])
    course.add(KWH, HOUR, 2 * HOUR)
    assert course.grams == pytest.approx(2 * FRANCE.g_per_kwh)
    assert course.filled_j == KWH
    assert course.shortfall()[0] == "intensity_filled"
    present = course.present(HOUR + HOUR // 2)
    assert present.g_per_kwh == pytest.approx(FRANCE.g_per_kwh)
    assert "for a hole in meter.csv" in present.source
    assert course.present(10 * HOUR).g_per_kwh == pytest.approx(FRANCE.g_per_kwh)


@pytest.mark.parametrize(("world", "basis"), [(True, ""), (False, "unknown")])
def test_a_hole_that_nothing_may_fill_stays_open(world: bool, basis: str) -> None:
    course = emissions([Row(0, HOUR, 100.0)], world=world, basis=basis)
    course.add(KWH, 0, HOUR)
    assert course.grams == 200.0
    assert course.shortfall() == ("", "")
    course.add(KWH, HOUR, 2 * HOUR)
    assert math.isnan(course.grams)
    assert course.open_j == KWH
    assert course.shortfall()[0] == "intensity_open"
    assert math.isnan(course.present(HOUR).g_per_kwh)


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_without_a_series_emissions_are_energy_times_the_factor(parts_j: list[float]) -> None:
    course = Emissions(FRANCE, None)
    for at, energy_j in enumerate(parts_j):
        course.add(energy_j, at, at + 1)
    assert course.grams == pytest.approx(sum(parts_j) / KWH * FRANCE.g_per_kwh, abs=1e-12)


def test_energy_per_token_is_of_the_steps_whose_energy_is_known() -> None:
    """Given readings that begin with the third of six steps, two steps' tokens had no energy."""
    names, gpu = ("other", "tokens", "train_start"), a_channel(refresh_ns=20 * MS)
    tally = Tally(dict.fromkeys(("country", "region", "intensity_table", "pue")) | WORK, None)
    tally.add_channels([gpu])
    marks = [(START_NS - S, NOTE, 2, 0, 0.0)]
    for index in range(6):
        end_ns = START_NS - S + (index + 1) * S // 2
        marks += [(end_ns, VALUE, 1, index, 50.0), (end_ns, STEP_END, 0, index, 1.0)]
    read = SimulatedCounter(lambda t: 100.0 * t, refresh_ms=20).readings(3, gpu)
    columns = (read.t_lo_ns, read.t_hi_ns, read.value, read.kind)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    tally.feed([(0, *row) for row in rows], marks, names)
    tally.settle(closed=True, wait=False)
    totals = tally.totals(closed=True)
    assert (totals.steps, totals.tokens) == (6, 300)
    assert totals.j_per_token == pytest.approx(100 * 0.5 / 50, rel=0.1)


def test_the_end_of_an_even_run_is_foreseen_exactly() -> None:
    outlook = Outlook()
    for steps in range(0, 50, 10):
        outlook.add(steps, 500.0 + 36.0 * steps)
    end = outlook.end(60.0, emitted_g=3.0, g_per_kwh=100.0, pue=1.5, price_per_kwh=0.2)
    assert end is not None
    assert end.energy_j == pytest.approx((4100.0,) * 3)
    left_j = 60 * 36.0
    assert end.emissions_g == pytest.approx((3.0 + left_j / KWH * 150.0,) * 3)
    assert end.cost == pytest.approx((4100.0 / KWH * 1.5 * 0.2,) * 3)


@pytest.mark.parametrize("left", [math.nan, math.inf, -1.0])
def test_an_end_that_nobody_knows_is_not_foreseen(left: float) -> None:
    outlook = Outlook()
    for steps in range(5):
        outlook.add(steps, 10.0 * steps)
    assert outlook.end(left) is None
    assert Outlook().end(10.0) is None


def test_without_a_price_or_an_intensity_there_is_energy_alone() -> None:
    outlook = Outlook()
    for steps in range(5):
        outlook.add(steps, 10.0 * steps)
    end = outlook.end(5.0)
    assert end is not None
    assert end.energy_j[1] == pytest.approx(90.0)
    assert all(map(math.isnan, (*end.emissions_g, *end.cost)))


def test_a_forecast_takes_no_more_work_in_a_longer_run() -> None:
    outlook, rng = Outlook(), np.random.default_rng(7)
    energies_j = np.cumsum(rng.normal(100.0, 10.0, 20_000))
    for steps, energy_j in enumerate(energies_j):
        outlook.add(steps, float(energy_j))
        assert len(outlook._points) <= POINTS_MAX
    end = outlook.end(10_000.0)
    assert end is not None
    low, mid, high = end.energy_j
    assert low < 3.0e6 < high
    assert mid == pytest.approx(3.0e6, rel=0.01)
    assert (high - low) / mid < 0.02


def test_totals_that_fell_begin_the_forecast_anew() -> None:
    outlook = Outlook()
    for steps in range(5):
        outlook.add(steps, 100.0 * steps)
    outlook.add(6, 50.0)  # a GPU was found to be unused
    assert outlook.end(10.0) is None
    for steps in range(7, 10):
        outlook.add(steps, 50.0 + 10.0 * (steps - 6))
    end = outlook.end(10.0)
    assert end is not None
    assert end.energy_j[1] == pytest.approx(180.0)


def test_the_latest_word_of_a_training_counts() -> None:
    told = Told()
    names = ("loss", "planned_steps", "router_imbalance", "router_load/0", "router_load/1", "x")
    told.hear([(1, VALUE, 0, 0, 4.0), (2, VALUE, 0, 1, 3.0), (3, NOTE, 0, 2, 9.0)], names)
    told.hear([(4, VALUE, 1, 0, 500.0), (5, VALUE, 2, 0, 1.5), (6, VALUE, 5, 0, 8.0)], names)
    assert (told.loss, told.planned_steps, told.router_imbalance) == (3.0, 500.0, 1.5)
    assert told.router_load() == ()
    loads = [(7, VALUE, 3, 0, 0.75), (7, VALUE, 3, 1, 0.25), (7, VALUE, 4, 0, 0.25),
             (7, VALUE, 4, 1, 0.75), (7, VALUE, 4, EXPERTS_MAX, 1.0)]  # fmt: skip
    told.hear(loads, names)
    assert told.router_load() == (0.5, 0.5)


def meter(**changes: object) -> Channel:
    channel = Channel("power_w", "other", "node-ipmi", "h/node-ipmi", "ipmi_dcmi", "measured",
                      primary=False, refresh_ns=S, scope="node")  # fmt: skip
    return dataclasses.replace(channel, **changes)  # type: ignore[arg-type] # fields of a channel


def test_a_meter_of_the_machine_adds_up_and_is_absent_while_silent() -> None:
    running = RunningMeters()
    channels = [meter(), meter(quantity="energy_j", method="psu"), meter(scope="", method="gpu")]
    running.feed([(0, 0, 0, 100.0, 0), (1, 0, 0, 5000.0, 0), (2, 0, 0, 1.0, 0)], channels)
    running.feed([(0, 0, 10 * S, 100.0, 0), (1, 0, 10 * S, 6000.0, 0)], channels)
    assert running.energy_j(10 * S) == {"ipmi_dcmi": 1000.0, "psu": 1000.0}
    assert running.energy_j(60 * S) == {}
    running.feed([(0, 0, 100 * S, 100.0, 0), (1, 0, 100 * S, 9000.0, 0)], channels)
    # the counter tells what the gap took, the power does not
    assert running.energy_j(100 * S) == {"ipmi_dcmi": 1000.0, "psu": 4000.0}
    running.feed([(0, 0, 101 * S, math.nan, 0), (0, 0, 102 * S, 50.0, 0)], channels)
    assert running.energy_j(102 * S)["ipmi_dcmi"] == 1100.0
