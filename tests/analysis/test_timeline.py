"""Laws of the timeline: each instant counts once, and to what it led to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import marks_of

from greenai.analysis.timeline import Timeline, timeline
from greenai.metrics import PHASES
from greenai.record.types import NOTE, PHASE_BEGIN, PHASE_END, STEP_END, STOP, VALUE

Rows = list[tuple[int, int, str, int, float]]


def begin(t: int, phase: str) -> tuple[int, int, str, int, float]:
    return (t, PHASE_BEGIN, phase, 0, 0.0)


def end(t: int, phase: str) -> tuple[int, int, str, int, float]:
    return (t, PHASE_END, phase, 0, 0.0)


def step(t: int, index: int, batches: float = 1) -> tuple[int, int, str, int, float]:
    return (t, STEP_END, "", index, batches)


def start(t: int) -> tuple[int, int, str, int, float]:
    return (t, NOTE, "train_start", 0, 0.0)


def value(t: int, name: str, index: int, number: float) -> tuple[int, int, str, int, float]:
    return (t, VALUE, name, index, number)


def stop(t: int) -> tuple[int, int, str, int, float]:
    return (t, STOP, "", 0, 0.0)


def pieces(cut: Timeline) -> list[tuple[int, int, str, int]]:
    """Segments that last, neighbours of one phase and step joined."""
    joined: list[tuple[int, int, str, int]] = []
    for k in range(len(cut.step)):
        a, b = int(cut.edges_ns[k]), int(cut.edges_ns[k + 1])
        phase, owner = PHASES[cut.phase[k]], int(cut.step[k])
        if a == b:
            continue
        if joined and joined[-1][2:] == (phase, owner):
            joined[-1] = (joined[-1][0], b, phase, owner)
        else:
            joined.append((a, b, phase, owner))
    return joined


KNOWN: dict[str, tuple[Rows, list[tuple[int, int, str, int]]]] = {
    "steps run from end to end": (
        [start(10), step(20, 0), step(35, 1), stop(40)],
        [(10, 20, "train_step", 0), (20, 35, "train_step", 1), (35, 40, "other", -1)],
    ),
    "before training it is setup": (
        [begin(0, "setup"), end(8, "setup"), start(10), step(20, 0), stop(20)],
        [(0, 10, "setup", -1), (10, 20, "train_step", 0)],
    ),
    "without a start of training the first mark starts it": (
        [value(5, "tokens", 0, 1.0), step(20, 0), stop(20)],
        [(5, 20, "train_step", 0)],
    ),
    "waiting for data belongs to the step it leads to": (
        [start(0), begin(0, "data_wait"), end(4, "data_wait"), step(10, 0),
         begin(10, "data_wait"), end(13, "data_wait"), step(20, 1), stop(20)],
        [(0, 4, "data_wait", 0), (4, 10, "train_step", 0), (10, 13, "data_wait", 1),
         (13, 20, "train_step", 1)],
    ),
    "validation is cut out of the step": (
        [start(0), step(10, 0), begin(12, "validation"), end(20, "validation"), step(30, 1),
         stop(30)],
        [(0, 10, "train_step", 0), (10, 12, "train_step", 1), (12, 20, "validation", -1),
         (20, 30, "train_step", 1)],
    ),
    "the innermost phase wins": (
        [start(0), begin(0, "validation"), begin(2, "checkpoint"), end(5, "checkpoint"),
         end(9, "validation"), step(12, 0), stop(12)],
        [(0, 2, "validation", -1), (2, 5, "checkpoint", -1), (5, 9, "validation", -1),
         (9, 12, "train_step", 0)],
    ),
    "validation inside a wait is validation": (
        [start(0), begin(0, "data_wait"), begin(2, "validation"), end(5, "validation"),
         end(6, "data_wait"), step(9, 0), stop(9)],
        [(0, 2, "data_wait", 0), (2, 5, "validation", -1), (5, 6, "data_wait", 0),
         (6, 9, "train_step", 0)],
    ),
    "a wait inside validation is validation": (
        [start(0), begin(0, "validation"), begin(1, "data_wait"), end(3, "data_wait"),
         end(5, "validation"), step(9, 0), stop(9)],
        [(0, 5, "validation", -1), (5, 9, "train_step", 0)],
    ),
    "a wait that leads to no step is other": (
        [start(0), step(5, 0), begin(5, "data_wait"), end(8, "data_wait"), stop(9)],
        [(0, 5, "train_step", 0), (5, 9, "other", -1)],
    ),
    "a second fit begins anew": (
        [start(0), step(5, 0), start(9), step(12, 1), stop(12)],
        [(0, 5, "train_step", 0), (5, 9, "other", -1), (9, 12, "train_step", 1)],
    ),
    "an open phase lasts to the end": (
        [start(0), step(5, 0), begin(6, "test"), stop(20)],
        [(0, 5, "train_step", 0), (5, 6, "other", -1), (6, 20, "test", -1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name: str) -> None:
    rows, expected = KNOWN[name]
    assert pieces(timeline(marks_of(rows), 0)) == expected


def test_a_killed_run_goes_on_to_its_last_reading() -> None:
    cut = timeline(marks_of([start(0), step(10, 0)]), 25)
    assert pieces(cut) == [(0, 10, "train_step", 0), (10, 25, "other", -1)]


def test_a_phase_that_ends_without_a_begin_is_a_problem_and_nothing_else() -> None:
    cut = timeline(marks_of([start(0), end(3, "validation"), step(10, 0), stop(10)]), 0)
    assert pieces(cut) == [(0, 10, "train_step", 0)]
    assert cut.problems == ("1 phases ended that had not begun.",)


def test_values_find_their_steps() -> None:
    rows = [
        start(0),
        value(10, "tokens", 0, 64), value(10, "loss", 0, 2.5), step(10, 0, batches=2),
        value(20, "tokens", 1, 32), step(20, 1),
        value(25, "loss", 1, 1.5),  # known late
        value(30, "epoch", 2, 1.0), step(30, 2),
        stop(30),
    ]  # fmt: skip
    steps = timeline(marks_of(rows), 0).steps
    assert steps.batches.tolist() == [2, 1, 1]
    assert steps.tokens.tolist()[:2] == [64, 32]
    assert math.isnan(steps.tokens[2])
    assert steps.loss.tolist()[:2] == [2.5, 1.5]
    assert math.isnan(steps.epoch[1])
    assert steps.epoch[2] == 1.0


def test_a_rolled_back_index_keeps_each_its_own_values() -> None:
    rows = [
        start(0),
        value(10, "loss", 5, 1.0), step(10, 5),
        value(20, "loss", 6, 2.0), step(20, 6),
        value(30, "loss", 5, 3.0), step(30, 5),
        value(31, "loss", 6, 4.0),  # late: the latest step 6 before it
        stop(31),
    ]  # fmt: skip
    steps = timeline(marks_of(rows), 0).steps
    assert steps.loss.tolist() == [1.0, 4.0, 3.0]


def test_dropped_marks_break_the_step_in_which_they_are_missed() -> None:
    rows = [
        start(0), step(10, 0), step(20, 1),
        (25, NOTE, "marks_dropped", 7, 7.0), step(30, 4), step(40, 5), stop(40),
    ]  # fmt: skip
    assert timeline(marks_of(rows), 0).steps.broken.tolist() == [False, False, True, False]


def test_no_marks_is_no_time() -> None:
    cut = timeline(marks_of([]), 5)
    assert len(cut.step) == 0
    assert len(cut.steps.index) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "end", "step", "start", "drop"]),
            st.sampled_from(["validation", "data_wait", "checkpoint", "setup"]),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=60,
    )
)
@settings(deadline=None)
def test_whatever_comes_time_is_partitioned(events: list[tuple[str, str, int]]) -> None:
    t, rows = 0, []
    makers = {"begin": begin, "end": end}
    for number, (what, phase, wait) in enumerate(events):
        t += wait
        if what in makers:
            rows.append(makers[what](t, phase))
        elif what == "step":
            rows.append(step(t, number))
        elif what == "start":
            rows.append(start(t))
        else:
            rows.append((t, NOTE, "marks_dropped", 1, 1.0))
    cut = timeline(marks_of(rows), t + 3)
    lengths = np.diff(cut.edges_ns)
    assert cut.edges_ns[0] == rows[0][0]
    assert cut.edges_ns[-1] == t + 3
    assert (lengths >= 0).all()
    count = len(cut.steps.index)
    owned = np.bincount(cut.step[cut.step >= 0], lengths[cut.step >= 0], minlength=count)
    assert owned.tolist() == cut.steps.duration_ns.tolist()
    in_steps = np.isin(cut.phase, [PHASES.index("train_step"), PHASES.index("data_wait")])
    assert (in_steps == (cut.step >= 0)).all()
    assert (cut.steps.end_ns - cut.steps.start_ns >= cut.steps.duration_ns).all()
