"""What is said of ranks: who is missing, who ended early, whom the others waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.timeline import DATA_WAIT, TRAIN_STEP
from greenai.record.types import NOTE, RESUMED_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenai.merging import Part
    from greenai.record.types import Ended

RANKS_NAMED = 10
SLOWER = 1.1
"""A rank is a straggler where its steps take this much longer than the median rank's."""
WAITS_MORE = 0.1
"""Or where it waits for data for this much more of its time."""
STEPS_LEAST = 5


def about_missing_ranks(ranks: set[int], expected: int) -> str:
    """Name the ranks that are not there."""
    missing = [rank for rank in range(expected) if rank not in ranks]
    more = " …" if len(missing) > RANKS_NAMED else ""
    names = ", ".join(map(str, missing[:RANKS_NAMED]))
    share = len(ranks) / expected
    return f"{len(ranks)} of {expected} ranks are here ({share:.0%}); missing: {names}{more}."


def about_early_ends(parts: tuple[Part, ...]) -> list[str]:
    """Name ranks that ended before the others of their attempt, and what share is of all."""
    said: list[str] = []
    for together in _launches(parts):
        lasts = {
            part.attempt.rank: int(part.energies.timeline.steps.index.max()) for part in together
        }
        last = max(lasts.values())
        firsts = [int(part.energies.timeline.steps.index.min()) for part in together]
        steps = last - min(firsts) + 1
        whole = max(0, min(lasts.values()) - max(firsts) + 1)
        said.extend(
            f"Rank {rank} ended at step {own}, others at {last}: the steps between are without "
            f"it; {whole / steps:.0%} of the attempt's steps are of all {len(lasts)} ranks."
            for rank, own in lasts.items()
            if own < last - 1
        )
    return said


def about_stragglers(parts: tuple[Part, ...]) -> list[str]:
    """Name ranks that the others may have waited for: slower ones, and those that waited for data.

    Ranks that synchronise every step take the same time for it, whoever is slow; then only what
    a rank does between two steps tells, which is to wait for its data.
    """
    said = []
    for together in _launches(parts):
        ranks = [part.attempt.rank for part in together]
        seconds, waits = zip(*(_pace(part) for part in together), strict=True)
        usual_s, usual_wait = float(np.median(seconds)), float(np.median(waits))
        for rank, own_s, own_wait in zip(ranks, seconds, waits, strict=True):
            if own_s > SLOWER * usual_s:
                said.append(
                    f"Rank {rank} is a straggler: its steps took {own_s / usual_s:.2f} times as "
                    "long as the median rank's."
                )
            elif own_wait > usual_wait + WAITS_MORE:
                said.append(
                    f"Rank {rank} is a straggler: it waited for data {own_wait:.0%} of its time, "
                    f"the median rank {usual_wait:.0%}."
                )
    return said


def ending_of(parts: Sequence[Part]) -> Ended:
    """How the last attempt ended, all of its ranks: it is stopped where each of them is."""
    last = max((part.attempt.attempt for part in parts), default=0)
    ends = {part.attempt.ended for part in parts if part.attempt.attempt == last}
    if ends == {"stopped"}:
        return "stopped"
    return "parent_died" if "parent_died" in ends else "unknown"


def about_batches(parts: tuple[Part, ...]) -> list[str]:
    """Say that nobody told which ranks share a batch, where that decides the tokens."""
    for together in _launches(parts):
        unknown = any(part.attempt.manifest.get("data_parallel_rank") is None for part in together)
        steps = [part.energies.timeline.steps for part in together]
        counts = any(
            np.isfinite(one.tokens).any() or np.isfinite(one.samples).any() for one in steps
        )
        if unknown and counts:
            return [
                "Tokens and samples are summed over all ranks: nobody told which ranks share a "  # noqa: ISC004 - one sentence
                "batch (tensor or pipeline parallel). If some do, give data_parallel_rank=."
            ]
    return []


def about_resumed(parts: tuple[Part, ...], run_id: str) -> list[str]:
    """Say where earlier attempts of the run lie elsewhere, so that their energy is not in it."""
    begun: dict[int, int] = {}
    for part in parts:
        index = part.energies.timeline.steps.index
        if len(index):
            number = part.attempt.attempt
            begun[number] = min(begun.get(number, int(index.min())), int(index.min()))
    said = []
    for part in parts:
        for origin, step in _resumed_from(part):
            earlier = [first for number, first in begun.items() if number < part.attempt.attempt]
            if origin == run_id and step > 0 and not any(first < step for first in earlier):
                said.append(
                    f"Steps before {step} of this run lie elsewhere, in another folder: their "
                    "energy is not in it. greenai merge THAT THIS -o WHOLE joins the folders."
                )
    return list(dict.fromkeys(said))


def _resumed_from(part: Part) -> Iterator[tuple[str, int]]:
    marks = part.attempt.marks
    for name, text in enumerate(marks.names):
        if text.startswith(RESUMED_NOTE):
            for step in marks.index[(marks.kind == NOTE) & (marks.name == name)].tolist():
                yield text.removeprefix(RESUMED_NOTE), step


def _launches(parts: tuple[Part, ...]) -> Iterator[list[Part]]:
    """Ranks that trained together, of every attempt in which there are several."""
    together: dict[int, list[Part]] = {}
    for part in parts:
        if len(part.energies.timeline.steps.index):
            together.setdefault(part.attempt.attempt, []).append(part)
    yield from (ranks for ranks in together.values() if len(ranks) > 1)


def _pace(part: Part) -> tuple[float, float]:
    """Median time of a step, in nanoseconds, and the share of the steps spent waiting for data."""
    cut = part.energies.timeline
    lengths_ns = np.diff(cut.edges_ns)
    in_steps_ns, waits_ns = (
        float(lengths_ns[cut.phase == phase].sum()) for phase in (TRAIN_STEP, DATA_WAIT)
    )
    median_ns = (
        float(np.median(cut.steps.duration_ns)) if len(cut.steps.index) >= STEPS_LEAST else 0.0
    )
    return median_ns, waits_ns / max(1.0, in_steps_ns + waits_ns)
