"""A diagnosis as lines of text: each device with what was measured of it, each refusal's remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenai.doctor import Diagnosis, Row

SAID = {
    "works": "works",
    "refused": "refused",
    "absent": "not on this machine",
    "unneeded": "not needed",
}
FACTS = {
    "temperature_c": ("temperature", "°C", 1.0),
    "power_limit_w": ("limit", "W", 1.0),
    "utilization_ratio": ("busy", "%", 100.0),
    "memory_used_bytes": ("memory", "GiB", 1 / 2**30),
    "clock_hz": ("clock", "MHz", 1e-6),
}
MARGIN = 33


def lines(found: Diagnosis) -> list[str]:
    """Put a diagnosis into lines of text.

    Example:
        >>> from greenai.doctor import Diagnosis, Row
        >>> row = Row("rapl", "refused", "RAPL counter is not readable.", "sudo chmod a+r FILE")
        >>> print(chr(10).join(lines(Diagnosis([row], ["GPU energy."]))))
        rapl        refused              RAPL counter is not readable.
                                         hint: sudo chmod a+r FILE
        Nothing here is measured: joules of a run would be modelled or assumed.
        A run's totals would lack:
          GPU energy.
    """
    text: list[str] = []
    for row in found.rows:
        first, *others = [*_of_row(row)]
        text.append(f"{row.sensor:<12}{SAID[row.state]:<{MARGIN - 12}}{first}")
        text += [f"{'':<{MARGIN}}{other}" for other in others]
    if not found.measured:
        text.append("Nothing here is measured: joules of a run would be modelled or assumed.")
    elif not found.summed:
        text.append(
            "Only what stands beside the sum is measured: joules of a run would be modelled or "
            "assumed."
        )
    if found.missing:
        text.append("A run's totals would lack:")
        text += [f"  {missing}" for missing in found.missing]
    if math.isfinite(found.cost.mark_us):
        text.append(
            f"A mark costs the training {found.cost.mark_us:.2f} µs here, a step with tokens, "
            f"samples and loss {found.cost.step_us:.2f} µs (medians)."
        )
    return text


def _of_row(row: Row) -> Iterator[str]:
    if row.channel is None:
        yield row.reason
    elif row.state != "works":
        yield f"{row.channel.device}: {row.reason}"
    else:
        yield from _of_device(row)
    if row.hint:
        yield f"hint: {row.hint}"


def _of_device(row: Row) -> Iterator[str]:
    channel = row.channel
    assert channel is not None  # noqa: S101 - for the type checker: asked before
    kinds = [channel.trust, channel.method, channel.scope, "beside the sum" if row.beside else ""]
    model = f" {channel.model}" if channel.model else ""
    yield f"{channel.device}{model}: {_power(row)} ({', '.join(filter(None, kinds))})"
    yield from filter(None, [_timing(row), _check(row), _facts(row)])
    if row.vitals.failed_reads:
        total = row.vitals.reads + row.vitals.failed_reads
        yield f"{row.vitals.failed_reads} of {total} reads failed: {row.reason}"


def _power(row: Row) -> str:
    found = row.vitals
    if math.isnan(found.power_w):
        return "readable, too short to tell its power" if found.reads else "too soon for a value"
    said = [f"{found.power_w:.1f} W{' at rest' if row.at_rest else ''}"]
    if math.isfinite(found.noise_w):
        dating = found.noise_dating_w
        by_itself = f", {dating:.1f} W of it by dating" if math.isfinite(dating) else ""
        said.append(f"noise {found.noise_w:.1f} W{by_itself}")
    return ", ".join(said)


def _timing(row: Row) -> str:
    """When the value changes and how long a read takes."""
    found, said = row.vitals, []
    if math.isfinite(found.refresh_ms) and found.refresh_resolved:
        said.append(
            f"changes every {found.refresh_ms:.1f} ms ({found.refresh_p5_ms:.1f} to "
            f"{found.refresh_p95_ms:.1f}, each dated to ±{found.refresh_dating_ms:.1f} ms, "
            f"n = {found.refresh_changes})"
        )
    elif math.isfinite(found.refresh_ms):
        said.append(f"changes at every read, every {found.refresh_ms:.1f} ms or faster")
    elif found.reads > 1 and row.channel and row.channel.trust == "measured":
        said.append(f"{found.refresh_changes} new values in {found.reads} reads, too few to tell")
    if math.isfinite(found.latency_p50_us):
        p95 = found.latency_p95_us
        tail = f" (p95 {p95:.0f} µs)" if math.isfinite(p95) else ""
        said.append(f"a read takes {found.latency_p50_us:.0f} µs{tail}")
    return "; ".join(said)


def _check(row: Row) -> str:
    check = row.check
    if check is None:
        return ""
    if math.isnan(check.percent):
        return "counter against the integral of power: too short to tell"
    said = (
        f"counter against the integral of power: {check.percent:+.1f} ± "
        f"{check.uncertainty_percent:.1f} %"
    )
    meaning = {
        "agree": "they agree",
        "differ": "THEY DIFFER by more than 5 %: one of the two is wrong",
        "too short to tell": "too short to tell",
    }
    return f"{said}: {meaning[check.verdict]}"


def _facts(row: Row) -> str:
    return ", ".join(
        f"{name} {row.informing[quantity] * factor:.0f} {unit}"
        for quantity, (name, unit, factor) in FACTS.items()
        if quantity in row.informing
    )
