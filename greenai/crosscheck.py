"""What CodeCarbon's own tracker found beside ours, over the same time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.analysis.series import covered_energy
from greenai.errors import RecordError
from greenai.record.documents import read_json
from greenai.sensors.codecarbon_check import FILE
from greenai.units import J_PER_KWH, NS_PER_S

if TYPE_CHECKING:
    from greenai.merging import Part

THEIRS = ("energy_kwh", "cpu_kwh", "gpu_kwh", "ram_kwh")
TIME_MAX_NS = 2**62
NUMBER_MAX = 2**63


def codecarbon_check(parts: tuple[Part, ...]) -> dict[str, float] | None:
    """Compare, where the run was told to let CodeCarbon's tracker run beside it.

    Args:
        parts: Attempts of ranks with their energies.

    Returns:
        ``energy_kwh``, ``cpu_kwh``, ``gpu_kwh`` and ``ram_kwh`` as CodeCarbon has them;
        ``greenai_kwh``, ours over the same ``duration_s``; ``ratio``, theirs to ours (NaN where
        we know nothing). None where no check was run.
    """
    total = dict.fromkeys((*THEIRS, "greenai_kwh", "duration_s"), 0.0)
    found = False
    for part in parts:
        theirs = _read(part)
        if theirs is None:
            continue
        found = True
        span_ns = np.array([theirs["start_ns"], theirs["end_ns"]], dtype=np.int64)
        ours_j = [np.diff(covered_energy(one.series, span_ns))[0] for one in part.energies.channels]
        total["greenai_kwh"] += float(sum(ours_j)) / J_PER_KWH
        total["duration_s"] += float(span_ns[1] - span_ns[0]) / NS_PER_S
        for name in THEIRS:
            total[name] += theirs[name]
    if not found:
        return None
    ours_kwh = total["greenai_kwh"]
    return {**total, "ratio": total["energy_kwh"] / ours_kwh if ours_kwh > 0 else math.nan}


def _read(part: Part) -> dict[str, Any] | None:
    """Numbers of the attempt's file; None where there is none that can be used."""
    try:
        plain = read_json(part.attempt.folder / FILE)
    except RecordError:
        return None
    if not all(_is_number(plain.get(name)) for name in (*THEIRS, "start_ns", "end_ns")):
        return None
    times: list[Any] = [plain["start_ns"], plain["end_ns"]]
    whole = all(type(time_ns) is int and time_ns < TIME_MAX_NS for time_ns in times)
    return plain if whole and times[0] <= times[1] else None


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and 0 <= value < NUMBER_MAX
