"""Sensors: what opens one hardware interface, declares its channels and reads them in one call."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from greenai.errors import SensorError
from greenai.sensors.base import Channel, Opener, Reading, Refusal, Sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NAMES",
    "Channel",
    "Discovery",
    "Opener",
    "Reading",
    "Refusal",
    "Sensor",
    "check_names",
    "discover",
    "openers",
]

NAMES = ("nvml", "rapl", "codecarbon")
"""Interfaces that are tried where none are named."""
SHARE = "share"
"""The job's share of the host's CPU time: comes with what meters CPUs, where the job is known."""
REPLAY = "replay:"
"""Prefix of a recorded run that is played again; the rest is the run folder."""


@dataclasses.dataclass(frozen=True, slots=True)
class Discovery:
    """What was found on this machine.

    Attributes:
        sensors: Open; close them.
        refusals: What is not used, and why.
    """

    sensors: list[Sensor]
    refusals: list[Refusal]

    def close(self) -> None:
        """Close all sensors."""
        for sensor in self.sensors:
            sensor.close()


def check_names(names: Sequence[str]) -> None:
    """Check names of sensors at the desk, before anything is started.

    Raises:
        SensorError: A name is unknown.

    Example:
        >>> check_names(["nvml", "replay:runs/dense"])
    """
    for name in names:
        if name in (*NAMES, SHARE) or (name.startswith(REPLAY) and name != REPLAY):
            continue
        raise SensorError(
            f"Unknown sensor {name!r}.",
            "What it should measure would be missing from the run.",
            f"use {', '.join(NAMES)} or {REPLAY}RUN_FOLDER",
        )


def openers(
    wanted: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    *,
    pid: int | None = None,
    proc: str = "/proc",
    sys_root: str = "/sys",
) -> dict[str, Opener]:
    """One opener for each interface, none of them called yet.

    Each may block for seconds, so the sampler calls each in a thread of its own; none raises.

    Args:
        wanted: Names of sensors; None tries all that measure. An empty list wants none.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        pid: The training process, whose share of the CPUs is then recorded too.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.

    Returns:
        Openers by interface; a second replay is ``replay-2``.

    Raises:
        SensorError: A name is unknown.

    Example:
        >>> sorted(openers(["rapl", "replay:runs/a", "replay:runs/b"]))
        ['rapl', 'replay', 'replay-2']
    """
    names = list(dict.fromkeys(NAMES if wanted is None else wanted))
    check_names(names)
    if pid is not None and SHARE not in names and {"rapl", "codecarbon"} & set(names):
        names.append(SHARE)

    def open_nvml() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import nvml  # noqa: PLC0415 - only what is wanted is loaded

        return nvml.open_nvml(devices)

    def open_rapl() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import rapl  # noqa: PLC0415 - only what is wanted is loaded

        return rapl.open_rapl(sys_root, proc)

    def open_codecarbon() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import codecarbon  # noqa: PLC0415 - only what is wanted is loaded

        return codecarbon.open_codecarbon(sys_root, proc, counters_wanted="rapl" in names)

    def open_share() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import share  # noqa: PLC0415 - only what is wanted is loaded

        return share.open_share(os.getpid() if pid is None else pid, proc, sys_root)

    known = {
        "nvml": open_nvml,
        "rapl": open_rapl,
        "codecarbon": open_codecarbon,
        SHARE: open_share,
    }
    chosen: dict[str, Opener] = {name: known[name] for name in names if name in known}
    replays = [name.removeprefix(REPLAY) for name in names if name.startswith(REPLAY)]
    for number, folder in enumerate(replays, start=1):
        chosen["replay" if number == 1 else f"replay-{number}"] = _opener_of_replay(folder)
    return chosen


def discover(
    wanted: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    *,
    proc: str = "/proc",
    sys_root: str = "/sys",
) -> Discovery:
    """Open all sensors of this machine, one after the other; may take seconds.

    Args:
        wanted: Names of sensors; None tries all that measure.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.

    Returns:
        What is open, and what is refused with its reason.

    Raises:
        SensorError: A name is unknown.

    Example:
        >>> found = discover(["rapl"], sys_root="/nonexistent")
        >>> found.sensors, found.refusals[0].sensor
        ([], 'rapl')
    """
    found = Discovery([], [])
    for opener in openers(wanted, devices, proc=proc, sys_root=sys_root).values():
        sensors, refusals = opener()
        found.sensors.extend(sensors)
        found.refusals.extend(refusals)
    return found


def _opener_of_replay(folder: str) -> Opener:
    def open_replay() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import replay  # noqa: PLC0415 - loads numpy and pyarrow

        return replay.open_replay(folder)

    return open_replay
