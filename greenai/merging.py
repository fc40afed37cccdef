"""Attempts and ranks made one: which device is counted by whom, and one table of steps."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from greenai.analysis.attribution import Attribution, attribute, counted_series, end_ns
from greenai.analysis.once import Reader, counted_once
from greenai.analysis.series import ELSEWHERE, power_curve
from greenai.analysis.share import JobEnergy, job_energy, together
from greenai.analysis.subphases import subphases
from greenai.metrics import PHASES, SUB_PHASES
from greenai.sensors.base import KINDS, TRUSTS
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greenai.analysis.attribution import ChannelEnergy
    from greenai.analysis.series import Series
    from greenai.record.types import Anchor, Attempt, Record
    from greenai.units import Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One attempt of one rank with its energies."""

    attempt: Attempt
    energies: Attribution

    @property
    def is_silent(self) -> bool:
        """Whether it meters nothing and was not asked to: others count what it runs on."""
        wanted = self.attempt.manifest.get("devices_wanted")
        return not self.energies.channels and not wanted


@dataclasses.dataclass(frozen=True, slots=True)
class PowerCurve:
    """Mean power of one device over the run.

    Attributes:
        device: Short name of the device.
        kind: Component that it is booked under.
        trust: ``measured``, ``modelled`` or ``assumed``.
        t_s: Seconds since the run's start. Shape (n,).
        power_w: Watts; NaN inside gaps. Shape (n,).
    """

    device: str
    kind: str
    trust: str
    t_s: Floats
    power_w: Floats


def curves_of(parts: tuple[Part, ...], points: int) -> list[PowerCurve]:
    """Mean power of each device over the run, at most ``points`` each."""
    start_ns = start_utc_ns(parts) or 0
    curves = []
    for part in parts:
        for one in part.energies.channels:
            if _is_elsewhere(one):
                continue
            t_ns, power_w = power_curve(one.series, points)
            t_s = (to_utc_ns(part.attempt.anchors, t_ns) - start_ns) / NS_PER_S
            channel = one.channel
            curves.append(PowerCurve(channel.device, channel.kind, channel.trust, t_s, power_w))
    return curves


def parts_of(record: Record) -> tuple[Part, ...]:
    """Attribute every attempt; each moment of a device that several read is counted once.

    The order in which attempts are given changes nothing. Of several readers a measurement is
    believed before a model, then the earlier attempt, then the lower rank.
    """
    attempts = sorted(record.attempts, key=lambda one: (one.attempt, one.rank, one.folder.name))
    read = [counted_series(attempt) for attempt in attempts]
    readers: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for place, attempt in enumerate(attempts):
        for position, series in enumerate(read[place]):
            channel = series.channel  # of another boot the clock is another, and no time is shared
            device = (channel.device_key, channel.kind, str(attempt.manifest.get("host")))
            readers.setdefault(device, []).append((place, position))
    for places in readers.values():
        believed = sorted(places, key=lambda at: TRUSTS.index(read[at[0]][at[1]].channel.trust))
        shared = counted_once(
            [_reader(attempts[place], read[place], position) for place, position in believed]
        )
        for (place, position), series in zip(believed, shared, strict=True):
            read[place][position] = series
    return tuple(
        Part(attempt, attribute(attempt, series))
        for attempt, series in zip(attempts, read, strict=True)
    )


def _reader(attempt: Attempt, all_series: list[Series], position: int) -> Reader:
    """A reader of a device, bounded by its rank's part of the run."""
    t_ns = attempt.marks.t_ns
    if len(t_ns) == 0:
        return Reader(all_series[position], 0, 0)
    last_ns = max(int(t_ns.max()), end_ns(attempt, all_series))
    return Reader(all_series[position], int(t_ns[0]), last_ns)


def devices_counted(parts: Iterable[Part]) -> Iterator[tuple[Part, ChannelEnergy]]:
    """Every device of every attempt once, with the reader that counts most of its time."""
    most: dict[tuple[int, str, str], tuple[Part, ChannelEnergy]] = {}
    for part in parts:
        for one in part.energies.channels:
            key = (part.attempt.attempt, one.channel.device_key, one.channel.kind)
            if key not in most or one.covered_ns > most[key][1].covered_ns:
                most[key] = (part, one)
    yield from most.values()


def _is_elsewhere(one: ChannelEnergy) -> bool:
    """Whether other readers count all the time of a device."""
    return len(one.series.state) > 0 and bool((one.series.state == ELSEWHERE).all())


def subphases_of(parts: tuple[Part, ...]) -> pd.DataFrame:
    """Table of the parts of steps that were marked: energies of all ranks, times of the first.

    No rows where none was marked. The energies are contained in ``train_step`` of the phases.
    """
    size = len(SUB_PHASES)
    count, duration_ns = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    by_kind = {kind: np.full(size, np.nan) for kind in KINDS}
    firsts: dict[int, Part] = {}
    for part in parts:
        found = subphases(part.attempt.marks, part.energies)
        if firsts.setdefault(part.attempt.attempt, part) is part:
            count += found.count
            duration_ns += found.duration_ns
        for one, energy_j in zip(part.energies.channels, found.energy_j, strict=True):
            if len(one.series.t_ns):
                kind = one.channel.kind
                by_kind[kind] = np.nan_to_num(by_kind[kind]) + energy_j
    known = [energy_j for energy_j in by_kind.values() if not np.isnan(energy_j).all()]
    total_j = np.sum(known, axis=0) if known else np.full(size, np.nan)
    frame = pd.DataFrame(
        {
            "subphase": SUB_PHASES,
            "count": count,
            "duration_s": duration_ns / NS_PER_S,
            "energy_j": total_j,
            **{f"{kind}_j": by_kind[kind] for kind in KINDS},
            "boundary": "host",
        }
    )
    return frame[count > 0].reset_index(drop=True)


def job_energy_of(parts: tuple[Part, ...]) -> JobEnergy:
    """The job's part of the CPUs' energy, over all hosts and attempts."""
    found = []
    for part in parts:
        edges_ns = part.energies.timeline.edges_ns
        cpus = [one for one in part.energies.channels if one.channel.kind == "cpu"]
        shares = [
            readings
            for readings in part.attempt.readings
            if readings.channel.quantity == "job_share_ratio"
        ]
        if cpus and len(edges_ns):
            all_series, cpu_j = [one.series for one in cpus], sum(one.covered_j for one in cpus)
            start_ns, end_ns = int(edges_ns[0]), int(edges_ns[-1])
            found.append(job_energy(shares[:1], all_series, start_ns, end_ns, cpu_j))
    return together(found)


def duration_s(parts: tuple[Part, ...]) -> float:
    """Sum over attempts of the longest rank's time; NaN without marks."""
    longest: dict[int, float] = {}
    for part in parts:
        edges_ns = part.energies.timeline.edges_ns
        number = part.attempt.attempt
        seconds = float(edges_ns[-1] - edges_ns[0]) / NS_PER_S if len(edges_ns) > 1 else 0.0
        longest[number] = max(longest.get(number, 0.0), seconds)
    return sum(longest.values()) if longest else math.nan


def energy_bounds_j(parts: tuple[Part, ...]) -> tuple[float, float]:
    """Bounds on the energy of all parts; NaN where any of it is no measurement."""
    channels = [
        one
        for part in parts
        for one in part.energies.channels
        if len(one.series.t_ns) and not _is_elsewhere(one)
    ]
    if not channels or any(one.channel.trust != "measured" for one in channels):
        return math.nan, math.nan  # a model has no hard bounds
    return sum(one.low_j for one in channels), sum(one.high_j for one in channels)


def launch_numbers(parts: tuple[Part, ...]) -> dict[int, int]:
    """Number of the launch by number of the attempt: stages of one process are one launch."""
    order: dict[str, int] = {}
    return {
        part.attempt.attempt: order.setdefault(part.attempt.launch_id, len(order)) for part in parts
    }


def to_utc_ns(anchors: tuple[Anchor, ...], t_ns: np.ndarray) -> np.ndarray:
    """Map the monotonic clock to UTC by the latest anchor before each moment."""
    known = np.array([anchor.monotonic_ns for anchor in anchors])
    offset_ns = np.array([anchor.utc_ns - anchor.monotonic_ns for anchor in anchors])
    latest = np.clip(np.searchsorted(known, t_ns, side="right") - 1, 0, len(known) - 1)
    return np.asarray(t_ns + offset_ns[latest])


def start_utc_ns(parts: tuple[Part, ...]) -> int | None:
    """Start of the run: its earliest mark; None where nothing was marked."""
    starts = [
        int(to_utc_ns(part.attempt.anchors, part.energies.timeline.edges_ns[:1])[0])
        for part in parts
        if len(part.energies.timeline.step)
    ]
    return min(starts, default=None)


def unknown_steps(parts: tuple[Part, ...]) -> dict[int, np.ndarray]:
    """Numbers of the steps that some counting rank does not know, by attempt."""
    unknown: dict[int, np.ndarray] = {}
    for part in parts:
        number, index = part.attempt.attempt, part.energies.timeline.steps.index
        before = unknown.get(number, np.empty(0, dtype=np.int64))
        own = index[:0] if part.is_silent else index[~np.isfinite(part.energies.step_j)]
        unknown[number] = np.union1d(before, own)
    return unknown


def phases_of(parts: tuple[Part, ...]) -> pd.DataFrame:
    """Table of the phases: energies summed over all parts, times and counts of the first ranks."""
    first_ranks: dict[int, Part] = {}
    for part in parts:
        first_ranks.setdefault(part.attempt.attempt, part)
    count, duration_ns = dict.fromkeys(PHASES, 0), np.zeros(len(PHASES))
    for part in first_ranks.values():
        cut = part.energies.timeline
        duration_ns += np.bincount(cut.phase, np.diff(cut.edges_ns), minlength=len(PHASES))
        for phase, number in cut.counts.items():
            count[phase] += number
    by_kind = {kind: np.full(len(PHASES), np.nan) for kind in KINDS}
    unknown = unknown_steps(parts)
    seen_ns = np.zeros(len(PHASES))
    for part in parts:
        for one in part.energies.channels:
            if len(one.series.t_ns):
                kind_j = by_kind[one.channel.kind]
                by_kind[one.channel.kind] = np.nan_to_num(kind_j) + part.energies.phase_j(
                    one, unknown[part.attempt.attempt]
                )
                seen_ns += one.phase_covered_ns
    unseen = ((duration_ns > 0) & (seen_ns == 0)) | ~seen_ns.any()  # nobody was reading: not 0
    for kind_j in by_kind.values():
        kind_j[unseen] = np.nan
    known = [kind_j for kind_j in by_kind.values() if not np.isnan(kind_j).all()]
    total_j = np.sum(known, axis=0) if known else np.full(len(PHASES), np.nan)
    duration_s = np.where(np.array(PHASES) == "unattributed", np.nan, duration_ns / NS_PER_S)
    whole_j = np.nansum(total_j)
    return pd.DataFrame(
        {
            "phase": PHASES,
            "count": [count[phase] for phase in PHASES],
            "duration_s": duration_s,
            "energy_j": total_j,
            **{f"{kind}_j": by_kind[kind] for kind in KINDS},
            "energy_share": total_j / whole_j if whole_j > 0 else np.full(len(PHASES), np.nan),
        }
    )
