"""Laws of a run: devices count once, ranks and attempts join, absent is empty, sums close."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulation.counters import (
    MS,
    START_NS,
    SimulatedCounter,
    a_channel,
    attempt_of,
    marks_of,
    readings_of,
)

from greenai.errors import RecordError
from greenai.metrics import PHASE_COLUMNS, STEP_COLUMNS
from greenai.record.types import NOTE, STEP_END, STOP, VALUE, Attempt, ChannelReadings, Record
from greenai.run import Run

S = 1000 * MS


def marks(first: int, count: int, step_s: float = 0.5, tokens: float | None = 100.0) -> list[tuple]:
    t_ns = START_NS + int(0.5 * S)
    rows: list[tuple] = [(t_ns, NOTE, "train_start", 0, 0.0)]
    for index in range(first, first + count):
        t_ns += int(step_s * S)
        if tokens is not None:
            rows.append((t_ns, VALUE, "tokens", index, tokens))
        rows.append((t_ns, STEP_END, "", index, 2.0))
    return [*rows, (t_ns, STOP, "", 0, 0.0)]


def power(watts: float, seconds: float = 8.0, **channel: Any) -> ChannelReadings:
    return SimulatedCounter(lambda t: watts * t, refresh_ms=20).readings(
        seconds, a_channel(refresh_ns=25 * MS, **channel)
    )


def an_attempt(
    readings: list[ChannelReadings],
    rows: list[tuple],
    *,
    rank: int = 0,
    number: int = 0,
    of: int = 1,
) -> Attempt:
    made = attempt_of(readings, marks_of(rows))
    manifest = {"world_size": of, "rank": rank}
    return dataclasses.replace(made, rank=rank, attempt=number, manifest=manifest)


def a_run(*attempts: Attempt, **manifest: Any) -> Run:
    facts = {"run_id": "abc", "variant": "dense", "project": "p", "settings": {}, **manifest}
    return Run(Record(Path("runs/dense"), facts, attempts))


def later(attempt: Attempt, seconds: float) -> Attempt:
    """The same, some time later on the same clock."""
    shift_ns = int(seconds * S)
    readings = tuple(
        dataclasses.replace(one, t_lo_ns=one.t_lo_ns + shift_ns, t_hi_ns=one.t_hi_ns + shift_ns)
        for one in attempt.readings
    )
    marks = dataclasses.replace(attempt.marks, t_ns=attempt.marks.t_ns + shift_ns)
    return dataclasses.replace(attempt, readings=readings, marks=marks)


def gpu(number: int) -> dict[str, Any]:
    return {"device": f"gpu{number}", "device_key": f"GPU-{number}"}


CPU = {"kind": "cpu", "device": "cpu-package-0", "device_key": "host/package-0"}


def test_columns_are_the_published_ones_in_order() -> None:
    run = a_run(an_attempt([power(100)], marks(0, 4)))
    assert tuple(run.steps().columns) == STEP_COLUMNS
    assert tuple(run.phases().columns) == PHASE_COLUMNS


def test_sums_close_over_steps_phases_and_summary() -> None:
    run = a_run(an_attempt([power(100), power(50, **CPU)], marks(0, 10)))
    summary, phases = run.summary(), run.phases().set_index("phase")
    assert phases["energy_j"].sum() == pytest.approx(summary["energy_j"], rel=1e-9)
    in_steps = phases.loc[["train_step", "data_wait"], "energy_j"].sum()
    assert run.steps()["energy_j"].sum() == pytest.approx(in_steps, rel=1e-9)
    assert summary["steps_j"] == pytest.approx(in_steps, rel=1e-9)
    parts = summary["component_j"]
    assert parts["gpu"] + parts["cpu"] == pytest.approx(summary["energy_j"], rel=1e-9)
    assert phases["energy_share"].sum() == pytest.approx(1)
    assert summary["j_per_token"] == pytest.approx(150 * 0.5 / 100, rel=0.02)
    assert summary["j_per_step"] == pytest.approx(150 * 0.5, rel=0.02)


def test_the_energy_of_a_run_lies_within_its_interval() -> None:
    summary = a_run(an_attempt([power(100)], marks(0, 10))).summary()
    assert summary["energy_low_j"] <= 500 <= summary["energy_high_j"]
    assert summary["energy_high_j"] - summary["energy_low_j"] < 60


def test_absent_is_empty_and_never_zero() -> None:
    run = a_run(an_attempt([], marks(0, 4, tokens=None)))
    steps, summary = run.steps(), run.summary()
    for column in ("energy_j", "gpu_j", "tokens", "loss", "flops", "measured_share"):
        assert steps[column].isna().all()
    assert steps["attribution"].isna().all()
    for key in ("energy_j", "energy_low_j", "steps_j", "j_per_token", "operational_co2e_g"):
        assert summary[key] is None
    assert summary["component_j"] == dict.fromkeys(("gpu", "cpu", "dram", "other"))
    assert summary["coverage"] is None
    json.dumps(summary, allow_nan=False)


def test_a_sensor_that_never_spoke_is_absent_too() -> None:
    run = a_run(an_attempt([readings_of(a_channel(), [])], marks(0, 4)))
    assert np.isnan(run.energy())
    assert run.summary()["coverage"] == 0


def test_ranks_join_by_step_and_a_shared_device_counts_once() -> None:
    ranks = [
        an_attempt([power(100, **gpu(rank)), power(40, **CPU)], marks(0, 6), rank=rank, of=4)
        for rank in range(4)
    ]
    run = a_run(*ranks)
    steps = run.steps()
    assert len(steps) == 6
    assert steps["energy_j"].to_numpy() == pytest.approx(np.full(6, (4 * 100 + 40) * 0.5), rel=0.06)
    assert set(steps["ranks"]) == {4}
    assert set(steps["tokens"]) == {400.0}
    assert run.energy() == pytest.approx(440 * 3.0, rel=0.01)
    assert run.summary()["coverage"] == pytest.approx(1.0, abs=0.01)
    assert run.phases()["energy_j"].sum() == pytest.approx(run.energy(), rel=1e-9)


def test_ranks_in_any_order_give_the_same_run() -> None:
    ranks = [
        an_attempt([power(100 + rank, **gpu(rank))], marks(0, 6), rank=rank, of=3)
        for rank in range(3)
    ]
    first, second = a_run(*ranks), a_run(*reversed(ranks))
    assert first.energy() == pytest.approx(second.energy(), rel=1e-12)
    assert first.steps()["energy_j"].tolist() == pytest.approx(second.steps()["energy_j"].tolist())


def test_a_missing_rank_is_named_and_lowers_coverage() -> None:
    ranks = [an_attempt([power(100, **gpu(r))], marks(0, 6), rank=r, of=4) for r in (0, 1, 3)]
    run = a_run(*ranks)
    assert "3 of 4 ranks are here; missing: 2." in run.notices
    assert run.summary()["coverage"] == pytest.approx(0.75, abs=0.01)


def test_a_rank_whose_energy_of_a_step_is_unknown_makes_the_step_unknown() -> None:
    short = power(100, seconds=2.0, **gpu(1))
    run = a_run(
        an_attempt([power(100, **gpu(0))], marks(0, 6), rank=0, of=2),
        an_attempt([short], marks(0, 6), rank=1, of=2),
    )
    known = run.steps()["energy_j"].notna().tolist()
    assert known == [True, True, False, False, False, False]


def test_attempts_add_and_what_was_rolled_back_is_wasted() -> None:
    first = an_attempt([power(100)], marks(0, 6))
    second = dataclasses.replace(
        an_attempt([power(100)], marks(4, 6), number=1), launch_id="second"
    )
    run = a_run(first, later(second, 60))
    steps, summary = run.steps(), run.summary()
    assert steps["rolled_back"].tolist() == [False] * 4 + [True] * 2 + [False] * 6
    assert summary["attempts"] == 2
    assert summary["wasted_j"] == pytest.approx(2 * 50, rel=0.03)
    assert summary["energy_j"] == pytest.approx(600, rel=0.03)


def test_emissions_are_recomputed_and_pue_counts_once() -> None:
    settings = {"country": {"value": "FRA"}, "pue": {"value": 1.5}}
    run = a_run(an_attempt([power(100)], marks(0, 6)), settings=settings)
    own = run.footprint()
    assert own.place == "FRA"
    expected_g = run.energy() / 3.6e6 * own.intensity_g_per_kwh * 1.5
    assert own.operational_co2e_g == pytest.approx(expected_g)
    assert run.steps()["operational_co2e_g"].sum() == pytest.approx(
        run.steps()["energy_j"].sum() / 3.6e6 * own.intensity_g_per_kwh * 1.5
    )
    other = run.footprint(country="DEU", pue=1.0)
    assert other.operational_co2e_g == pytest.approx(
        run.energy() / 3.6e6 * other.intensity_g_per_kwh
    )
    assert run.energy() == pytest.approx(300, rel=0.03)


def test_without_a_country_every_output_says_world_average() -> None:
    run = a_run(an_attempt([power(100)], marks(0, 6)))
    assert any("world average" in notice for notice in run.notices)
    assert any("No PUE" in notice for notice in run.notices)
    assert run.summary()["intensity_place"] == "WLD"


def test_a_comparison_leaves_the_warm_up_out() -> None:
    made = an_attempt([power(100)], marks(0, 10))
    warm = dataclasses.replace(made, manifest={"world_size": 1, "warmup_s": 1.4})
    figures = a_run(warm, config={"repeat": 3, "position": 1}).figures()
    assert figures.amounts["step"] == 7
    assert figures.energy_j == pytest.approx(7 * 50, rel=0.03)
    assert (figures.pair, figures.position) == ("repeat 3", 1)


def test_trust_travels() -> None:
    modelled = {**CPU, "trust": "modelled", "method": "cpu_load_model", "quantity": "power_w"}
    rows = [
        (START_NS + k * S // 10, START_NS + (k + 1) * S // 10, 25.0, 0 if k else 1)
        for k in range(80)
    ]
    run = a_run(an_attempt([power(75), readings_of(a_channel(**modelled), rows)], marks(0, 10)))
    trust = run.summary()["trust"]
    assert trust["measured"] == pytest.approx(0.75, abs=0.01)
    assert trust["modelled"] == pytest.approx(0.25, abs=0.01)
    assert run.steps()["measured_share"].mean() == pytest.approx(0.75, abs=0.02)


def test_power_curves_are_per_device() -> None:
    run = a_run(an_attempt([power(100), power(40, **CPU)], marks(0, 10)))
    curves = {curve.device: curve for curve in run.power(50)}
    assert set(curves) == {"gpu0", "cpu-package-0"}
    assert np.nanmean(curves["gpu0"].power_w) == pytest.approx(100, rel=0.02)
    assert curves["gpu0"].t_s[0] < 0.5


def test_a_phase_that_nobody_saw_is_unknown_and_not_zero() -> None:
    early = [(START_NS - S, NOTE, "train_start", 0, 0.0), (START_NS - S // 2, STEP_END, "", 0, 1.0)]
    rows = [(START_NS - 2 * S, NOTE, "other", 0, 0.0), *early, *marks(1, 4)[1:]]
    phases = a_run(an_attempt([power(100)], rows)).phases().set_index("phase")["energy_j"]
    assert np.isnan(phases["setup"])
    assert phases["train_step"] > 0
    assert phases["validation"] == 0


def test_stages_of_one_process_are_one_launch() -> None:
    fit = an_attempt([power(100)], marks(0, 4))
    test = dataclasses.replace(an_attempt([power(100)], marks(4, 1)), attempt=1)
    run = a_run(fit, test)
    assert run.summary()["attempts"] == 1
    assert set(run.steps()["attempt"]) == {0}


def test_the_sums_of_merged_ranks_close_though_a_rank_has_a_gap() -> None:
    whole, cut = power(100, **gpu(0)), power(200, **gpu(1))
    keep = (cut.t_hi_ns < START_NS + 2 * S) | (cut.t_lo_ns > START_NS + 3 * S)
    kind = cut.kind[keep].copy()
    kind[int((cut.t_hi_ns < START_NS + 2 * S).sum())] = 1
    holed = ChannelReadings(
        cut.channel, cut.t_lo_ns[keep], cut.t_hi_ns[keep], cut.value[keep], kind
    )
    run = a_run(
        an_attempt([whole], marks(0, 10), rank=0, of=2),
        an_attempt([holed], marks(0, 10), rank=1, of=2),
    )
    steps, summary = run.steps(), run.summary()
    assert 0 < steps["energy_j"].isna().sum() < 10
    assert steps.loc[steps["energy_j"].isna(), "gpu_j"].isna().all()
    assert steps["energy_j"].sum() == pytest.approx(summary["steps_j"], rel=1e-9)
    assert run.phases()["energy_j"].sum() == pytest.approx(summary["energy_j"], rel=1e-9)


def test_a_rank_whose_device_was_refused_is_not_zero_joules() -> None:
    refused = an_attempt([], marks(0, 6), rank=1, of=2)
    refused = dataclasses.replace(
        refused, manifest={**refused.manifest, "devices_wanted": ["GPU-1"]}
    )
    run = a_run(an_attempt([power(100, **gpu(0))], marks(0, 6), rank=0, of=2), refused)
    assert run.steps()["energy_j"].isna().all()
    assert run.summary()["coverage"] == pytest.approx(0.5, abs=0.02)
    assert any("GPU-1 was asked for and is not metered" in notice for notice in run.notices)


def test_a_rank_that_ends_early_is_named() -> None:
    run = a_run(
        an_attempt([power(100, **gpu(0))], marks(0, 10), rank=0, of=2),
        an_attempt([power(100, **gpu(1))], marks(0, 4), rank=1, of=2),
    )
    assert any("Rank 1 ended at step 3, others at 9" in notice for notice in run.notices)
    assert run.summary()["coverage"] < 0.8


def test_a_sensor_that_could_be_mended_is_named() -> None:
    made = an_attempt([power(100)], marks(0, 4))
    refused = [{"sensor": "rapl", "reason": "the counter is not readable", "hint": "chmod"}]
    run = a_run(dataclasses.replace(made, manifest={**made.manifest, "refused": refused}))
    assert "rapl is not metered: the counter is not readable" in run.notices


def test_dropped_marks_are_said() -> None:
    rows = [*marks(0, 4)[:-1], (START_NS + 3 * S, NOTE, "marks_dropped", 9, 9.0)]
    assert any("9 marks were dropped" in notice for notice in a_run(an_attempt([], rows)).notices)


@pytest.mark.parametrize("settings", [[1], {"country": {"value": 5}}, {"pue": {"value": "x"}}])
def test_a_manifest_from_elsewhere_is_data(settings: Any) -> None:
    made = an_attempt([power(100)], marks(0, 4))
    strange = dataclasses.replace(made, manifest={"world_size": "abc", "warmup_s": "x"})
    if isinstance(settings, list):
        assert a_run(strange, settings=settings).summary()["ranks"] == 1
    else:
        with pytest.raises(RecordError, match="setting"):
            a_run(strange, settings=settings)


def test_the_jobs_share_stands_beside_the_whole_and_changes_nothing() -> None:
    rows = [(START_NS + k * S, START_NS + (k + 1) * S, 0.25, 1 if k == 0 else 0) for k in range(8)]
    share = readings_of(
        a_channel(
            quantity="job_share_ratio", kind="cpu", device="job", device_key="host/job",
            method="cgroup_cpu_time", primary=False,
        ),
        rows,
    )  # fmt: skip
    alone = a_run(an_attempt([power(100), power(50, **CPU)], marks(0, 10))).summary()
    shared = a_run(an_attempt([power(100), power(50, **CPU), share], marks(0, 10))).summary()
    assert shared["job_cpu_share"] == pytest.approx(0.25)
    assert shared["job_cpu_j"] == pytest.approx(0.25 * shared["component_j"]["cpu"])
    assert (alone["job_cpu_share"], alone["job_cpu_j"]) == (None, None)
    told = {"job_cpu_share", "job_cpu_j"}
    assert {k: v for k, v in shared.items() if k not in told} == {
        k: v for k, v in alone.items() if k not in told
    }


def test_a_shared_board_is_counted_whole_and_the_slices_part_is_an_estimate() -> None:
    run = a_run(an_attempt([power(100, scope="shared", slice_share=2 / 7)], marks(0, 10)))
    (said,) = [notice for notice in run.notices if "shared" in notice]
    assert run.energy() == pytest.approx(500, rel=0.03)
    assert "gpu0 is shared: 500 J is what the whole board used." in said
    assert "29% of it" in said
    assert "by estimate some 143 J" in said


def test_a_board_that_is_used_alone_says_nothing_of_sharing() -> None:
    run = a_run(an_attempt([power(100)], marks(0, 10)))
    assert not any("shared" in notice for notice in run.notices)


def test_a_counter_that_contradicts_its_power_is_said() -> None:
    beside = a_channel(quantity="power_w", method="nvml_power", primary=False)
    rows = [(START_NS + k * S, START_NS + k * S, 160.0 + k, 0) for k in range(1, 30)]
    attempt = an_attempt([power(100, seconds=30), readings_of(beside, rows)], marks(0, 50))
    (said,) = [notice for notice in a_run(attempt).notices if "counter says" in notice]
    assert said.startswith("gpu0: its power readings say 1.7")


def test_steps_beyond_the_power_limit_are_flagged_in_the_table_and_said() -> None:
    run = a_run(an_attempt([power(100, power_max_w=80.0)], marks(0, 10)))
    assert run.steps()["beyond_limit"].any()
    assert any("drew more than 1.2 times its power limit" in notice for notice in run.notices)
    honest = a_run(an_attempt([power(100, power_max_w=120.0)], marks(0, 10)))
    assert not honest.steps()["beyond_limit"].any()


def test_a_visible_gpu_that_the_training_does_not_use_is_recorded_and_not_summed() -> None:
    both = [power(100, assumed_used=True, **gpu(0)), power(300, assumed_used=True, **gpu(1))]
    told = [(START_NS + S, NOTE, "device:GPU-0", 0, 0.0), *marks(0, 10)[1:]]
    run = a_run(an_attempt(both, [marks(0, 10)[0], *told]))
    assert run.energy() == pytest.approx(500, rel=0.03)
    assert any("gpu1 are recorded and not summed" in notice for notice in run.notices)
    nobody_told = a_run(an_attempt(both, marks(0, 10)))
    assert nobody_told.energy() == pytest.approx(2000, rel=0.03)
    assert any("summed because visible" in notice for notice in nobody_told.notices)
