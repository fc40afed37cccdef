"""Laws of a timeline cut by the GPU's time: nothing is lost, and steps own what they did."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import marks_of

from greenai.analysis.timeline import timeline
from greenai.metrics import PHASES
from greenai.record.types import (
    GPU_TIME,
    NOTE,
    PHASE_BEGIN,
    PHASE_END,
    STEP_END,
    STOP,
    VALUE,
    Marks,
)

MS = 1_000_000
Rows = list[tuple[int, int, str, int, float]]


def queued(lags_ms: list[int], *, step_ms: int = 50, start: Rows | None = None) -> Rows:
    """Steps of a host that runs ahead: the GPU comes to the end of step k so much later.

    After each mark a probe finds the clock, and each end is seen 1 ms after it came.
    """
    rows: Rows = [*(start or []), (0, NOTE, "train_start", 0, 0.0)]
    for k, lag_ms in enumerate(lags_ms):
        t = (k + 1) * step_ms * MS
        rows += [
            (t, VALUE, "tokens", k, 10.0 + k),
            (t, STEP_END, "", k, 1.0),
            (t + 1, GPU_TIME, "gpu_probe", k, 0.0),
            (t + 2, PHASE_BEGIN, "data_wait", 0, 0.0),
            (t + 5 * MS, PHASE_END, "data_wait", 0, 0.0),
            (t + (lag_ms + 1) * MS, GPU_TIME, "", k, lag_ms * 1000.0),
        ]
    last = max(row[0] for row in rows)
    return [*sorted(rows, key=lambda row: row[0]), (last, STOP, "", 0, 0.0)]


def test_a_step_ends_when_the_gpu_has_done_it() -> None:
    cut = timeline(marks_of(queued([20, 30, 40])), 0)
    assert cut.steps.on_gpu.all()
    np.testing.assert_allclose(cut.steps.end_ns / MS, [70, 130, 190], atol=0.1)
    assert (cut.steps.boundary_slack_ns <= 0.1 * MS).all()
    assert cut.problems == ()


def test_a_lag_of_more_than_a_step_takes_no_value_from_its_step() -> None:
    cut = timeline(marks_of(queued([120, 130, 140, 150])), 0)
    assert cut.steps.on_gpu.all()
    assert cut.steps.tokens.tolist() == [10.0, 11.0, 12.0, 13.0]
    np.testing.assert_allclose(cut.steps.end_ns / MS, [170, 230, 290, 350], atol=0.1)


def test_phases_keep_the_time_of_the_host() -> None:
    cut = timeline(marks_of(queued([20, 20])), 0)
    waits = cut.phase == PHASES.index("data_wait")
    begins = cut.edges_ns[:-1][waits]
    # The host waited for the next batch while the GPU was still at work on the step before.
    assert begins.min() == 50 * MS + 2
    assert cut.step[waits].tolist()[0] == 0
    assert cut.counts["data_wait"] == 2


def test_a_validation_begins_when_the_host_says_so() -> None:
    rows = queued([20, 20])
    rows[-1:-1] = [(110 * MS, PHASE_BEGIN, "validation", 0, 0.0)]
    rows = [*rows[:-1], (200 * MS, PHASE_END, "validation", 0, 0.0), (200 * MS, STOP, "", 0, 0.0)]
    rows.sort(key=lambda row: row[0])
    cut = timeline(marks_of(rows), 0)
    lengths_ns = np.diff(cut.edges_ns)
    assert lengths_ns[cut.phase == PHASES.index("validation")].sum() == 90 * MS
    assert cut.steps.duration_ns[1] < 45 * MS  # the tail from 110 to 120 ms is validation's


def test_a_step_without_the_gpus_time_lies_between_its_neighbours_and_says_host() -> None:
    rows = [row for row in queued([60, 60, 60, 60]) if not (row[1] == GPU_TIME and row[3] == 2)]
    cut = timeline(marks_of(rows), 0)
    assert cut.steps.on_gpu.tolist() == [True, True, False, True]
    assert np.isnan(cut.steps.boundary_slack_ns[2])
    np.testing.assert_allclose(cut.steps.end_ns / MS, [110, 160, 210, 260], atol=0.1)
    assert "1 of 4 ends of steps" in cut.problems[0]


def test_a_run_without_a_gpu_has_boundaries_without_slack() -> None:
    rows = [row for row in queued([0, 0]) if row[1] != GPU_TIME]
    steps = timeline(marks_of(rows), 0).steps
    assert not steps.on_gpu.any()
    assert steps.boundary_slack_ns.tolist() == [0.0, 0.0]


def test_dropped_marks_break_the_step_that_they_were_left_in() -> None:
    rows = queued([120, 120, 120])
    drop = (120 * MS, NOTE, "marks_dropped", 1, 1.0)  # between the ends of steps 1 and 2
    cut = timeline(marks_of(sorted([*rows, drop], key=lambda row: row[0])), 0)
    assert cut.steps.broken.tolist() == [False, False, True]


def test_a_second_start_ends_what_the_gpu_still_had_to_do() -> None:
    rows = queued([20, 120])
    again = [(130 * MS, NOTE, "train_start", 0, 0.0), (150 * MS, STEP_END, "", 2, 1.0)]
    cut = timeline(marks_of(sorted([*rows, *again], key=lambda row: row[0])), 0)
    assert cut.steps.end_ns[1] <= 130 * MS
    assert not cut.steps.on_gpu[1]
    assert cut.steps.start_ns[2] == 130 * MS


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=20),
    st.lists(st.sampled_from(["index", "value", "kind"]), max_size=3),
    st.randoms(),
)
def test_every_instant_counts_once_whatever_the_gpu_is_said_to_have_done(
    lags_ms: list[int], spoilt: list[str], random: np.random.Generator
) -> None:
    marks = marks_of(queued(lags_ms))
    for field in spoilt:  # a record from elsewhere
        column = getattr(marks, field).copy()
        at = random.randrange(len(column))  # type: ignore[attr-defined] # the library's Random
        column[at] = {"index": 7, "value": np.nan, "kind": GPU_TIME}[field]
        marks = dataclasses.replace(marks, **{field: column})
    cut = timeline(marks, 0)
    assert (np.diff(cut.edges_ns) >= 0).all()
    assert cut.edges_ns[0] == marks.t_ns.min()
    assert cut.edges_ns[-1] == marks.t_ns.max()
    assert (np.diff(cut.steps.end_ns) >= 0).all()
    assert len(cut.phase) == len(cut.step) == len(cut.edges_ns) - 1
    own_ns = np.bincount(cut.step[cut.step >= 0], np.diff(cut.edges_ns)[cut.step >= 0])
    np.testing.assert_array_equal(own_ns, cut.steps.duration_ns[: len(own_ns)])


def test_a_mark_of_a_part_cuts_nothing() -> None:
    rows = queued([0, 0])
    part = [(20 * MS, PHASE_BEGIN, "forward", 0, 0.0), (30 * MS, PHASE_END, "forward", 0, 0.0)]
    with_part = timeline(marks_of(sorted([*rows, *part], key=lambda row: row[0])), 0)
    without = timeline(marks_of(rows), 0)
    assert with_part.edges_ns.tolist() == without.edges_ns.tolist()
    assert with_part.problems == without.problems


def test_no_marks_have_no_times() -> None:
    none = np.empty(0, dtype=np.int64)
    empty = Marks(none, none.astype(np.uint8), none.astype(np.uint16), none, none * 1.0, ())
    assert len(timeline(empty, 0).steps.index) == 0
