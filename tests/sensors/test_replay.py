"""Laws of the replay: what was recorded comes again, at its pace, with its brackets and gaps."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulation.counters import a_channel, attempt_of, marks_of, readings_of

import greenai.record.reader
from greenai.analysis.series import covered_energy, series_from
from greenai.live.sensing import ChangePoints
from greenai.record.types import CHANGE, FIRST, STILL, Record
from greenai.sensors import openers
from greenai.sensors.replay import ReplaySensor, open_replay

if TYPE_CHECKING:
    from greenai.record.types import ChannelReadings

MS = 1_000_000
T = 7_000_000_000_000
COUNTER = readings_of(
    a_channel(refresh_ns=120 * MS),
    [
        (T, T + MS, 100.0, FIRST),
        (T + 20 * MS, T + 40 * MS, 110.0, CHANGE),
        (T + 60 * MS, T + 61 * MS, 110.0, STILL),
        (T + 90 * MS, T + 110 * MS, 140.0, CHANGE),
        (T + 200 * MS, T + 201 * MS, 150.0, FIRST),
        (T + 230 * MS, T + 250 * MS, 160.0, CHANGE),
    ],
)
POWER = readings_of(
    a_channel(
        quantity="power_w",
        kind="cpu",
        device="cpu-package-0",
        device_key="h/package-0",
        method="cpu_load_model",
        trust="assumed",
    ),
    [
        (T + 5 * MS, T + 100 * MS, 20.0, FIRST),
        (T + 100 * MS, T + 200 * MS, 30.0, CHANGE),
    ],
)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = attempt_of([COUNTER, POWER], marks_of([]))
    record = Record(Path("run"), {"run_id": "r"}, (attempt,))
    monkeypatch.setattr(greenai.record.reader, "open_record", lambda *_, **__: record)


def played(speed: float = 1.0) -> tuple[ReplaySensor, list[ChannelReadings], float]:
    """Read a replay to its end as the sampler does: its channels, its change points, its time."""
    (sensor,), refusals = open_replay("run", speed)
    assert isinstance(sensor, ReplaySensor)
    assert refusals == []
    points = [ChangePoints(channel, k) for k, channel in enumerate(sensor.channels)]
    rows: list[list[tuple[int, int, float, int]]] = [[] for _ in points]
    start_s = time.monotonic()
    while sensor._coming:
        for reading in sensor.read():
            if reading.reason:
                points[reading.channel].break_()
                continue
            row = points[reading.channel].feed(reading.t0_ns, reading.t1_ns, reading.value)
            if row is not None:
                rows[reading.channel].append(row[1:])
        time.sleep(0.005)
    seconds = time.monotonic() - start_s
    sensor.close()
    again = [readings_of(*pair) for pair in zip(sensor.channels, rows, strict=True)]
    return sensor, again, seconds


@pytest.mark.usefixtures("recorded")
def test_change_points_come_again_with_their_brackets() -> None:
    _, (counter, power), _ = played()
    for again, before in ((counter, COUNTER), (power, POWER)):
        kept = before.kind != STILL
        assert again.kind.tolist() == before.kind[kept].tolist()
        assert again.value.tolist() == before.value[kept].tolist()
        shift = again.t_hi_ns[0] - before.t_hi_ns[0]
        assert (again.t_hi_ns - shift).tolist() == before.t_hi_ns[kept].tolist()
        assert (again.t_lo_ns - shift).tolist() == before.t_lo_ns[kept].tolist()


@pytest.mark.usefixtures("recorded")
def test_the_energy_is_that_of_the_recorded_run() -> None:
    _, again, _ = played()
    for one, before in zip(again, (COUNTER, POWER), strict=True):
        now, then = series_from(one), series_from(before)
        assert covered_energy(now, now.t_ns)[-1] == pytest.approx(
            covered_energy(then, then.t_ns)[-1]
        )


@pytest.mark.usefixtures("recorded")
def test_the_first_reading_is_now_and_the_pace_the_recorded_one() -> None:
    before_ns = time.monotonic_ns()
    _, (counter, _), seconds = played()
    assert before_ns <= counter.t_lo_ns[0] <= before_ns + 200 * MS
    assert 0.24 <= seconds < 1.0


@pytest.mark.usefixtures("recorded")
def test_a_faster_pace_passes_sooner() -> None:
    _, (counter, _), seconds = played(speed=5.0)
    assert counter.value.tolist()[-1] == 160.0
    assert seconds < 0.24


@pytest.mark.usefixtures("recorded")
def test_trust_is_kept_and_the_device_is_not_the_real_one() -> None:
    sensor, _, _ = played(speed=100.0)
    assert [channel.trust for channel in sensor.channels] == ["measured", "assumed"]
    assert {channel.method for channel in sensor.channels} == {"replay"}
    assert [channel.device_key for channel in sensor.channels] == [
        "replay/GPU-0",
        "replay/h/package-0",
    ]


@pytest.mark.usefixtures("recorded")
def test_after_the_end_nothing_is_made_up() -> None:
    sensor, _, _ = played(speed=100.0)
    assert sensor.read() == []


def test_a_gap_is_a_failed_read_with_its_reason(recorded: None) -> None:
    del recorded
    (sensor,), _ = open_replay("run", speed=1000.0)
    sensor.read()
    time.sleep(0.01)
    gaps = [reading for reading in sensor.read() if reading.reason]
    assert len(gaps) == 1
    assert math.isnan(gaps[0].value)
    assert "gap" in gaps[0].reason


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    sensors, refusals = openers([f"replay:{tmp_path / 'none'}"])["replay"]()
    assert sensors == []
    assert refusals[0].sensor == "replay"
    assert refusals[0].reason == "the recorded run does not exist."
