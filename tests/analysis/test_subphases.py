"""Laws of the parts of steps: contained in the steps, and never more than they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.counters import START_NS, SimulatedCounter, attempt_of, marks_of

from greenai.analysis.attribution import Attribution, attribute
from greenai.analysis.subphases import SubPhases, subphases
from greenai.metrics import PHASES, SUB_PHASES
from greenai.record.types import NOTE, PHASE_BEGIN, PHASE_END, STEP_END, STOP

MS = 1_000_000
Rows = list[tuple[int, int, str, int, float]]


def metered(rows: Rows, seconds: float = 6.0) -> tuple[SubPhases, Attribution]:
    readings = SimulatedCounter(lambda s: 100.0 * s).readings(seconds)
    attempt = attempt_of([readings], marks_of(rows))
    energies = attribute(attempt)
    return subphases(attempt.marks, energies), energies


def a_step(begin_ms: int, index: int, *, length_ms: int = 1000) -> Rows:
    """A step of 40 % forward, 40 % backward and 10 % optimizer."""
    rows: Rows = []
    for name, first, last in (("forward", 0, 40), ("backward", 40, 80), ("optimizer", 90, 100)):
        for kind, share in ((PHASE_BEGIN, first), (PHASE_END, last)):
            t = START_NS + (begin_ms + length_ms * share // 100) * MS
            rows.append((t, kind, name, 0, 0.0))
    return [*rows, (START_NS + (begin_ms + length_ms) * MS, STEP_END, "", index, 1.0)]


def train(*steps: Rows) -> Rows:
    rows = [one for step in steps for one in step]
    start = (START_NS + 1000 * MS, NOTE, "train_start", 0, 0.0)
    return [start, *rows, (rows[-1][0], STOP, "", 0, 0.0)]


def test_each_part_gets_what_was_used_in_its_time() -> None:
    found, _ = metered(train(*[a_step(1000 * (n + 1), n) for n in range(4)]))
    assert found.count.tolist() == [4, 4, 4]
    np.testing.assert_allclose(found.duration_ns / 1e9, [1.6, 1.6, 0.4])
    np.testing.assert_allclose(found.energy_j[0], [160, 160, 40], rtol=0.05)


def test_parts_leave_the_phases_as_they_are() -> None:
    rows = train(*[a_step(1000 * (n + 1), n) for n in range(4)])
    bare = [row for row in rows if row[2] not in SUB_PHASES]
    (_, with_parts), (_, without) = metered(rows), metered(bare)
    for one, other in zip(with_parts.channels, without.channels, strict=True):
        assert with_parts.phase_j(one).tolist() == without.phase_j(other).tolist()
    assert with_parts.step_j.tolist() == without.step_j.tolist()


def test_a_part_outside_of_the_steps_own_time_is_counted_and_has_no_energy() -> None:
    rows = train(a_step(1000, 0))
    inside = [
        (START_NS + 1100 * MS, PHASE_BEGIN, "validation", 0, 0.0),
        (START_NS + 1200 * MS, PHASE_END, "validation", 0, 0.0),
    ]
    found, _ = metered(sorted([*rows, *inside], key=lambda row: row[0]))
    assert found.duration_ns[0] == 300 * MS


def test_a_step_of_unknown_energy_gives_its_parts_none() -> None:
    found, energies = metered(train(a_step(1000, 0), a_step(7000, 1)))
    assert np.isnan(energies.step_j[1])
    np.testing.assert_allclose(found.energy_j[0], [40, 40, 10], rtol=0.1)
    assert found.count.tolist() == [2, 2, 2]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([PHASE_BEGIN, PHASE_END]), st.sampled_from([*SUB_PHASES, ""])),
        max_size=30,
    )
)
def test_all_parts_together_are_no_more_than_the_steps(events: list[tuple[int, str]]) -> None:
    begin = START_NS + 1000 * MS
    rows: Rows = [(begin, NOTE, "train_start", 0, 0.0)]
    for number, (kind, name) in enumerate(events):
        t = begin + (number + 1) * 100 * MS
        rows.append((t, kind, name, 0, 0.0) if name else (t, STEP_END, "", number, 1.0))
    found, energies = metered([*rows, (rows[-1][0], STOP, "", 0, 0.0)])
    train_j = energies.phase_j(energies.channels[0])[PHASES.index("train_step")]
    assert found.energy_j.sum() <= train_j * (1 + 1e-9) + 1e-9
    assert (found.energy_j >= -1e-9).all()
