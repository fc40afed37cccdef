"""Sensors: what opens one hardware interface, declares its channels and reads them in one call."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from greenai.errors import SensorError
from greenai.sensors.base import Channel, Opener, Reading, Refusal, Sensor
from greenai.sensors.interfaces import ASSUMED, openers_of

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

NAMES = (
    "nvml",
    "amd",
    "intel",
    "habana",
    "apple",
    "jetson",
    "rapl",
    "acpi",
    "codecarbon",
    "unmetered",
)
"""Interfaces that are tried where none are named."""
SHARE = "share"
"""The job's share of the host's CPU time: comes with what meters CPUs, where the job is known."""
ON_REQUEST = ("ipmi", "slurm")
"""Interfaces that start a command now and then: used where they are named alone."""
REPLAY = "replay:"
"""Prefix of a recorded run that is played again; the rest is the run folder."""
PDU = "pdu:"
"""Prefix of a file of a power distribution unit's readings; the rest is its path."""
WITH_ARGUMENT = (REPLAY, ASSUMED, PDU)


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
        SensorError: A name is unknown, or states no power where it should.

    Example:
        >>> check_names(["nvml", "replay:runs/dense", "assumed:tpu=200", "pdu:rack7.csv"])
    """
    for name in names:
        with_argument = any(name.startswith(one) and name != one for one in WITH_ARGUMENT)
        if name in (*NAMES, *ON_REQUEST, SHARE) or with_argument:
            continue
        raise SensorError(
            f"Unknown sensor {name!r}.",
            "What it should measure would be missing from the run.",
            f"use {', '.join(NAMES + ON_REQUEST)}, {REPLAY}RUN_FOLDER, {PDU}FILE.csv or "
            f"{ASSUMED}LABEL=WATTS",
        )
    if statements := [name for name in names if name.startswith(ASSUMED)]:
        from greenai.sensors import assumed  # noqa: PLC0415 - only what is wanted is loaded

        assumed.stated(statements)


def openers(
    wanted: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    *,
    pid: int | None = None,
    proc: str = "/proc",
    sys_root: str = "/sys",
    dev: str = "/dev",
) -> dict[str, Opener]:
    """One opener for each interface, none of them called yet.

    Each may block for seconds, so the sampler calls each in a thread of its own; none raises.

    Args:
        wanted: Names of sensors; None tries all that measure. An empty list wants none.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        pid: The training process, whose share of the CPUs is then recorded too.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.
        dev: Root of the device files.

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
    known = openers_of(names, devices, os.getpid() if pid is None else pid, proc, sys_root, dev)
    chosen: dict[str, Opener] = {name: known[name] for name in names if name in known}
    if any(name.startswith(ASSUMED) for name in names):
        chosen["assumed"] = known["assumed"]
    for prefix, opener_of in ((REPLAY, _opener_of_replay), (PDU, _opener_of_pdu)):
        interface = prefix.removesuffix(":")
        arguments = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        for number, argument in enumerate(arguments, start=1):
            place = interface if number == 1 else f"{interface}-{number}"
            chosen[place] = opener_of(argument, proc, number)
    return chosen


def discover(
    wanted: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    *,
    proc: str = "/proc",
    sys_root: str = "/sys",
    dev: str = "/dev",
) -> Discovery:
    """Open all sensors of this machine, one after the other; may take seconds.

    Args:
        wanted: Names of sensors; None tries all that measure.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.
        dev: Root of the device files.

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
    for opener in openers(wanted, devices, proc=proc, sys_root=sys_root, dev=dev).values():
        sensors, refusals = opener()
        found.sensors.extend(sensors)
        found.refusals.extend(refusals)
    return found


def _opener_of_replay(folder: str, _proc: str, _number: int) -> Opener:
    def open_replay() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import replay  # noqa: PLC0415 - loads numpy and pyarrow

        return replay.open_replay(folder)

    return open_replay


def _opener_of_pdu(path: str, proc: str, number: int) -> Opener:
    def open_pdu() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import pdu  # noqa: PLC0415 - only what is wanted is loaded

        return pdu.open_pdu(path, proc, number)

    return open_pdu
