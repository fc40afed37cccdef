"""Laws of merging: a device counts once over all its readers, whatever order ranks come in."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import (
    MS,
    START_NS,
    SimulatedCounter,
    a_channel,
    attempt_of,
    marks_of,
    readings_of,
)

from greenai.record.types import (
    NOTE,
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
STEP_S = 0.5
CPU = {"kind": "cpu", "device": "cpu-package-0", "device_key": "h/package-0", "method": "rapl"}


def watts(t_s: float) -> float:
    """True power of the host in watts, known at any time: it rises by 10 W a second."""
    return 100.0 + 10.0 * t_s


def energy_j(first_s: float, last_s: float) -> float:
    """True energy of the host between two moments after START_NS."""
    return (watts(first_s) + watts(last_s)) / 2 * (last_s - first_s)


def read(first_s: float, last_s: float, seed: int = 0, **channel: Any) -> ChannelReadings:
    """What a rank reads of a counter between two moments."""
    counter = SimulatedCounter(lambda t: energy_j(0, t), refresh_ms=20, seed=seed)
    whole = counter.readings(last_s, a_channel(refresh_ns=25 * MS, **{**CPU, **channel}))
    keep = whole.t_lo_ns >= START_NS + int(first_s * S)
    kind = whole.kind[keep].copy()
    kind[:1] = 1
    return ChannelReadings(
        whole.channel, whole.t_lo_ns[keep], whole.t_hi_ns[keep], whole.value[keep], kind
    )


def flat(power_w: float, last_s: float, number: int) -> ChannelReadings:
    channel = a_channel(refresh_ns=25 * MS, device=f"gpu{number}", device_key=f"GPU-{number}")
    return SimulatedCounter(lambda t: power_w * t, refresh_ms=20).readings(last_s, channel)


def rank(
    readings: list[ChannelReadings],
    steps: int,
    *,
    number: int = 0,
    of: int = 2,
    stopped: bool = True,
    first_s: float = 0.5,
    tokens: float | None = 100.0,
    **facts: Any,
) -> Attempt:
    """An attempt of a rank that trains from ``first_s`` on."""
    t_ns = START_NS + int(first_s * S)
    rows: list[tuple] = [(t_ns, NOTE, "train_start", 0, 0.0)]
    for index in range(steps):
        t_ns += int(STEP_S * S)
        if tokens is not None:
            rows.append((t_ns, VALUE, "tokens", index, tokens))
        rows.append((t_ns, STEP_END, "", index, 1.0))
    if stopped:
        rows.append((t_ns, STOP, "", 0, 0.0))
    manifest = {"world_size": of, "rank": number, "host": "h", **facts}
    made = attempt_of(readings, marks_of(rows))
    return dataclasses.replace(made, rank=number, manifest=manifest)


def a_run(*attempts: Attempt, **manifest: Any) -> Run:
    facts = {"run_id": "abc", "variant": "dense", "settings": {}, **manifest}
    return Run(Record(Path("runs/dense"), facts, attempts))


def test_another_rank_takes_over_where_the_first_one_dies() -> None:
    """Given two readers of one package, when rank 0 dies at 3 s, the host's energy goes on."""
    dies = rank([read(0, 3.1), flat(200, 3.1, 0)], 5, number=0, stopped=False)
    goes_on = rank([read(0.2, 9, seed=1), flat(300, 9, 1)], 12, number=1)
    run = a_run(dies, goes_on)
    cpu_j = run.summary()["component_j"]["cpu"]
    assert cpu_j == pytest.approx(energy_j(0.5, 6.5), rel=0.006)
    assert run.energy() == pytest.approx(cpu_j + 200 * 2.6 + 300 * 6.0, rel=0.01)
    steps = run.steps()
    assert steps["energy_j"].notna().all()
    assert steps["ranks"].tolist() == [2] * 5 + [1] * 7
    later = steps["cpu_j"].to_numpy()[6:]
    truth = [energy_j(0.5 + STEP_S * k, 0.5 + STEP_S * (k + 1)) for k in range(6, 12)]
    assert later == pytest.approx(truth, rel=0.03)
    assert run.phases()["energy_j"].sum() == pytest.approx(run.energy(), rel=1e-9)
    assert any("Rank 0 ended at step 4, others at 11" in notice for notice in run.notices)


def test_a_node_that_dies_leaves_the_numbers_of_the_others_whole() -> None:
    dead = rank([flat(200, 3.1, 0)], 5, number=0, stopped=False, host="a")
    alive = rank([flat(300, 9, 1)], 12, number=1, host="b")
    alone, both = a_run(alive), a_run(dead, alive)
    assert both.energy() == pytest.approx(alone.energy() + 200 * 2.6, rel=0.01)
    assert both.steps()["energy_j"].notna().all()
    assert both.steps()["energy_j"][7:].tolist() == alone.steps()["energy_j"][7:].tolist()
    assert both.coverage() < 0.8  # half of the devices were not there for half of the time


def test_a_gap_of_one_reader_is_filled_by_another() -> None:
    cut = read(0, 9)
    keep = (cut.t_hi_ns < START_NS + 2 * S) | (cut.t_lo_ns > START_NS + 4 * S)
    kind = cut.kind[keep].copy()
    kind[int((cut.t_hi_ns < START_NS + 2 * S).sum())] = 1
    holed = ChannelReadings(
        cut.channel, cut.t_lo_ns[keep], cut.t_hi_ns[keep], cut.value[keep], kind
    )
    alone = a_run(rank([holed], 12, of=1))
    assert alone.steps()["energy_j"].isna().sum() >= 4
    run = a_run(rank([holed], 12), rank([read(0, 9, seed=1)], 12, number=1))
    assert run.steps()["energy_j"].notna().all()
    assert run.energy() == pytest.approx(energy_j(0.5, 6.5), rel=0.003)
    assert run.coverage() == pytest.approx(1.0, abs=0.01)


def test_attempts_that_overlap_count_a_device_once() -> None:
    """Given an attempt that has not quite ended when the next one reads the same device."""
    first = rank([read(0, 5)], 9, of=1)
    second = dataclasses.replace(
        rank([read(3, 10, seed=1)], 10, of=1, first_s=4.0), attempt=1, launch_id="second"
    )
    assert a_run(first, second).energy() == pytest.approx(energy_j(0.5, 9.0), rel=0.003)


def test_a_killed_attempt_ends_with_its_own_readings() -> None:
    """Given one that is killed at 4 s, when the next begins at 8 s, the break is in neither."""
    first = rank([read(0, 4)], 6, of=1, stopped=False)
    second = dataclasses.replace(
        rank([read(8, 12, seed=1)], 5, of=1, first_s=8.5), attempt=1, launch_id="second"
    )
    alone, run = a_run(first), a_run(first, second)
    (whole,), both = alone.summary()["attempt_list"], run.summary()["attempt_list"]
    assert both[0]["duration_s"] == pytest.approx(whole["duration_s"], abs=0.05)
    assert [one["duration_s"] for one in both] == pytest.approx([3.5, 2.5], abs=0.1)
    assert run.coverage() == pytest.approx(1.0, abs=0.02)
    assert run.energy() == pytest.approx(energy_j(0.5, 4) + energy_j(8.5, 11), rel=0.01)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_run_is_stopped_where_each_of_its_ranks_is(dead: int) -> None:
    ranks = [rank([flat(100, 9, number)], 10, number=number) for number in range(2)]
    ranks[dead] = dataclasses.replace(ranks[dead], ended="parent_died")
    earlier = [dataclasses.replace(one, ended="unknown") for one in ranks]
    last = [dataclasses.replace(one, attempt=1, launch_id="second") for one in ranks]
    said = a_run(*earlier, *last).summary()
    assert said["ended"] == "parent_died"
    assert [one["ended"] for one in said["attempt_list"]] == ["unknown", "parent_died"]


def test_of_two_boots_no_time_is_shared() -> None:
    """Given a GPU whose node restarts, when its clock begins anew, both attempts count whole."""
    first = rank([flat(100, 9, 0)], 10, of=1, host="boot-1")
    second = dataclasses.replace(
        rank([flat(100, 9, 0)], 10, of=1, host="boot-2"), attempt=1, launch_id="second"
    )
    assert a_run(first, second).energy() == pytest.approx(2 * 500, rel=0.01)


def test_a_measurement_is_believed_before_a_model() -> None:
    modelled = readings_of(
        a_channel(**{**CPU, "quantity": "power_w", "trust": "modelled", "method": "model"}),
        [(START_NS + k * S, START_NS + (k + 1) * S, 999.0, 0 if k else 1) for k in range(9)],
    )
    run = a_run(rank([modelled], 12), rank([read(0, 9)], 12, number=1))
    assert run.energy() == pytest.approx(energy_j(0.5, 6.5), rel=0.003)
    assert run.trust()["measured"] == 1.0


def test_the_bounds_of_a_shared_device_hold_the_truth() -> None:
    run = a_run(rank([read(0, 3.1)], 5, stopped=False), rank([read(0, 9, seed=1)], 12, number=1))
    summary = run.summary()
    assert summary["energy_low_j"] <= energy_j(0.5, 6.5) <= summary["energy_high_j"]
    assert summary["energy_high_j"] - summary["energy_low_j"] < 30


@given(st.lists(st.tuples(st.floats(0.0, 6.0), st.floats(0.3, 4.0)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_readers_together_count_their_union_and_nothing_twice(
    spans: list[tuple[float, float]],
) -> None:
    ranks = []
    for number, (first_s, length_s) in enumerate(spans):
        last_s = min(first_s + length_s, 8.0)
        ranks.append(rank([read(first_s, last_s, seed=number)], 14, number=number, of=len(spans)))
    run = a_run(*ranks)
    grid_s = np.arange(0.5, 7.5, 0.001)
    seen = np.zeros(len(grid_s), dtype=bool)
    for first_s, length_s in spans:
        seen |= (grid_s >= first_s) & (grid_s < min(first_s + length_s, 8.0))
    if not seen.any():
        assert np.isnan(run.energy())
        return
    truth_j = float(sum(watts(t_s) for t_s in grid_s[seen])) * 0.001
    # Each reader sees its first change up to a refresh and a poll late, and its last as early.
    assert run.energy() == pytest.approx(truth_j, abs=2 * len(spans) * 0.07 * 180)
    assert run.energy() <= truth_j + 0.07 * 180 * len(spans)
    assert run.phases()["energy_j"].sum() == pytest.approx(run.energy(), rel=1e-9)


def test_ranks_in_any_order_give_the_same_run_to_the_last_bit() -> None:
    ranks = [
        rank([read(0.1 * n, 9 - n, seed=n), flat(100 + n, 9, n)], 12 - n, number=n, of=4)
        for n in range(3)
    ]
    first, *others = (a_run(*order) for order in itertools.permutations(ranks))
    for other in others:
        assert other.summary() == first.summary()
        assert other.steps().equals(first.steps())
        assert other.phases().equals(first.phases())
        assert other.notices == first.notices


def test_a_suspended_machine_is_a_gap() -> None:
    """Given a counter that survived, when the boot-time clock jumped, no step has that energy."""
    made = rank([read(0, 9)], 12, of=1)
    at_ns = START_NS + 3 * S
    anchors = tuple(
        Anchor(t_ns, t_ns, t_ns + (3600 * S if t_ns > at_ns else 0))
        for t_ns in range(START_NS, START_NS + 9 * S, S)
    )
    run = a_run(dataclasses.replace(made, anchors=anchors))
    unknown = run.steps()["energy_j"].isna()
    assert unknown.tolist() == [5 <= k <= 7 - 1 for k in range(12)] or 2 <= unknown.sum() <= 4
    assert run.summary()["unattributed_j"] > 0.8 * energy_j(3, 4)
    assert run.energy() == pytest.approx(energy_j(0.5, 6.5), rel=0.003)
    (said,) = [notice for notice in run.notices if "suspended" in notice]
    assert "slept for 3600 s" in said


def test_ranks_that_share_a_batch_count_its_tokens_once() -> None:
    """Given two groups of two tensor-parallel ranks, tokens are those of two batches."""
    ranks = [
        rank([flat(100, 9, n)], 6, number=n, of=4, data_parallel_rank=n // 2) for n in range(4)
    ]
    run = a_run(*ranks)
    assert set(run.steps()["tokens"]) == {200.0}
    assert run.steps()["energy_j"].to_numpy() == pytest.approx(np.full(6, 4 * 50.0), rel=0.06)
    assert not any("share a batch" in notice for notice in run.notices)
    unknown = a_run(*(rank([flat(100, 9, n)], 6, number=n) for n in range(2)))
    assert set(unknown.steps()["tokens"]) == {200.0}
    assert any("nobody told which ranks share a batch" in notice for notice in unknown.notices)


def test_a_straggler_is_named() -> None:
    ranks = [rank([], 8, number=n, of=3) for n in range(3)]
    slow = ranks[2].marks
    late = dataclasses.replace(slow, t_ns=START_NS + (slow.t_ns - START_NS) * 5 // 4)
    run = a_run(*ranks[:2], dataclasses.replace(ranks[2], marks=late))
    (said,) = [notice for notice in run.notices if "straggler" in notice]
    assert said == "Rank 2 is a straggler: its steps took 1.25 times as long as the median rank's."
    assert not any("straggler" in notice for notice in a_run(*ranks).notices)


def test_the_share_of_steps_that_all_ranks_have_is_said() -> None:
    run = a_run(rank([], 6, number=0), rank([], 12, number=1))
    (said,) = [notice for notice in run.notices if "ended at step" in notice]
    assert "50% of the attempt's steps are of all 2 ranks" in said


def test_nodes_count_their_hosts_apart_and_ranks_of_one_node_together() -> None:
    """Given two nodes of two ranks, of which every rank reads its node's package 0."""
    ranks = [
        rank(
            [read(0, 9, seed=n, device_key=f"boot-{n // 2}/package-0"), flat(100, 9, n)],
            12, number=n, of=4, host=f"boot-{n // 2}",
        )
        for n in range(4)
    ]  # fmt: skip
    run = a_run(*ranks)
    summary = run.summary()
    assert (summary["hosts"], summary["gpus"]) == (2, 4)
    assert summary["component_j"]["cpu"] == pytest.approx(2 * energy_j(0.5, 6.5), rel=0.003)
    assert summary["component_j"]["gpu"] == pytest.approx(4 * 600, rel=0.01)
    assert summary["coverage"] == pytest.approx(1.0, abs=0.01)
    (cpu,) = [device for device in summary["devices"] if device["kind"] == "cpu"]
    assert cpu["count"] == 2
    assert cpu["coverage"] == pytest.approx(1.0, abs=0.01)


def test_a_gap_that_all_readers_have_counts_its_energy_once() -> None:
    """Given two readers of a counter on a machine that slept, the gap is in the total once."""
    anchors = tuple(
        Anchor(t_ns, t_ns, t_ns + (600 * S if t_ns > START_NS + 3 * S else 0))
        for t_ns in range(START_NS, START_NS + 9 * S, S)
    )
    ranks = [
        dataclasses.replace(rank([read(0, 9, seed=n)], 12, number=n), anchors=anchors)
        for n in range(2)
    ]
    run = a_run(*ranks)
    assert run.energy() == pytest.approx(energy_j(0.5, 6.5), rel=0.006)
    unknown = run.steps()["energy_j"].isna().sum()
    assert 2 <= unknown <= 4
    assert run.phases()["energy_j"].sum() == pytest.approx(run.energy(), rel=1e-9)
