"""Which channels are summed: no device that the run does not use, and no energy twice."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from greenai.record.types import NOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.record.types import Attempt, Marks
    from greenai.sensors.base import Channel

DEVICE_NOTE = "device:"
"""How the name of a note begins that tells a device which the training uses."""

_ENERGIES = frozenset({"energy_j", "power_w"})


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """What is summed of an attempt, and what is recorded beside it. Positions in its channels.

    Attributes:
        summed: Channels whose energy is the run's.
        unused: GPUs that are visible, but not among those that the training told.
        contained: CPU and DRAM whose energy a GPU's module-wide counter holds already.
        unmetered: UUIDs that the training told and no channel is of.
    """

    summed: tuple[int, ...]
    unused: tuple[int, ...] = ()
    contained: tuple[int, ...] = ()
    unmetered: tuple[str, ...] = ()


def counted(attempt: Attempt) -> Counted:
    """Decide which channels of an attempt are summed.

    Primary channels that carry energy are, but for two kinds. A GPU that is only assumed to be
    used, because nobody named devices, is left out where the training has told which GPUs it
    computes on and this is none of them. And CPU and memory are left out beside a GPU whose counter
    covers the whole module, which contains them: no superchip's host has other CPUs.

    Args:
        attempt: One attempt of one rank.

    Returns:
        Positions in ``attempt.channels``. Where the training told only devices that are not
        metered (a slice of a shared GPU has a UUID of its own), every visible GPU stays in:
        leaving all of them out would be a smaller number without a reason.
    """
    return counted_channels(attempt.channels, used_devices(attempt.marks))


def counted_channels(channels: Sequence[Channel], used: frozenset[str]) -> Counted:
    """Decide as ``counted`` does, from the channels and the UUIDs that were told so far.

    Example:
        >>> from greenai.sensors.base import Channel
        >>> a, b = (
        ...     Channel("energy_j", "gpu", f"gpu{n}", f"GPU-{n}", "nvml_energy", "measured", True,
        ...             refresh_ns=10**8, assumed_used=True)
        ...     for n in range(2)
        ... )
        >>> counted_channels([a, b], frozenset()).summed  # nobody told: both are assumed
        (0, 1)
        >>> counted_channels([a, b], frozenset({"GPU-1"})).summed
        (1,)
    """
    primary = [
        position
        for position, channel in enumerate(channels)
        if channel.primary and channel.quantity in _ENERGIES
    ]
    metered = {channels[one].device_key for one in primary if channels[one].kind == "gpu"}
    unused: set[int] = set()
    if used & metered:
        unused = {
            one
            for one in primary
            if channels[one].kind == "gpu"
            and channels[one].assumed_used
            and channels[one].device_key not in used
        }
    by_module = any(
        channels[one].kind == "gpu" and channels[one].scope == "module" and one not in unused
        for one in primary
    )
    contained = {one for one in primary if by_module and channels[one].kind in {"cpu", "dram"}}
    left_out = unused | contained
    return Counted(
        summed=tuple(one for one in primary if one not in left_out),
        unused=tuple(sorted(unused)),
        contained=tuple(sorted(contained)),
        unmetered=tuple(sorted(used - metered)),
    )


def used_devices(marks: Marks) -> frozenset[str]:
    """UUIDs of the GPUs that the training told it uses; empty where it told nothing."""
    told = {
        position: name.removeprefix(DEVICE_NOTE)
        for position, name in enumerate(marks.names)
        if name.startswith(DEVICE_NOTE)
    }
    if not told:
        return frozenset()
    left = set(marks.name[marks.kind == NOTE].tolist())
    return frozenset(uuid for position, uuid in told.items() if position in left)
