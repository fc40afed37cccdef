"""Marks made into time: a partition of the run by phase and step, and the table of its steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.gpu_time import host_times, step_times
from greenai.analysis.stretches import stretches
from greenai.metrics import PHASES, SUB_PHASES
from greenai.record.types import FIXED_NAMES, NOTE, PHASE_BEGIN, PHASE_END, STEP_END, VALUE

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.analysis.gpu_time import StepTimes
    from greenai.record.types import Marks
    from greenai.units import Floats, Ns

    Bools = npt.NDArray[np.bool_]

PHASE_ID = {phase: position for position, phase in enumerate(PHASES)}
TRAIN_STEP = PHASE_ID["train_step"]
DATA_WAIT = PHASE_ID["data_wait"]
SETUP = PHASE_ID["setup"]
OTHER = PHASE_ID["other"]
UNATTRIBUTED = PHASE_ID["unattributed"]

_NAME_OF_DROP = FIXED_NAMES.index("marks_dropped")
_NAME_OF_THREAD = FIXED_NAMES.index("other_thread")
_NAME_OF_START = FIXED_NAMES.index("train_start")
_PHASE_OF_NAME = np.array([PHASE_ID.get(name, -1) for name in FIXED_NAMES], dtype=np.int8)
_SUB_PHASES = [FIXED_NAMES.index(name) for name in SUB_PHASES]
_UNMARKED = -1
_CUTTING = (PHASE_BEGIN, PHASE_END, STEP_END)
_CUTTING_NOTES = (_NAME_OF_DROP, _NAME_OF_START)


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one attempt of one rank, in the order in which they ended. All of shape (n,).

    Attributes:
        index: Number that the training gave the step.
        epoch: Epoch; NaN where the training does not say.
        start_ns: End of the step before, or the start of training.
        end_ns: Own end.
        duration_ns: Own time: validation, checkpoints and the like are cut out.
        batches: Batches of the step.
        tokens: Tokens; NaN is unknown.
        samples: Samples; NaN is unknown.
        flops: FLOPs; NaN is unknown.
        loss: Loss; NaN is unknown, or was NaN.
        broken: Marks were dropped in the step, so its bounds are not its own.
        on_gpu: Whether the end is the GPU's time; else it is the host's.
        boundary_slack_ns: How far the true end can lie to either side of ``end_ns``; 0 where the
            run has no time of a GPU, NaN where it has, but not of this step.
    """

    index: Ns
    epoch: Floats
    start_ns: Ns
    end_ns: Ns
    duration_ns: Ns
    batches: Floats
    tokens: Floats
    samples: Floats
    flops: Floats
    loss: Floats
    broken: Bools
    on_gpu: Bools
    boundary_slack_ns: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """A run's time, cut into m segments without holes or overlaps.

    Attributes:
        edges_ns: Segment k lasts from ``edges_ns[k]`` to ``edges_ns[k + 1]``. Shape (m + 1,).
        phase: Position in PHASES of each segment. Shape (m,).
        step: Position in ``steps`` of each segment's step, -1 for none; ``len(steps.index)`` for
            a step that has not ended, where an open end was asked for. Shape (m,).
        steps: The steps that ended.
        counts: How often each phase occurred, by name.
        problems: What did not fit, in sentences.
    """

    edges_ns: Ns
    phase: npt.NDArray[np.int8]
    step: npt.NDArray[np.int64]
    steps: Steps
    counts: dict[str, int]
    problems: tuple[str, ...]


def timeline(
    marks: Marks, end_ns: int, *, open_end: bool = False, trained: bool = False
) -> Timeline:
    """Cut a run's time by its marks.

    Phases nest and the innermost wins; each instant counts once. What lies in no phase belongs
    to the step that ends next; before the start of training it is ``setup``, after the last
    step, or between that and a later start of training, it is ``other``. Waiting for data
    belongs to the step it leads to; inside another phase it belongs to that phase.

    A step ends when the GPU came to its end, where the marks tell that; phases keep the host's
    time, so that the tail of a step that the host has left behind lies in what came next. With
    an open end the host's marks cut alone, because the GPU's times of a tail come after it.

    Args:
        marks: Marks of one rank in the order in which they were left.
        end_ns: End of the run: marks later than this end it later.
        open_end: Whether time after the last step belongs to a step that has not ended yet.
        trained: Whether training had begun before the first of these marks.

    Returns:
        The partition and the steps. Without marks there are no segments.
    """
    t_ns = np.maximum.accumulate(marks.t_ns)
    times, problems = host_times(marks) if open_end else step_times(marks)
    cutting = np.isin(marks.kind, _CUTTING) & ~np.isin(marks.name, _SUB_PHASES)
    cutting |= (marks.kind == NOTE) & np.isin(marks.name, _CUTTING_NOTES)
    if len(t_ns):
        cutting[0] = True
    at = np.flatnonzero(cutting)
    broken = _broken(marks, at)
    t_ns[marks.kind == STEP_END] = times.end_ns
    if (np.diff(t_ns[at]) < 0).any():
        at = at[np.argsort(t_ns[at], kind="stable")]
    kind, name = marks.kind[at], marks.name[at]
    phase, counts, unmatched = _phases(kind, name)
    is_end = kind == STEP_END
    is_start = (kind == NOTE) & (name == _NAME_OF_START)
    first_event = _first_events(is_end, is_start)
    step = _steps_of(is_end, is_start, first_event, open_end=open_end)
    phase[(phase == DATA_WAIT) & (step < 0)] = OTHER
    unmarked = phase == _UNMARKED
    step[~unmarked & (phase != DATA_WAIT)] = -1
    begun = trained | np.logical_or.accumulate(is_start | is_end)
    phase[unmarked] = SETUP
    phase[unmarked & begun] = OTHER
    phase[unmarked & (step >= 0)] = TRAIN_STEP
    edges_ns = np.append(t_ns[at], max(end_ns, int(t_ns.max()) if len(t_ns) else end_ns))
    steps = _steps(marks, at[is_end], edges_ns[first_event], np.diff(edges_ns), step, broken, times)
    problems = (*unmatched, *problems, *_lost_marks(marks))
    counts["train_step"] = len(steps.index)
    return Timeline(edges_ns[: len(at) + 1], phase, step, steps, counts, problems)


def is_cutting(kind: int, name: int) -> bool:
    """Whether a mark begins a new segment; the first mark of a run always does."""
    return (kind in _CUTTING and name not in _SUB_PHASES) or (
        kind == NOTE and name in _CUTTING_NOTES
    )


def _broken(marks: Marks, at: npt.NDArray[np.int64]) -> Bools:
    """Whether marks were dropped between the events that begin and end each step."""
    kind, name = marks.kind[at], marks.name[at]
    is_note = kind == NOTE
    is_end = kind == STEP_END
    first_event = _first_events(is_end, is_note & (name == _NAME_OF_START))
    drops = np.flatnonzero(is_note & (name == _NAME_OF_DROP))
    ends = np.flatnonzero(is_end)
    found = np.searchsorted(drops, ends) > np.searchsorted(drops, first_event, side="right")
    return np.asarray(found)


def _lost_marks(marks: Marks) -> tuple[str, ...]:
    """Say how many marks the notes count as dropped or refused."""
    said = []
    for name, what in (
        (_NAME_OF_DROP, "were dropped: steps, tokens and samples are at least what is counted"),
        (_NAME_OF_THREAD, "of another thread than the tracker's were refused"),
    ):
        count = float(marks.value[(marks.kind == NOTE) & (marks.name == name)].sum())
        if count:
            said.append(f"{count:.0f} marks {what}.")
    return tuple(said)


def _phases(
    kind: npt.NDArray[np.uint8], name: npt.NDArray[np.uint16]
) -> tuple[npt.NDArray[np.int8], dict[str, int], tuple[str, ...]]:
    """Innermost phase after each event, how often each began, and what did not fit."""
    begins, ends = kind == PHASE_BEGIN, kind == PHASE_END
    known = np.where(name < len(_PHASE_OF_NAME), name, 0)
    own = _PHASE_OF_NAME[known]
    own[name >= len(_PHASE_OF_NAME)] = _UNMARKED
    counts = {
        phase: int(np.count_nonzero(begins & (own == position)))
        for position, phase in enumerate(PHASES)
    }
    events = np.flatnonzero(begins | ends)
    flat = begins[events[0::2]].all() and ends[events[1::2]].all()
    pairs = len(events) // 2
    flat = flat and bool((own[events[0::2]][:pairs] == own[events[1::2]]).all())
    after = np.full(len(kind), _UNMARKED, dtype=np.int8)
    problems: tuple[str, ...] = ()
    if flat:
        inner = own[events]
        inner[~begins[events]] = _UNMARKED
    else:
        inner, problems = _nested(own[events], begins[events])
    if len(events):
        lengths = np.diff(events, append=len(kind))
        after[events[0] :] = np.repeat(inner, lengths)
    return after, counts, problems


def _nested(
    own: npt.NDArray[np.int8], begins: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int8], tuple[str, ...]]:
    """Innermost phase after each event of a nest; waiting for data yields to what is around it."""
    stack: list[int] = []
    unmatched = 0
    inner = np.empty(len(own), dtype=np.int8)
    for position, (phase, begin) in enumerate(zip(own.tolist(), begins.tolist(), strict=True)):
        if begin:
            stack.append(phase)
        elif phase in stack:
            del stack[len(stack) - 1 - stack[::-1].index(phase)]
        else:
            unmatched += 1
        around = [open_ for open_ in stack if open_ != DATA_WAIT]
        inner[position] = around[-1] if around else (DATA_WAIT if stack else _UNMARKED)
    problems = (f"{unmatched} phases ended that had not begun.",) if unmatched else ()
    return inner, problems


def _first_events(is_end: Bools, is_start: Bools) -> npt.NDArray[np.int64]:
    """First event of each step: the end before it, or a later start of training."""
    ends, starts = np.flatnonzero(is_end), np.flatnonzero(is_start)
    first_event = np.zeros(len(ends), dtype=np.int64)
    first_event[1:] = ends[:-1]
    if len(starts):
        latest_start = np.searchsorted(starts, ends) - 1
        np.maximum(first_event, starts[latest_start], out=first_event, where=latest_start >= 0)
    return first_event


def _steps_of(
    is_end: Bools, is_start: Bools, first_event: npt.NDArray[np.int64], *, open_end: bool
) -> npt.NDArray[np.int64]:
    """Step that the time after each event leads to; -1 for none."""
    count = len(first_event)
    step = np.cumsum(is_end, dtype=np.int64)  # number of ended steps = position of the next one
    for some in stretches(len(step)):
        owner = step[some]
        leads = owner < count
        events = np.arange(some.start, some.stop)
        leads[leads] = events[leads] >= first_event[owner[leads]]
        owner[~leads] = -1
    if open_end:
        ends, starts = np.flatnonzero(is_end), np.flatnonzero(is_start)
        opened = max([-1, *ends[-1:], *starts[-1:]])
        step[max(opened, 0) :] = count
    return step


def _steps(
    marks: Marks,
    ends: npt.NDArray[np.int64],
    start_ns: Ns,
    lengths_ns: Ns,
    step: npt.NDArray[np.int64],
    broken: Bools,
    times: StepTimes,
) -> Steps:
    """Table of the steps that ended, with the values that point at them."""
    count = len(ends)
    index = marks.index[ends]
    own_ns = np.bincount(step + 1, lengths_ns[: len(step)], minlength=count + 1)[1 : count + 1]
    values = {
        name: _value_by_step(marks, name, ends, index)
        for name in ("tokens", "samples", "flops", "loss")
    }
    return Steps(
        index=index,
        epoch=_latest_before(marks, "epoch", ends),
        start_ns=start_ns,
        end_ns=times.end_ns,
        duration_ns=own_ns.astype(np.int64),  # exact: below 2**53 ns, which is 104 days
        batches=marks.value[ends],
        broken=broken,
        on_gpu=times.on_gpu,
        boundary_slack_ns=times.slack_ns,
        **values,
    )


def _positions(marks: Marks, name: str) -> npt.NDArray[np.int64]:
    if name not in marks.names:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero((marks.kind == VALUE) & (marks.name == marks.names.index(name)))


def _latest_before(marks: Marks, name: str, ends: npt.NDArray[np.int64]) -> Floats:
    """Latest value of ``name`` that was left before each end; NaN before the first."""
    at = _positions(marks, name)
    if not len(at):
        return np.broadcast_to(np.nan, len(ends))
    last = np.searchsorted(at, ends) - 1
    found = np.full(len(ends), np.nan)
    found[last >= 0] = marks.value[at[last[last >= 0]]]
    return found


def _value_by_step(
    marks: Marks, name: str, ends: npt.NDArray[np.int64], index: npt.NDArray[np.int64]
) -> Floats:
    """Value that points at each step; NaN where none does.

    A value belongs to the step that ends next where that has its index, else (it was known
    late) to the latest step before it with its index: an index that was rolled back occurs
    twice.
    """
    at = _positions(marks, name)
    if len(at) == 0 or len(ends) == 0:
        return np.broadcast_to(np.nan, len(ends))  # takes no memory
    found = np.full(len(ends), np.nan)
    wanted, value = marks.index[at], marks.value[at]
    following = np.searchsorted(ends, at)
    usual = np.zeros(len(at), dtype=bool)
    inside = following < len(ends)
    usual[inside] = index[following[inside]] == wanted[inside]
    found[following[usual]] = value[usual]
    late = ~usual
    if late.any():
        by_index = np.lexsort((ends, index))
        span = np.int64(len(marks.kind) + 1)
        key = index[by_index].astype(np.int64) * span + ends[by_index]
        place = np.searchsorted(key, wanted[late].astype(np.int64) * span + at[late]) - 1
        owner = by_index[np.maximum(place, 0)]
        matches = (place >= 0) & (index[owner] == wanted[late])
        found[owner[matches]] = value[late][matches]
    return found
