"""One table of the steps of all attempts and ranks, of the columns alone that somebody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from greenai.analysis.attribution import LABELS
from greenai.merging import launch_numbers, to_utc_ns
from greenai.sensors.base import KINDS
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from greenai.merging import Part
    from greenai.units import Floats

    Column = npt.NDArray[Any] | pd.Categorical

KINDS_J = tuple(f"{kind}_j" for kind in KINDS)
ENERGIES_J = (*KINDS_J, "energy_j", "energy_low_j", "energy_high_j")
OWN_BATCH = ("batches", "samples", "tokens", "flops")
"""Columns that ranks which share a batch count once."""
JOINED_BY = {
    "epoch": "first", "start_utc_ns": "min", "end_utc_ns": "max", "duration_s": "max",
    "loss": "first", "attribution": "last", "boundary": "max", "ranks": "sum",
    "beyond_limit": "any",
}  # fmt: skip
"""Columns of ranks that are neither energies nor work, and what is taken of them."""
COLUMNS = ("step", *JOINED_BY, *OWN_BATCH, *ENERGIES_J, "measured_share")
SUMMED = ("energy_j", "duration_s", *OWN_BATCH, "attribution")
"""What the sums of a run are made of: ten million steps take 80 MB a column."""
BOUNDARIES = ("cuda_event", "host")
"""In this order: joined ranks have the GPU's boundary where all of them have it."""


def steps_of(parts: tuple[Part, ...], columns: Iterable[str] = COLUMNS) -> pd.DataFrame:
    """Table of all steps, ranks joined by step index, without the columns that factors give.

    Args:
        parts: Attempts of ranks with their energies.
        columns: Columns that are wanted, of COLUMNS.

    Returns:
        Those, with ``step``, ``attempt`` and ``rolled_back``; texts are categories. The values may
        be those of the parts: they must not be changed.
    """
    wanted = tuple(dict.fromkeys(("step", *columns)))
    by_attempt: dict[int, list[Part]] = {}
    for part in parts:
        by_attempt.setdefault(part.attempt.attempt, []).append(part)
    launches = launch_numbers(parts)
    frames = []
    for number, ranks in sorted(by_attempt.items()):
        joined = _of_rank(ranks[0], wanted) if len(ranks) == 1 else _of_ranks(ranks, wanted)
        joined["attempt"] = launches[number]
        frames.append(joined)
    if not frames:
        return pd.DataFrame({name: [] for name in (*wanted, "attempt", "rolled_back")})
    steps = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    steps["rolled_back"] = _rolled_back(steps)
    return steps


def texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """Categories as the texts that they stand for; absent ones stay absent."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return column.astype(column.cat.categories.dtype)


def batch_of(part: Part) -> int:
    """Which batch of a step a rank has: its own, unless its data-parallel rank is known."""
    told = part.attempt.manifest.get("data_parallel_rank")
    return told if type(told) is int and told >= 0 else -1 - part.attempt.rank


def _of_rank(part: Part, wanted: Iterable[str]) -> pd.DataFrame:
    """Steps of one rank. No column is made that is not wanted, and none is copied."""
    energies, steps = part.energies, part.energies.timeline.steps
    anchors = part.attempt.anchors
    made: dict[str, Callable[[], Column]] = {
        "step": lambda: steps.index,
        "epoch": lambda: steps.epoch,
        "start_utc_ns": lambda: to_utc_ns(anchors, steps.start_ns),
        "end_utc_ns": lambda: to_utc_ns(anchors, steps.end_ns),
        "duration_s": lambda: steps.duration_ns / NS_PER_S,
        "batches": lambda: steps.batches,
        "samples": lambda: steps.samples,
        "tokens": lambda: steps.tokens,
        "flops": lambda: steps.flops,
        "loss": lambda: steps.loss,
        "energy_j": lambda: energies.step_j,
        "energy_low_j": lambda: energies.step_bounds_j()[0],
        "energy_high_j": lambda: energies.step_bounds_j()[1],
        "measured_share": lambda: _measured_share(part),
        "attribution": lambda: _attribution(part),
        "boundary": lambda: pd.Categorical.from_codes(
            np.where(steps.on_gpu, np.int8(0), np.int8(1)), list(BOUNDARIES), ordered=True
        ),
        "ranks": lambda: np.ones(len(steps.index), dtype=np.int64),
        "beyond_limit": lambda: energies.beyond,
    }
    for kind, name in zip(KINDS, KINDS_J, strict=True):
        made[name] = lambda kind=kind: energies.step_kind_j(kind)  # type: ignore[misc]
    return pd.DataFrame({name: made[name]() for name in wanted}, copy=False)


def _measured_share(part: Part) -> Floats:
    total_j = part.energies.step_j
    measured = [one.step_j for one in part.energies.channels if one.channel.trust == "measured"]
    measured_j = np.sum(measured, axis=0) if measured else np.zeros(len(total_j))
    unknown = np.full(len(total_j), np.nan)
    return np.asarray(np.divide(measured_j, total_j, out=unknown, where=total_j > 0))


def _attribution(part: Part) -> pd.Categorical:
    """How far each step's energy is its own; absent where there is none."""
    codes = np.where(np.isfinite(part.energies.step_j), part.energies.label_codes, np.int8(-1))
    return pd.Categorical.from_codes(codes, list(LABELS))


def _of_ranks(ranks: list[Part], wanted: tuple[str, ...]) -> pd.DataFrame:
    """Join the ranks of one attempt: earliest start, latest end, sums, loss of the first rank.

    A rank that has no channels of its own (another one counts its devices) adds no energy; a
    rank whose energy of a step is unknown makes the step's energy unknown. The boundary is the
    GPU's where it is so on every rank. Ranks that share a batch (tensor or pipeline parallel)
    count its tokens once.
    """
    needed = tuple(dict.fromkeys((*wanted, "energy_j", "ranks")))
    frame = pd.concat(
        [
            _of_rank(part, needed).assign(metered=not part.is_silent, batch_of=batch_of(part))
            for part in ranks
        ],
        ignore_index=True,
    )
    taken = {name: by for name, by in JOINED_BY.items() if name in needed}
    joined = frame.groupby("step", sort=True).agg(taken)
    own_batch = frame[~frame.duplicated(["step", "batch_of"])]
    for column in (name for name in OWN_BATCH if name in needed):
        joined[column] = _sums(own_batch, column, skip_unknown=False)
    metered = frame[frame["metered"]]
    in_part = joined.index.isin(metered.loc[metered["energy_j"].isna(), "step"])
    for column in (name for name in ENERGIES_J if name in needed):
        joined[column] = _sums(metered, column, skip_unknown=True)
        joined.loc[in_part, column] = np.nan
    if "measured_share" in needed:
        measured = metered.assign(measured_j=metered["measured_share"] * metered["energy_j"])
        measured_j = _sums(measured, "measured_j", skip_unknown=True)
        joined["measured_share"] = measured_j / joined["energy_j"]
    return joined.reset_index()


def _sums(frame: pd.DataFrame, column: str, *, skip_unknown: bool) -> pd.Series[float]:
    """Sum over ranks, by step. An unknown one makes the sum unknown, or is skipped.

    A component that a rank does not have adds nothing; where no rank has it, the sum is NaN.
    """
    order = np.argsort(frame["step"].to_numpy(), kind="stable")
    step = frame["step"].to_numpy()[order]
    values = frame[column].to_numpy(dtype=np.float64)[order]
    if not len(step):
        return pd.Series(dtype=np.float64)
    starts = np.flatnonzero(np.concatenate(([True], step[1:] != step[:-1])))
    unknown = np.isnan(values)
    if skip_unknown:
        summed = np.add.reduceat(np.where(unknown, 0.0, values), starts)
        summed[np.logical_and.reduceat(unknown, starts)] = np.nan
    else:
        summed = np.add.reduceat(values, starts)
    return pd.Series(summed, index=step[starts])


def _rolled_back(steps: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a later attempt trained the step again."""
    index, attempt = steps["step"].to_numpy(), steps["attempt"].to_numpy()
    if not len(index) or attempt.min() == attempt.max():
        return np.zeros(len(index), dtype=bool)
    numbers, place = np.unique(attempt, return_inverse=True)
    lowest = np.full(len(numbers), np.inf)
    np.minimum.at(lowest, place, index)
    lowest_from = np.minimum.accumulate(lowest[::-1])[::-1]
    return np.asarray(index >= np.append(lowest_from[1:], np.inf)[place])
