"""Laws of a finished run's counters by time: they end where the tables do, and never fall."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
from simulation.counters import (
    MS,
    START_NS,
    SimulatedCounter,
    a_channel,
    attempt_of,
    marks_of,
)

from greenai.backfill import courses_of, interval_of
from greenai.exporters.openmetrics import Course, write_openmetrics
from greenai.metrics import BY_NAME, COMMON_LABELS
from greenai.record.types import (
    NOTE,
    PHASE_BEGIN,
    PHASE_END,
    STEP_END,
    STOP,
    VALUE,
    Anchor,
    Attempt,
    ChannelReadings,
    Record,
)
from greenai.run import Run

S = 1000 * MS
ENERGY = "greenai_energy_joules_total"


def marks(count: int, *, first: int = 0, tokens: bool = True) -> list[tuple[Any, ...]]:
    """A second of setup, steps of half a second, a second of validation after the second step."""
    t_ns = START_NS + S
    rows: list[tuple[Any, ...]] = [
        (START_NS + MS, PHASE_BEGIN, "setup", 0, 0.0),
        (t_ns, PHASE_END, "setup", 0, 0.0),
        (t_ns, NOTE, "train_start", 0, 0.0),
    ]
    for index in range(first, first + count):
        t_ns += S // 2
        if tokens:
            rows.append((t_ns, VALUE, "tokens", index, 100.0))
        rows.append((t_ns, STEP_END, "", index, 1.0))
        if index == first + 1:
            rows.append((t_ns, PHASE_BEGIN, "validation", 0, 0.0))
            t_ns += S
            rows.append((t_ns, PHASE_END, "validation", 0, 0.0))
    return [*rows, (t_ns + 1, STOP, "", 0, 0.0)]


def read(watts: float, number: int = 0) -> ChannelReadings:
    channel = a_channel(refresh_ns=25 * MS, device=f"gpu{number}", device_key=f"GPU-{number}")
    return SimulatedCounter(lambda t: watts * t, refresh_ms=20).readings(20.0, channel)


def with_gap(readings: ChannelReadings) -> ChannelReadings:
    """A second in which nothing was read, and which the counter survived."""
    keep = (readings.t_hi_ns < START_NS + 3 * S) | (readings.t_lo_ns > START_NS + 4 * S)
    kind = readings.kind[keep].copy()
    kind[int((readings.t_hi_ns < START_NS + 3 * S).sum())] = 1
    return ChannelReadings(
        readings.channel, readings.t_lo_ns[keep], readings.t_hi_ns[keep], readings.value[keep], kind
    )


def an_attempt(readings: ChannelReadings, rows: list[tuple[Any, ...]], **more: Any) -> Attempt:
    made = attempt_of([readings], marks_of(rows))
    manifest = {"world_size": 2, "versions": {"greenai": "0.1.0"}}
    return dataclasses.replace(made, manifest=manifest, **more)


def later(attempt: Attempt, seconds: int) -> Attempt:
    def moved(values: np.ndarray) -> np.ndarray:
        return values + seconds * S

    readings = tuple(
        dataclasses.replace(one, t_lo_ns=moved(one.t_lo_ns), t_hi_ns=moved(one.t_hi_ns))
        for one in attempt.readings
    )
    marks = dataclasses.replace(attempt.marks, t_ns=moved(attempt.marks.t_ns))
    return dataclasses.replace(attempt, readings=readings, marks=marks)


def a_run(*attempts: Attempt) -> Run:
    settings = {"country": {"value": "FRA"}, "pue": {"value": 1.2}}
    facts = {"run_id": "abc", "variant": "dense", "project": "p", "settings": settings}
    return Run(Record(Path("runs/dense"), facts, attempts))


def last(courses: list[Course], family: str, *by: str) -> dict[tuple[str, ...], float]:
    """Last values of a family, summed by labels."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for one in courses:
        if one.family == family:
            found[tuple(one.labels[label] for label in by)] += float(one.values[-1])
    return dict(found)


RUNS = {
    "one": a_run(an_attempt(read(250), marks(8))),
    "ranks": a_run(
        an_attempt(read(250), marks(8)),
        an_attempt(with_gap(read(400, 1)), marks(8), rank=1),
    ),
    "stages": a_run(
        an_attempt(read(250), marks(8)),
        dataclasses.replace(later(an_attempt(read(250), marks(4, first=8)), 30), attempt=1),
    ),
    "restart": a_run(
        an_attempt(read(250), marks(8)),
        dataclasses.replace(
            later(an_attempt(read(250), marks(6, first=6)), 30), attempt=1, launch_id="second"
        ),
    ),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_counters_end_where_the_tables_do(run: Run) -> None:
    courses, summary = courses_of(run), run.summary()
    (energy_j,) = last(courses, ENERGY).values()
    assert energy_j == pytest.approx(summary["energy_j"], rel=1e-12)
    phases = run.phases().set_index("phase")["energy_j"]
    for (phase,), phase_j in last(courses, ENERGY, "phase").items():
        assert phase_j == pytest.approx(phases[phase], rel=1e-9)
    for family, key in (
        ("greenai_optimizer_steps_total", "steps"),
        ("greenai_tokens_total", "tokens"),
        ("greenai_emissions_co2e_grams_total", "operational_co2e_g"),
    ):
        (total,) = last(courses, family).values()
        assert total == pytest.approx(summary[key], rel=1e-12)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_counters_never_fall_and_every_series_comes_once(run: Run) -> None:
    courses = courses_of(run)
    names = [(one.family, *sorted(one.labels.items())) for one in courses]
    assert len(set(names)) == len(names)
    for one in courses:
        assert (np.diff(one.unix_ms) > 0).all()
        assert (np.diff(one.values) >= -1e-9).all()
        assert set(one.labels) <= {*COMMON_LABELS, *BY_NAME[one.family].labels}


def test_energy_comes_when_it_was_used_and_in_its_phase() -> None:
    courses = courses_of(RUNS["one"])
    by_phase = {one.labels["phase"]: one for one in courses if one.family == ENERGY}
    validation, setup = by_phase["validation"], by_phase["setup"]
    second = np.diff(validation.values)
    assert second.max() == pytest.approx(250, rel=0.03)
    assert (second > 1).sum() <= 2
    assert np.diff(setup.values)[1:].max() < 5
    total = np.sum([one.values for one in by_phase.values()], axis=0)
    seconds = np.diff(validation.unix_ms) / 1000
    assert np.diff(total)[1:-1] / seconds[1:-1] == pytest.approx(250, rel=0.03)


def test_attempts_are_counters_of_their_own() -> None:
    found = last(courses_of(RUNS["restart"]), "greenai_optimizer_steps_total", "attempt")
    assert found == {("0",): 8.0, ("1",): 6.0}
    assert last(courses_of(RUNS["stages"]), "greenai_optimizer_steps_total", "attempt") == {
        ("0",): 12.0
    }


def test_what_the_record_does_not_know_has_no_sample() -> None:
    courses = courses_of(a_run(an_attempt(read(250), marks(4, tokens=False))))
    families = {one.family for one in courses}
    assert "greenai_tokens_total" not in families
    assert {ENERGY, "greenai_optimizer_steps_total", "greenai_run_info"} <= families
    assert courses_of(a_run()) == []


def test_a_clock_that_was_set_back_gives_no_sample_twice() -> None:
    attempt = an_attempt(read(250), marks(8))
    first = attempt.anchors[0]
    at_ns = START_NS + 3 * S
    offset_ns = first.utc_ns - first.monotonic_ns
    back = Anchor(at_ns, at_ns + offset_ns - 2 * S, at_ns)
    run = a_run(dataclasses.replace(attempt, anchors=(first, back)))
    for one in courses_of(run):
        assert (np.diff(one.unix_ms) > 0).all()


def test_the_text_is_openmetrics_with_times(tmp_path: Path) -> None:
    courses = courses_of(RUNS["ranks"])
    write_openmetrics(tmp_path / "run.txt", courses)
    text = (tmp_path / "run.txt").read_text()
    assert text.endswith("# EOF\n")
    families = {family.name: family for family in parse(text)}
    samples = families["greenai_energy_joules"].samples
    assert families["greenai_energy_joules"].unit == "joules"
    assert len(samples) == sum(len(one.values) for one in courses if one.family == ENERGY)
    assert {sample.labels["job"] for sample in samples} == {"greenai"}
    assert min(float(sample.timestamp) for sample in samples) == pytest.approx(
        min(one.unix_ms[0] for one in courses) / 1000
    )


@pytest.mark.parametrize(
    ("duration_s", "interval_s"),
    [(0, 1), (50, 1), (600, 6), (3600, 15), (50_000, 15), (86_400 * 30, 240)],
)
def test_long_runs_have_fewer_samples_but_no_holes(duration_s: float, interval_s: float) -> None:
    assert interval_of(duration_s) == interval_s
