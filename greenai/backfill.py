"""Counters of a finished run by time, as they would have been scraped had nobody been late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.course import course
from greenai.energy_utc import bridged_at
from greenai.exporters.openmetrics import Course
from greenai.merging import launch_numbers, start_utc_ns, to_utc_ns, unknown_steps
from greenai.metrics import BY_NAME, PHASES
from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from greenai.analysis.attribution import ChannelEnergy
    from greenai.merging import Part
    from greenai.run import Run
    from greenai.units import Floats, Ns

INTERVAL_S = 15.0
"""Time between two samples of a run of some length: as often as most are scraped."""
SHORTEST_S, LONGEST_S = 1.0, 240.0
"""A short run gets more of them, a very long one fewer; beyond 300 s Prometheus sees gaps."""
SAMPLES = 100, 4000
UNATTRIBUTED = PHASES.index("unattributed")
WORK = {
    "greenai_batches_total": "batches",
    "greenai_samples_total": "samples",
    "greenai_tokens_total": "tokens",
    "greenai_model_flops_total": "flops",
}
"""Columns of the steps by the counter that they add up to."""


def courses_of(run: Run) -> list[Course]:
    """Make every counter of the catalogue that the record knows, at equal times.

    Energy comes by device and phase; a phase's last value is what phases.csv has of the device.
    Energy of a gap that the counter survived comes evenly over the gap, under ``unattributed``.
    What the record does not know has no sample.

    Args:
        run: The run.

    Returns:
        Courses, those of one family in a row.
    """
    launches, unknown = launch_numbers(run.parts), unknown_steps(run.parts)
    interval_s = interval_of(run.summary()["duration_s"] or 0.0)
    factor = _grams_per_j(run)
    energies: dict[tuple[tuple[str, str], ...], list[tuple[Ns, Floats]]] = {}
    emissions: dict[tuple[tuple[str, str], ...], list[tuple[Ns, Floats]]] = {}
    devices: list[Course] = []
    runs: list[Course] = []
    for part in run.parts:
        t_ns = _moments(part, interval_s)
        if len(t_ns) == 0:
            continue
        attempt = launches[part.attempt.attempt]
        own = {"run_id": run.run_id, "attempt": str(attempt), "rank": str(part.attempt.rank)}
        unix_ms = _unix_ms(part, t_ns)
        runs.append(_info("greenai_run_info", {**own, **_facts(run, part)}, unix_ms))
        total_j = np.zeros(len(t_ns))
        for one in part.energies.channels:
            if len(one.series.t_ns) == 0:
                continue
            channel = one.channel
            labels = {**own, "device": channel.device, "kind": channel.kind}
            of_device = {
                "uuid": channel.device_key if channel.kind == "gpu" else "",
                **{key: getattr(channel, key) for key in ("model", "vendor", "method", "trust")},
            }
            devices.append(_info("greenai_device_info", {**labels, **of_device}, unix_ms))
            by_phase = _energy_by_phase(part, one, t_ns, unknown[part.attempt.attempt])
            total_j += by_phase.sum(axis=0)
            for phase, energy_j in zip(PHASES, by_phase, strict=True):
                if energy_j[-1] > 0:
                    key = tuple({**labels, "phase": phase}.items())
                    energies.setdefault(key, []).append((unix_ms, energy_j))
        if total_j[-1] > 0 and factor is not None:
            key = tuple({**own, "scope": "operational"}.items())
            emissions.setdefault(key, []).append((unix_ms, total_j * factor))
    joined = [
        Course(family, dict(key), *_one_after_the_other(pieces))
        for family, found in (
            ("greenai_energy_joules_total", energies),
            ("greenai_emissions_co2e_grams_total", emissions),
        )
        for key, pieces in found.items()
    ]
    return [*joined, *_work(run, runs), *_last_of_each(runs), *_last_of_each(devices)]


def interval_of(duration_s: float) -> float:
    """Seconds between two samples of a run.

    Example:
        >>> interval_of(20.0), interval_of(3600.0), interval_of(7 * 86_400.0)
        (1.0, 15.0, 151.2)
    """
    fewest, most = SAMPLES
    interval_s = min(INTERVAL_S, max(duration_s / fewest, SHORTEST_S))
    return min(max(interval_s, duration_s / most), LONGEST_S)


def _grams_per_j(run: Run) -> float | None:
    """Operational emissions of a joule; None where the intensity changes with time."""
    emitted, energy_j = run.footprint(), run.energy()
    over_time = emitted.to_json()["over_time"] is not None
    factor = emitted.operational_co2e_g / energy_j if energy_j > 0 else math.nan
    return factor if math.isfinite(factor) and not over_time else None


def _moments(part: Part, interval_s: float) -> Ns:
    """Times of the samples on the run's clock: from its start on, and its end."""
    edges_ns = part.energies.timeline.edges_ns
    if len(edges_ns) < 2:  # noqa: PLR2004 - a beginning and an end
        return np.empty(0, dtype=np.int64)
    first_ns, last_ns = int(edges_ns[0]), int(edges_ns[-1])
    inner = np.arange(first_ns, last_ns, round(interval_s * NS_PER_S), dtype=np.int64)
    return np.append(inner, last_ns)


def _unix_ms(part: Part, t_ns: Ns) -> Ns:
    """The same in Unix milliseconds, increasing even where the clock was set back."""
    unix_ms = to_utc_ns(part.attempt.anchors, t_ns) // NS_PER_MS
    later = np.arange(len(unix_ms))
    return np.asarray(np.maximum.accumulate(unix_ms - later) + later, dtype=np.int64)


def _energy_by_phase(part: Part, one: ChannelEnergy, t_ns: Ns, unknown: Ns) -> Floats:
    """Energy of one channel up to each moment. Shape (phases, moments)."""
    cut = part.energies.timeline
    known = np.isfinite(part.energies.step_j) & ~np.isin(cut.steps.index, unknown)
    of_step = np.append(known, [False, True])[np.clip(cut.step, -1, len(known))]
    phase = np.where(of_step, cut.phase, UNATTRIBUTED)
    edges_ns = np.union1d(cut.edges_ns, t_ns)
    added_j = np.diff(course(one.series, cut.edges_ns[:-1]).energy_at(edges_ns))
    segment = np.searchsorted(cut.edges_ns, edges_ns[:-1], side="right") - 1
    until = np.searchsorted(edges_ns, t_ns)
    energy_j = np.empty((len(PHASES), len(t_ns)))
    for position in range(len(PHASES)):
        own_j = np.where(phase[segment] == position, added_j, 0.0)
        energy_j[position] = np.concatenate(([0.0], np.cumsum(own_j)))[until]
    first_ns, last_ns = int(cut.edges_ns[0]), int(cut.edges_ns[-1])
    energy_j[UNATTRIBUTED] += bridged_at(one.series, t_ns, first_ns, last_ns)
    return energy_j


def _one_after_the_other(pieces: list[tuple[Ns, Floats]]) -> tuple[Ns, Floats]:
    """Join what several stages of one launch counted, each from 0, to one counter."""
    unix_ms, values = pieces[0]
    for more_ms, more in pieces[1:]:
        later = more_ms > unix_ms[-1]
        unix_ms = np.concatenate([unix_ms, more_ms[later]])
        values = np.concatenate([values, (more + values[-1])[later]])
    return unix_ms, values


def _work(run: Run, runs: list[Course]) -> list[Course]:
    """Steps, and what they worked on, by attempt; rank 0 shows the run's."""
    steps, start_ms = run.steps(), (start_utc_ns(run.parts) or 0) // NS_PER_MS
    found = []
    for of_launch in _last_of_each(runs):
        if of_launch.labels["rank"] != "0":
            continue
        labels = {key: of_launch.labels[key] for key in ("run_id", "attempt", "rank")}
        own = steps[steps["attempt"] == int(labels["attempt"])]
        ended_ms = start_ms + np.ceil(own["end_s"].to_numpy(dtype=np.float64) * 1e3)
        done = np.searchsorted(np.sort(ended_ms), of_launch.unix_ms, side="right")
        done[-1] = len(own)
        order = np.argsort(ended_ms, kind="stable")
        found.append(
            Course(
                "greenai_optimizer_steps_total", labels, of_launch.unix_ms, done.astype(np.float64)
            )
        )
        for family, column in WORK.items():
            amounts = own[column].to_numpy(dtype=np.float64)[order]
            if len(amounts) and np.isfinite(amounts).all():
                until = np.concatenate(([0.0], np.cumsum(amounts)))[done]
                found.append(Course(family, labels, of_launch.unix_ms, until))
    return sorted(found, key=lambda one: one.family)


def _facts(run: Run, part: Part) -> dict[str, str]:
    manifest = part.attempt.manifest
    versions = manifest.get("versions") or {}
    known = {
        "project": run.project,
        "variant": run.variant,
        "framework": versions.get("framework", ""),
        "host": manifest.get("host", ""),
        "world_size": manifest.get("world_size", ""),
        "version": versions.get("greenai", ""),
        "region": run.footprint().place,
    }
    wanted = BY_NAME["greenai_run_info"].labels
    return {key: str(value) for key, value in known.items() if key in wanted and value != ""}


def _info(family: str, labels: dict[str, str], unix_ms: Ns) -> Course:
    present = {key: text for key, text in labels.items() if text}
    return Course(family, present, unix_ms, np.ones(len(unix_ms)))


def _last_of_each(infos: list[Course]) -> list[Course]:
    """Stages of one launch as one course."""
    joined: dict[tuple[tuple[str, str], ...], Course] = {}
    for one in infos:
        key = tuple(one.labels.items())
        before = joined.get(key)
        if before is not None:
            later = one.unix_ms[one.unix_ms > before.unix_ms[-1]]
            unix_ms = np.concatenate([before.unix_ms, later])
            one = one._replace(unix_ms=unix_ms, values=np.ones(len(unix_ms)))  # noqa: PLW2901
        joined[key] = one
    return list(joined.values())
