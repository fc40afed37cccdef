"""Meters of the whole machine that a command tells: the board controller's, and SLURM's.

The command runs beside: a read starts it, a later one takes its answer, and none ever waits for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from greenai.sensors.base import Reading, Refusal, Sensor
from greenai.sensors.host import host_id
from greenai.sensors.node import node_channel, running_w
from greenai.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from greenai.sensors.base import Channel

PERIOD_NS = 250 * NS_PER_MS
GIVE_UP_NS = 8 * NS_PER_S
IPMI_EVERY_NS = 10 * NS_PER_S
SLURM_EVERY_NS = 60 * NS_PER_S
IPMI_FILES = ("ipmi0", "ipmi/0", "ipmidev/0")
IPMI_COMMAND = ("ipmitool", "dcmi", "power", "reading")
IPMI_POWER = re.compile(r"Instantaneous power reading:\s*(\d+)\s*Watts")
IPMI_OFF = re.compile(r"Power reading state is:\s*deactivated")
SLURM_UNKNOWN = (0, 2**32 - 2, 2**64 - 2)
"""What SLURM writes for an energy that nobody gathered: nothing, or one of its "no value" marks."""


class AskingSensor:
    """One meter that a command tells.

    Args:
        name: Name of the interface.
        channel: What its answer means.
        command: Program and arguments.
        understood: Makes the value of what the command printed; raises ValueError.
        every_ns: Ask no more often than this.
    """

    period_ns = PERIOD_NS

    def __init__(
        self,
        name: str,
        channel: Channel,
        command: Sequence[str],
        understood: Callable[[str], float],
        every_ns: int,
    ) -> None:
        self.name = name
        self.channels: tuple[Channel, ...] = (channel,)
        self._command = list(command)
        self._understood = understood
        self._every_ns = every_ns
        self._child: subprocess.Popen[str] | None = None
        self._asked_ns = 0
        self._due_ns = 0

    def read(self) -> list[Reading]:
        """Ask where it is time; give the answer where one has come since the last call."""
        now_ns = monotonic_ns()
        child = self._child
        if child is None:
            return self._ask(now_ns) if now_ns >= self._due_ns else []
        if child.poll() is None:
            if now_ns < self._asked_ns + GIVE_UP_NS:
                return []
            self.close()
            reason = f"{self._command[0]} gave no answer within {GIVE_UP_NS / NS_PER_S:g} s"
            return [Reading(0, self._asked_ns, now_ns, math.nan, reason)]
        self._child = None
        said, complaint = child.communicate()
        try:
            if child.returncode:
                last = complaint.strip().splitlines()[-1:] or [f"exit {child.returncode}"]
                raise ValueError(f"{self._command[0]}: {last[0]}")  # noqa: TRY301 - one way for all that is wrong
            value, reason = self._understood(said), ""
        except ValueError as error:
            value, reason = math.nan, str(error)
        return [Reading(0, self._asked_ns, monotonic_ns(), value, reason)]

    def close(self) -> None:
        """End a command that still runs; a second call does nothing."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def _ask(self, now_ns: int) -> list[Reading]:
        import subprocess  # noqa: PLC0415 - 10 ms that other sensors need not pay

        self._asked_ns = now_ns
        self._due_ns = now_ns + self._every_ns
        try:
            self._child = subprocess.Popen(
                self._command,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            reason = f"{self._command[0]} cannot be started: {error.strerror or error}"
            return [Reading(0, now_ns, monotonic_ns(), math.nan, reason)]
        return []


def open_ipmi(dev: str = "/dev", proc: str = "/proc") -> tuple[list[Sensor], list[Refusal]]:
    """Open the power reading of the machine's board controller (DCMI), by ipmitool.

    Args:
        dev: Root of the device files.
        proc: Root of the proc file system, for the host's identity.
    """
    device = next((Path(dev, one) for one in IPMI_FILES if Path(dev, one).exists()), None)
    if device is None:
        return [], [Refusal("ipmi", "This machine shows no board controller (IPMI).")]
    if shutil.which(IPMI_COMMAND[0]) is None:
        reason = "The board controller is asked by ipmitool, which is not installed."
        return [], [Refusal("ipmi", reason, "sudo apt install ipmitool")]
    if not os.access(device, os.R_OK | os.W_OK):
        reason = f"The board controller may not be asked by this user: {device}."
        return [], [Refusal("ipmi", reason, f'sudo setfacl -m "u:$USER:rw" {device}')]
    key = f"{host_id(proc)}/node-ipmi"
    channel = node_channel("ipmi_dcmi", "node-ipmi", key, "power_w", IPMI_EVERY_NS)
    return [AskingSensor("ipmi", channel, IPMI_COMMAND, ipmi_w, IPMI_EVERY_NS)], []


def open_slurm(environment: Mapping[str, str] = os.environ) -> tuple[list[Sensor], list[Refusal]]:
    """Open the energy that SLURM's accounting holds of this job, on all its nodes together.

    Args:
        environment: Variables of the training process.
    """
    job = environment.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return [], [Refusal("slurm", "This process is no job of SLURM: SLURM_JOB_ID is not set.")]
    if shutil.which("sacct") is None:
        reason = "SLURM's accounting is asked by sacct, which is not on PATH."
        return [], [Refusal("slurm", reason, "add SLURM's bin folder to PATH")]
    command = ("sacct", "-X", "-j", job, "-o", "ConsumedEnergyRaw", "-n", "-P")
    method, key = "slurm_consumed_energy", f"slurm/{job}"
    channel = node_channel(method, "node-slurm", key, "energy_j", SLURM_EVERY_NS)
    return [AskingSensor("slurm", channel, command, slurm_j, SLURM_EVERY_NS)], []


def ipmi_w(said: str) -> float:
    """Watts in the answer of ``ipmitool dcmi power reading``.

    Raises:
        ValueError: There are none in it.

    Example:
        >>> ipmi_w("    Instantaneous power reading:                   312 Watts")
        312.0
    """
    found = IPMI_POWER.search(said)
    if found is None:
        raise ValueError(f"ipmitool gave no power: {' '.join(said.split())[:80]!r}")
    if IPMI_OFF.search(said):
        raise ValueError("the board controller's power reading is deactivated")
    return running_w(float(found.group(1)))


def slurm_j(said: str) -> float:
    r"""Joules in the answer of ``sacct -o ConsumedEnergyRaw``.

    Raises:
        ValueError: SLURM has gathered none, which it writes as nothing, 0 or a mark.

    Example:
        >>> slurm_j("123456\n")
        123456.0
    """
    lines = said.split()
    with contextlib.suppress(ValueError, IndexError):
        energy_j = int(lines[0])
        if energy_j not in SLURM_UNKNOWN:
            return float(energy_j)
    raise ValueError("SLURM has gathered no energy of this job, or not yet")
