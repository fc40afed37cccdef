"""Laws of the sampler, in one process: what was read and marked is on disk, whole, and adds up."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from greenai.api import load
from greenai.exporters.live_file import read_live
from greenai.intensity_file import read_intensity
from greenai.live.handover import attempt_facts, run_facts
from greenai.live.launch import launch
from greenai.live.marks import MarkWriter
from greenai.live.sampler import Sampler
from greenai.live.shared import STOP_ASKED, Region
from greenai.record.claim import claim_run
from greenai.record.manifest import write_run_manifest
from greenai.record.types import FIXED_NAMES, NOTE, STOP
from greenai.record.writer import RecordWriter
from greenai.sensors.base import Channel, Reading, Refusal, Sensor
from greenai.serving import Serving
from greenai.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
WATTS = 250.0


class Meter:
    """A counter of a constant power that refreshes every 20 ms."""

    name = "simulated"

    def __init__(self) -> None:
        self.channels = (
            Channel("energy_j", "gpu", "gpu0", "GPU-0", "nvml_energy", "measured", True,
                    refresh_ns=25 * MS, power_max_w=840.0, model="Simulated 1000"),
            Channel("temperature_c", "gpu", "gpu0", "GPU-0", "nvml_energy", "measured", False,
                    refresh_ns=25 * MS),
        )  # fmt: skip
        self.period_ns = 10 * MS
        self.hang_s = 0.0

    def read(self) -> list[Reading]:
        t0_ns = monotonic_ns()
        time.sleep(self.hang_s)
        energy_j = WATTS * (t0_ns // (20 * MS)) * 0.02
        t1_ns = monotonic_ns()
        return [Reading(0, t0_ns, t1_ns, energy_j), Reading(1, t0_ns, t1_ns, 55.0)]

    def close(self) -> None:
        pass


class Job:
    """A training and its sampler, in two threads."""

    def __init__(
        self, folder: Path, sensor: Sensor, writer: Any = RecordWriter, **given: Any
    ) -> None:
        settings = Settings(variant="simulated", **given)
        own = launch({})
        claim = claim_run(folder, "a" * 32, own)
        facts = run_facts(claim.run_id, settings, {"repeat": 1})
        write_run_manifest(claim.folder, facts)
        manifest = attempt_facts(claim.run_id, own, settings, "")
        config = {
            "run": facts,
            "manifest": manifest,
            "intensity_file": settings.intensity_file,
            "metrics_port": None,
            "run_folder": str(claim.folder),
            "attempt_folder": str(claim.attempt_folder),
        }
        self.region = Region.create(config)
        refused = [Refusal("other", "there is none", "buy one")]
        self.sampler = Sampler(self.region, {"simulated": lambda: ([sensor], refused)}, manifest)
        self.marks = MarkWriter(self.region)
        self.sampler.start()
        self.ended = ""

        def keep_record() -> None:
            keeper = writer(claim.attempt_folder)
            self.ended = self.sampler.run(keeper, Serving(self.region, config))

        self.thread = threading.Thread(target=keep_record, daemon=True)
        self.thread.start()

    def train(self, steps: int, step_s: float) -> None:
        self.marks.mark(NOTE, FIXED_NAMES.index("train_start"), 0, 0.0)
        for index in range(steps):
            time.sleep(step_s)
            self.marks.step(1, 100, 4, 1.0 / (index + 1))

    def stop(self) -> None:
        self.marks.mark(STOP, 0, 0, 0.0)
        self.region.header[STOP_ASKED] = 1
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_what_was_read_and_marked_is_on_disk_and_adds_up(folder: Path) -> None:
    job = Job(folder, Meter())
    # Libraries that load in this process hold up a read, whose bracket then is honestly wide.
    give_up = time.monotonic() + 20
    while job.sampler._figures is None and time.monotonic() < give_up:
        time.sleep(0.02)
    time.sleep(0.3)
    job.train(30, 0.05)
    job.stop()
    assert job.ended == "stopped"
    run = load(folder)
    steps, phases, summary = run.steps(), run.phases(), run.summary()
    assert len(steps) == 30
    assert steps["energy_j"].notna().all()
    assert steps["energy_j"].sum() == pytest.approx(WATTS * steps["duration_s"].sum(), rel=0.02)
    true_j = WATTS * steps["duration_s"]
    assert (steps["energy_low_j"] <= true_j + 1e-6).all()
    assert (true_j <= steps["energy_high_j"] + 1e-6).all()
    assert phases["energy_j"].sum() == pytest.approx(summary["energy_j"], rel=1e-9)
    in_steps = phases.set_index("phase")["energy_j"][["train_step", "data_wait"]].sum()
    assert steps["energy_j"].sum() == pytest.approx(in_steps, rel=1e-9)
    assert summary["steps_j"] == pytest.approx(in_steps, rel=1e-9)
    assert summary["trust"] == {"measured": 1.0, "modelled": 0.0, "assumed": 0.0}
    assert summary["component_j"]["cpu"] is None
    assert summary["tokens"] == 3000
    assert run.record.attempts[0].manifest["refused"][0]["hint"] == "buy one"


def test_live_totals_at_the_end_equal_the_record(folder: Path) -> None:
    job = Job(folder, Meter())
    job.train(30, 0.03)
    job.stop()
    totals, summary = job.region.totals(), load(folder).summary()
    assert totals.closed
    assert totals.energy_j == pytest.approx(summary["energy_j"], rel=1e-9)
    assert totals.steps_j == pytest.approx(summary["steps_j"], rel=1e-9)
    assert totals.steps == 30
    assert totals.settled_step == 29
    assert totals.operational_co2e_g == pytest.approx(summary["operational_co2e_g"], rel=1e-9)


def test_live_totals_follow_the_training(folder: Path) -> None:
    job = Job(folder, Meter())
    job.train(20, 0.05)
    give_up = time.monotonic() + 5
    while not job.region.totals().settled_step >= 15 and time.monotonic() < give_up:
        time.sleep(0.02)
    totals = job.region.totals()
    assert totals.power_w == pytest.approx(WATTS, rel=0.3)
    assert totals.j_per_token == pytest.approx(WATTS * 0.05 / 100, rel=0.3)
    job.stop()


def test_a_sensor_that_hangs_at_the_end_does_not_hold_the_record(folder: Path) -> None:
    meter = Meter()
    job = Job(folder, meter)
    job.train(5, 0.05)
    meter.hang_s = 3.0
    time.sleep(0.1)
    begin = time.monotonic()
    job.stop()
    assert time.monotonic() - begin < 2
    events = load(folder).record.attempts[0].events
    assert "sensor_hung" in [event["what"] for event in events]


class RefusingWriter(RecordWriter):
    """A disk that is full for a while."""

    full = True

    def write_readings(self, rows: Any, anchor: Any) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write_readings(rows, anchor)


def test_a_disk_that_is_full_for_a_while_loses_nothing(folder: Path) -> None:
    RefusingWriter.full = True
    job = Job(folder, Meter(), RefusingWriter)
    job.train(30, 0.05)
    RefusingWriter.full = False
    time.sleep(1.2)
    job.stop()
    run = load(folder)
    assert np.isfinite(run.steps()["energy_j"]).all()
    assert any("No space left" in notice for notice in run.notices)


def test_the_sampler_tells_its_own_cost_and_lateness(folder: Path) -> None:
    job = Job(folder, Meter())
    job.train(10, 0.05)
    job.stop()
    (end,) = [e for e in load(folder).record.attempts[0].events if e["what"] == "stopped"]
    assert end["sampler_cpu_s"] > 0
    assert end["wake_late_p95_ms"] >= 0


def test_live_figures_hold_what_the_record_says(folder: Path, tmp_path: Path) -> None:
    """Given an intensity that changes within the run, a plan, a budget and a price."""
    change = time.time() + 2.5
    rows = [(change - 3600, change, 100), (change, change + 3600, 300)]
    times = [
        (*(datetime.fromtimestamp(at, UTC).isoformat() for at in row[:2]), row[2]) for row in rows
    ]
    table = tmp_path / "grid.csv"
    lines = "".join(f"{start},{end},{figure}\n" for start, end, figure in times)
    table.write_text(f"start_utc,end_utc,g_per_kwh\n{lines}")
    job = Job(
        folder,
        Meter(),
        intensity_file=str(table),
        total_steps=100.0,
        budget_kwh=1.0,
        price_per_kwh=0.5,
        currency="EUR",
    )
    job.train(70, 0.05)
    while time.time() < change + 0.5:
        time.sleep(0.05)
    job.stop()
    series = read_intensity(table, now_utc_ns=2**62)
    run, totals = load(folder, intensity=series), job.region.totals()
    summary = run.summary()
    (path,) = folder.glob("rank-0/*/live.json")
    live = read_live(path)
    figures = live.figures
    assert live.closed
    assert figures.emissions_g == pytest.approx(summary["operational_co2e_g"], rel=0.01)
    assert figures.intensity_g_per_kwh == 300
    (gpu,) = figures.devices
    energy_j = sum(gpu.energy_j_by_phase.values())
    assert energy_j == pytest.approx(totals.energy_j, rel=1e-9)
    assert energy_j == pytest.approx(summary["energy_j"], rel=0.01)  # to the last digit: see above
    assert (gpu.key, gpu.uuid, gpu.temperature_c) == ("GPU-0", "GPU-0", 55.0)
    assert (figures.steps, figures.loss, figures.total_steps) == (70, pytest.approx(1 / 70), 100)
    assert figures.energy_budget_j == 3.6e6
    assert figures.measured_ratio == 1.0
    assert figures.coverage_ratio == pytest.approx(summary["coverage"], abs=0.05)
    assert figures.wake_late_p95_s is not None
    low, mid, high = figures.forecast_energy_j or (0, 0, 0)
    assert energy_j <= low <= mid <= high
    assert mid == pytest.approx(energy_j + 30 * WATTS * 0.05, rel=0.25)
    assert totals.forecast_energy_j == mid
    assert totals.forecast_cost == pytest.approx(mid / 3.6e6 * 0.5)
    assert totals.forecast_co2e_g > totals.operational_co2e_g
    assert "grid.csv" in run.record.manifest["settings"]["intensity_file"]["value"]
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
