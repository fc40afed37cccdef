"""What a run lacks, in sentences: devices, sensors and ranks that are not in its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from greenai.analysis.agreement import agreements
from greenai.analysis.counted import counted, used_devices
from greenai.analysis.suspended import suspensions_ns
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.analysis.counted import Counted
    from greenai.merging import Part
    from greenai.record.types import Attempt, Record

RANKS_MAX = 1_000_000
RANKS_NAMED = 10


def length_ns(part: Part) -> float:
    """Time from the first to the last edge of a part, in nanoseconds; 0 without marks."""
    edges_ns = part.energies.timeline.edges_ns
    return float(edges_ns[-1] - edges_ns[0]) if len(edges_ns) > 1 else 0.0


def devices_missing(part: Part) -> list[str]:
    """UUIDs that were asked for and are not metered."""
    wanted = part.attempt.manifest.get("devices_wanted")
    wanted = [str(uuid) for uuid in wanted] if isinstance(wanted, list) else []
    found = [channel.device_key.removeprefix("GPU-") for channel in part.attempt.channels]
    return [
        uuid
        for uuid in wanted
        if not any(key.startswith(uuid.removeprefix("GPU-")) for key in found)
    ]


def about_devices(part: Part) -> list[str]:
    """Name what was asked for or could be mended, and is not metered."""
    rank = f"Rank {part.attempt.rank}: " if part.attempt.rank else ""
    said = [
        f"{rank}the device {uuid[:80]} was asked for and is not metered."
        for uuid in devices_missing(part)
    ]
    asked = part.attempt.manifest.get("sensors_wanted") or []
    refusals = [one for one in part.attempt.manifest.get("refused") or [] if isinstance(one, dict)]
    said.extend(
        f"{rank}{refusal.get('sensor')} is not metered: {refusal.get('reason')}"
        for refusal in refusals
        if refusal.get("hint") or refusal.get("sensor") in asked
    )
    return said


def whole_number(value: Any) -> int:
    """Number of ranks of a manifest from elsewhere; 1 where it is none."""
    return value if type(value) is int and 0 < value <= RANKS_MAX else 1


def seconds_of(value: Any) -> float:
    """Seconds of a manifest from elsewhere; 0 where it is no such number."""
    return float(value) if isinstance(value, int | float) and 0 <= value < math.inf else 0.0


def about_missing_ranks(ranks: set[int], expected: int) -> str:
    """Name the ranks that are not there."""
    missing = [rank for rank in range(expected) if rank not in ranks]
    more = " …" if len(missing) > RANKS_NAMED else ""
    names = ", ".join(map(str, missing[:RANKS_NAMED]))
    return f"{len(ranks)} of {expected} ranks are here; missing: {names}{more}."


def about_early_ends(parts: tuple[Part, ...]) -> list[str]:
    """Name ranks that ended before the others of their attempt."""
    last: dict[int, int] = {}
    ends = [
        (part.attempt, int(part.energies.timeline.steps.index.max()))
        for part in parts
        if len(part.energies.timeline.steps.index)
    ]
    for attempt, step in ends:
        last[attempt.attempt] = max(last.get(attempt.attempt, 0), step)
    return [
        f"Rank {attempt.rank} ended at step {step}, others at {last[attempt.attempt]}: the "
        "steps between are without it."
        for attempt, step in ends
        if step < last[attempt.attempt] - 1
    ]


def about_counted(attempt: Attempt, decided: Counted) -> list[str]:
    """Name what is recorded and not summed, and why."""
    rank = f"Rank {attempt.rank}: " if attempt.rank else ""

    def names(positions: tuple[int, ...]) -> str:
        return ", ".join(attempt.channels[one].device for one in positions)

    said = []
    if decided.unused:
        said.append(
            f"{rank}{names(decided.unused)} are recorded and not summed: torch holds no memory on "
            "them. Name devices= where the run uses them otherwise."
        )
    if decided.contained:
        said.append(
            f"{rank}{names(decided.contained)} are recorded and not summed: the GPU's counter "
            "covers its whole module, which contains them."
        )
    if decided.unmetered:
        said.append(
            f"{rank}torch uses {', '.join(uuid[:80] for uuid in decided.unmetered)}, which no "
            "sensor has under this name: its energy is known only as part of another device, if "
            "at all."
        )
    return said


def about_powers(part: Part) -> list[str]:
    """Name devices whose counter and power disagree, and steps beyond a device's greatest power."""
    said = [
        f"{one.device}: its power readings say {one.ratio:.2f} times what its energy counter says "
        f"(± {one.error:.2f}); one of them is wrong, and which one nobody can tell."
        for one in agreements(part.attempt)
        if one.differs
    ]
    if beyond := int(part.energies.beyond.sum()):
        said.append(
            f"In {beyond} steps a device drew more than 1.2 times its power limit: their intervals "
            "rest on a premise that did not hold."
        )
    assumed = sorted(
        {one.channel.device for one in part.energies.channels if one.channel.assumed_used}
    )
    if assumed and not used_devices(part.attempt.marks):
        said.append(
            f"{', '.join(assumed)}: summed because visible; nobody told which GPUs the run uses."
        )
    return said


def about_slices(part: Part) -> list[str]:
    """Say what boards are shared, and what share of them is estimated to be the run's."""
    said = []
    for one in part.energies.channels:
        channel, share = one.channel, one.channel.slice_share
        if channel.scope != "shared" or not len(one.series.t_ns):
            continue
        text = f"{channel.device} is shared: {one.covered_j:.0f} J is what the whole board used."
        if share == share:  # noqa: PLR0124 - NaN differs from itself
            text += (
                f" The run's slices are {share:.0%} of it, so that by estimate some "
                f"{share * one.covered_j:.0f} J are its own, if power is shared like slices."
            )
        said.append(text)
    return said


def about_suspensions(attempt: Attempt) -> list[str]:
    """Say for how long the machine was suspended, and what became of the energy of that time."""
    stood_ns = suspensions_ns(attempt.anchors)[:, 2]
    if not len(stood_ns):
        return []
    times = "" if len(stood_ns) == 1 else f" {len(stood_ns)} times, in all"
    seconds = stood_ns.sum() / NS_PER_S
    said = (
        f"suspended: rank {attempt.rank}'s machine slept{times} for {seconds:.0f} s. What its "
        "counters gained then is in no step; what has no counter is unknown for that time."
    )
    return [said]


def notices(record: Record, parts: tuple[Part, ...], ranks: tuple[int, int]) -> list[str]:
    """What a reader of a run must know of its record, in sentences.

    Args:
        record: The record.
        parts: Its attempts of ranks.
        ranks: How many ranks are there, and how many there should be.
    """
    said: list[str] = list(record.problems)
    present, expected = ranks
    if present < expected:
        said.append(about_missing_ranks({part.attempt.rank for part in parts}, expected))
    for part in parts:
        said.extend(part.attempt.problems)
        said.extend(part.energies.timeline.problems)
        for event in part.attempt.events:
            if event.get("reason"):
                device = f"{event['device']}: " if event.get("device") else ""
                said.append(f"{event.get('what')}: {device}{event['reason']}")
        said.extend(about_suspensions(part.attempt))
        said.extend(about_devices(part))
        said.extend(about_counted(part.attempt, counted(part.attempt)))
        said.extend(about_slices(part))
        said.extend(about_powers(part))
        if sampler := part.attempt.manifest.get("sampler"):
            said.append(f"The sensors were read in a {sampler}.")
    said.extend(about_early_ends(parts))
    return said
