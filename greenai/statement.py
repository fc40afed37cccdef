"""What a summary adds for whoever must report a run: hardware, compute, attempts, all impacts."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.accounts import impacts_of
from greenai.analysis.efficiency import flop_per_j, mfu
from greenai.analysis.impacts import Factors
from greenai.lens import ACTIVE, TOTAL, peak_of
from greenai.lineage import lineage_of
from greenai.merging import devices_counted, duration_s, launch_numbers, to_utc_ns
from greenai.record.types import CHANGE
from greenai.shortfalls import length_ns
from greenai.stragglers import ending_of
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

    from greenai.merging import Part
    from greenai.run import Run
    from greenai.sensors.base import Channel
    from greenai.units import Ns

S_PER_HOUR = 3600.0
IDLE = ("idle_power_w",)
"""Where a config says what the devices draw at rest, as the bench and the doctor find it."""
SPREAD_MIN = 20
"""Steps from which on the 5 % quantile is not the smallest value."""


def statement_of(run: Run, factors: Factors | None = None) -> dict[str, Any]:
    """Everything that a report says of a run besides its energy and location-based emissions.

    Args:
        run: The run.
        factors: What the record cannot know: price, water, contract. Unknown where left out.

    Returns:
        Keys of summary.json; NaN or None is unknown. ``mfu`` and ``flop_per_j`` are of the
        training steps, repeated ones included, because they were computed and paid for too.
    """
    steps, config = run.summed_steps, run.config
    given = _with_parameters(factors, config)
    flops, seconds = (_total(steps[name]) for name in ("flops", "duration_s"))
    known = steps["energy_j"].notna()
    peak_flop_per_s = peak_of(run)
    emitted = run.footprint()
    return {
        "ended_utc": _ended_utc(run.parts),
        "hosts": len(_hosts(run.parts)),
        "gpus": len(_keys(run.parts, "gpu")),
        "device_hours": device_hours(run.parts),
        "devices": devices_of(run.parts),
        "restarts": max(0, len(set(launch_numbers(run.parts).values())) - 1),
        "attempt_list": attempts_of(run.parts),
        "lineage": lineage_of(run),
        "facility_energy_j": emitted.facility_energy_j,
        "parameters": given.parameters,
        "active_parameters": given.active_parameters,
        "peak_flop_per_s": peak_flop_per_s,
        "mfu": mfu(flops, seconds, peak_flop_per_s),
        "flop_per_j": flop_per_j(*(_total(steps[name][known]) for name in ("flops", "energy_j"))),
        "steps_of_unknown_energy": int((~known).sum()),
        "step_energy_j": _spread(steps["energy_j"][known]),
        "attribution": _shares(steps["attribution"]),
        "sensor_gain": given.sensor_gain,
        "idle_j": (_positive(config, IDLE) or math.nan) * duration_s(run.parts),
        "impacts": impacts_of(run, given).to_json(),
        "phases": [
            {name: _plain(value) for name, value in row.items()}
            for row in run.phases().to_dict("records")
        ],
    }


def device_hours(parts: tuple[Part, ...]) -> dict[str, float]:
    """Hours of every GPU model, summed over devices and attempts."""
    hours: dict[str, float] = {}
    for part, one in devices_counted(parts):
        if one.channel.kind == "gpu":
            model = one.channel.model or one.channel.device
            hours[model] = hours.get(model, 0.0) + length_ns(part) / NS_PER_S / S_PER_HOUR
    return hours


def devices_of(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Devices that are counted, alike ones together: how each was metered, and for how long.

    ``coverage`` is the share of the attempts' time that readings cover; ``refresh_s`` is how
    often the source changes its value; ``sampling_s`` is the median time between the two reads
    around a change of it, NaN where it never changed.
    """
    alike: dict[tuple[str, ...], list[tuple[Any, float]]] = {}
    brackets: dict[tuple[str, ...], list[Ns]] = {}
    most = {id(one) for _, one in devices_counted(parts)}
    for part in parts:
        for one in part.energies.channels:
            if one.covered_ns == 0 and id(one) not in most:
                continue  # others count all of it
            channel = one.channel
            name = (channel.kind, channel.model or channel.device, channel.method, channel.trust)
            wanted_ns = length_ns(part) if id(one) in most else 0.0
            alike.setdefault(name, []).append((one, wanted_ns))
            brackets.setdefault(name, []).append(_brackets_ns(part, channel))
    return [
        {
            "kind": kind,
            "model": model,
            "method": method,
            "trust": trust,
            "count": len({one.channel.device_key for one, _ in found}),
            "refresh_s": max(one.channel.refresh_ns for one, _ in found) / NS_PER_S,
            "sampling_s": _median_s(np.concatenate(brackets[kind, model, method, trust])),
            "energy_j": math.fsum(one.covered_j for one, _ in found),
            "coverage": _share(
                math.fsum(one.covered_ns for one, _ in found), math.fsum(ns for _, ns in found)
            ),
        }
        for (kind, model, method, trust), found in sorted(alike.items())
    ]


def _brackets_ns(part: Part, channel: Channel) -> Ns:
    """Time between the reads around each change of a channel: when it was read, as far as kept."""
    for one in part.attempt.readings:
        if one.channel == channel:
            spans_ns: Ns = one.t_hi_ns - one.t_lo_ns
            changes: Ns = spans_ns[one.kind == CHANGE]
            return changes
    return np.array([], dtype=np.int64)


def _median_s(spans_ns: Ns) -> float:
    return float(np.median(spans_ns)) / NS_PER_S if len(spans_ns) else math.nan


def attempts_of(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Starts of the run with the time and energy of each, failed ones included."""
    listed = []
    for number in sorted({part.attempt.attempt for part in parts}):
        own = tuple(part for part in parts if part.attempt.attempt == number)
        energies_j = [
            one.covered_j
            for part in own
            for one in part.energies.channels
            if math.isfinite(one.covered_j)
        ]
        listed.append(
            {
                "attempt": number,
                "ranks": len({part.attempt.rank for part in own}),
                "ended": ending_of(own),
                "duration_s": duration_s(own),
                "energy_j": math.fsum(energies_j) if energies_j else math.nan,
            }
        )
    return listed


def _ended_utc(parts: tuple[Part, ...]) -> str | None:
    """Last mark or reading that any rank left, in UTC."""
    ends = [
        int(to_utc_ns(part.attempt.anchors, part.energies.timeline.edges_ns[-1:])[0])
        for part in parts
        if len(part.energies.timeline.edges_ns)
    ]
    return f"{np.datetime64(max(ends), 'ns').astype('datetime64[us]')}+00:00" if ends else None


def _hosts(parts: tuple[Part, ...]) -> set[str]:
    return {str(part.attempt.manifest.get("host")) for part in parts}


def _keys(parts: tuple[Part, ...], kind: str) -> set[str]:
    return {
        one.channel.device_key
        for part in parts
        for one in part.energies.channels
        if one.channel.kind == kind
    }


def _with_parameters(factors: Factors | None, config: dict[str, Any]) -> Factors:
    """The factors with the parameters of the run's config where none were given."""
    given = factors or Factors()
    if given.parameters is not None:
        return given
    total, active = _positive(config, TOTAL), _positive(config, ACTIVE)
    return (
        given
        if total is None
        else dataclasses.replace(given, parameters=total, active_parameters=active)
    )


def _positive(config: dict[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and value > 0:
            return float(value)
    return None


def _spread(energies_j: pd.Series[Any]) -> dict[str, float]:
    """Median of the steps' energies and the bounds of nine in ten; NaN where they are too few."""
    if len(energies_j) < SPREAD_MIN:
        return dict.fromkeys(("q05", "median", "q95"), math.nan)
    low_j, middle_j, high_j = np.quantile(energies_j.to_numpy(dtype=float), [0.05, 0.5, 0.95])
    return {"q05": float(low_j), "median": float(middle_j), "q95": float(high_j)}


def _shares(labels: pd.Series[Any]) -> dict[str, float]:
    """Shares of the steps of known energy by how it was attributed, the most frequent first."""
    found = labels.dropna().value_counts(normalize=True)
    return {str(name): float(share) for name, share in found.items() if share}


def _total(values: pd.Series[Any]) -> float:
    return float(values.sum(skipna=False)) if len(values) else math.nan


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
