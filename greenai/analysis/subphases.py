"""Parts of steps as the host marked them: forward, backward, optimizer, contained in the steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.course import course
from greenai.analysis.timeline import TRAIN_STEP
from greenai.metrics import SUB_PHASES
from greenai.record.types import FIXED_NAMES, PHASE_BEGIN, PHASE_END

if TYPE_CHECKING:
    import numpy.typing as npt

    from greenai.analysis.attribution import Attribution
    from greenai.record.types import Marks
    from greenai.units import Floats, Ns

_IDS = [FIXED_NAMES.index(name) for name in SUB_PHASES]
_NONE = -1


@dataclasses.dataclass(frozen=True, slots=True)
class SubPhases:
    """The s parts of steps, in SUB_PHASES order, of one attempt of one rank.

    Attributes:
        count: How often each began. Shape (s,).
        duration_ns: Time of each within steps. Shape (s,).
        energy_j: Energy of each within steps of known energy, by channel in the order of the
            attribution's. Shape (channels, s).
    """

    count: npt.NDArray[np.int64]
    duration_ns: npt.NDArray[np.int64]
    energy_j: Floats


def subphases(marks: Marks, energies: Attribution) -> SubPhases:
    """Energy of the parts of steps.

    A part counts where it lies in a step's own time (``train_step``), so that all parts together
    are never more than that row of the phases. Where parts nest, the innermost counts. Times are
    the host's: on a GPU they say when work was handed over.

    Args:
        marks: Marks of one rank in the order in which they were left.
        energies: What the same rank's steps were attributed.

    Returns:
        Counts, times and energies; all zero where the training marked no parts.
    """
    cut = energies.timeline
    at = np.flatnonzero(
        ((marks.kind == PHASE_BEGIN) | (marks.kind == PHASE_END)) & np.isin(marks.name, _IDS)
    )
    begins = marks.kind[at] == PHASE_BEGIN
    own = np.searchsorted(_IDS, marks.name[at])
    count = np.bincount(own[begins], minlength=len(_IDS))
    none = np.zeros((len(energies.channels), len(_IDS)))
    if len(at) == 0 or len(cut.step) == 0:
        return SubPhases(count, np.zeros(len(_IDS), dtype=np.int64), none)
    edges_ns, part, segment = _cut_by_parts(
        np.maximum.accumulate(marks.t_ns)[at], _innermost(own, begins), cut.edges_ns
    )
    step = cut.step[segment]
    known = np.append(np.isfinite(energies.step_j), False)
    inside = (part != _NONE) & (cut.phase[segment] == TRAIN_STEP) & (step >= 0)
    duration_ns = np.bincount(part[inside], np.diff(edges_ns)[inside], minlength=len(_IDS))
    counted = inside & known[step]
    for place, one in enumerate(energies.channels):
        energy_j = np.diff(course(one.series, cut.edges_ns[:-1]).energy_at(edges_ns))
        none[place] = np.bincount(part[counted], energy_j[counted], minlength=len(_IDS))
    return SubPhases(count, duration_ns.astype(np.int64), none)


def _innermost(own: npt.NDArray[np.int64], begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Part that is open after each mark; _NONE for none."""
    stack: list[int] = []
    inner = np.empty(len(own), dtype=np.int64)
    for position, (part, begin) in enumerate(zip(own.tolist(), begins.tolist(), strict=True)):
        if begin:
            stack.append(part)
        elif part in stack:
            del stack[len(stack) - 1 - stack[::-1].index(part)]
        inner[position] = stack[-1] if stack else _NONE
    return inner


def _cut_by_parts(
    t_ns: Ns, inner: npt.NDArray[np.int64], edges_ns: Ns
) -> tuple[Ns, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut segments further: finer edges, and part and segment of each piece between them."""
    inside = (t_ns >= edges_ns[0]) & (t_ns <= edges_ns[-1])
    finer_ns = np.sort(np.concatenate((edges_ns, t_ns[inside])), kind="stable")
    starts_ns = finer_ns[:-1]
    latest = np.searchsorted(t_ns, starts_ns, side="right") - 1
    part = np.where(latest >= 0, inner[np.maximum(latest, 0)], _NONE)
    segment = np.searchsorted(edges_ns, starts_ns, side="right") - 1
    return finer_ns, part, np.minimum(segment, len(edges_ns) - 2)
