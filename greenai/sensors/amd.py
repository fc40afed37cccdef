"""AMD GPUs through amdsmi: the energy accumulator with its own timestamps, or power without one.

The accumulator counts units of 2**-16 J, which the library rounds to "15.3 µJ" (kernel: gpu_metrics
of amdgpu). The timestamp is the kernel's: boot time in nanoseconds, taken where the driver read the
table (ktime_get_boottime_ns), so it is mapped to our clock and used instead of the call's two ends.
On some boards and drivers the accumulator stands still (ROCm/amdsmi issue 38), hence it is watched
for half a second against the power before it is believed. Partitions of a board share its bus
address and its accumulator, which is counted once. On modules of two dies one die shows the energy
of both and the other one nothing.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from greenai.sensors import bindings
from greenai.sensors.amd_board import (
    PERIOD_NS,
    Die,
    Watch,
    board_lines,
    dies_of,
    energy_of,
    power_of,
)
from greenai.sensors.base import Reading, Refusal, Sensor
from greenai.sensors.lines import Line, LinesSensor, Stamped
from greenai.sensors.visible import match, visible_boards
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KFD = "class/kfd/kfd"
"""What amdgpu shows below /sys where there is a GPU that can compute."""
INSTALL = 'pip install "greenai[amd]", or ROCm\'s own: pip install /opt/rocm/share/amd_smi'
WATCH_S = 0.5
WATCH_POLL_S = 0.002
APART = 4.0
"""A counter whose mean power is this many times the reported one, or this part of it, is wrong."""


def open_amd(
    sys_root: str = "/sys",
    devices: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[list[Sensor], list[Refusal]]:
    """Open the AMD GPUs that the process uses; takes half a second where there are any.

    Args:
        sys_root: Root of the sys file system.
        devices: UUIDs of the GPUs to meter, as HIP and torch give them, or beginnings that fit
            one alone; None takes those that the variables leave.
        environment: Variables of the training process: ROCR_VISIBLE_DEVICES first, of what that
            leaves HIP_VISIBLE_DEVICES, else CUDA_VISIBLE_DEVICES.

    Returns:
        One sensor for all GPUs, or none; and what is refused. Never raises.
    """
    if not Path(sys_root, KFD).exists():
        return [], [Refusal("amd", "This machine has no AMD GPU that computes.")]
    try:
        smi = bindings.load("amdsmi")
    except ImportError as error:
        reason = f"There is an AMD GPU, but amdsmi cannot be used: {error}."
        return [], [Refusal("amd", reason, INSTALL)]
    try:
        smi.amdsmi_init()
    except smi.AmdSmiException as error:
        reason = f"amdsmi does not start: {_said(error)}."
        return [], [Refusal("amd", reason, "see what amd-smi list says")]
    lines: list[Line] = []
    first: list[Reading] = []
    refusals: list[Refusal] = []
    try:
        dies = dies_of(smi)
        chosen, refusals = _chosen(dies, devices, environment)
        lines, first, unusable = _opened(smi, dies, chosen, assumed_used=devices is None)
        refusals += unusable
    except smi.AmdSmiException as error:
        refusals.append(Refusal("amd", f"amdsmi lists no GPUs: {_said(error)}."))
    shut = _shut(smi)
    if not lines:
        shut()
        return [], refusals
    return [LinesSensor("amd", lines, PERIOD_NS, shut, first)], refusals


def _shut(smi: Any) -> Callable[[], None]:
    def shut() -> None:
        try:
            smi.amdsmi_shut_down()
        except smi.AmdSmiException:
            return

    return shut


def _chosen(
    dies: Sequence[Die], devices: Sequence[str] | None, environment: Mapping[str, str]
) -> tuple[list[Die], list[Refusal]]:
    """Dies that the process uses, in its order; and what was named and is not here."""
    by_uuid = {die.uuid: die for die in dies}
    listed = ", ".join(by_uuid) or "none"
    if devices is not None:
        found = {name: match(name, list(by_uuid)) for name in devices}
        refusals = [
            Refusal("amd", f"{name!r} is not the UUID of one AMD GPU: amdsmi lists {listed}.")
            for name, uuid in found.items()
            if uuid is None
        ]
        if not devices:
            refusals = [Refusal("amd", "This process uses no GPU: its list of devices is empty.")]
        return [by_uuid[uuid] for uuid in dict.fromkeys(found.values()) if uuid], refusals
    order = list(by_uuid)
    hip = environment.get("HIP_VISIBLE_DEVICES", environment.get("CUDA_VISIBLE_DEVICES"))
    for text in (environment.get("ROCR_VISIBLE_DEVICES"), hip):
        order = [board.uuid for board in visible_boards(text, order, lambda _: None)]
    if not order:
        reason = f"No AMD GPU is left by the variables of this process: amdsmi lists {listed}."
        return [], [Refusal("amd", reason, "name a GPU in HIP_VISIBLE_DEVICES, or unset it")]
    return [by_uuid[uuid] for uuid in order], []


def _opened(
    smi: Any, dies: Sequence[Die], chosen: Sequence[Die], *, assumed_used: bool
) -> tuple[list[Line], list[Reading], list[Refusal]]:
    """Watch the boards of the chosen dies; make lines of those that tell their energy."""
    lines: list[Line] = []
    first: list[Reading] = []
    refusals = []
    boards = list(dict.fromkeys(die.board for die in chosen))
    watches = _watched(smi, [die for die in dies if die.board in boards])
    for board in boards:
        seen = [watch for watch in watches if watch.die.board == board]
        used = [die for die in chosen if die.board == board]
        lead = next((watch for watch in seen if not watch.fault), None)
        told = lead or next((watch for watch in seen if watch.power_w > 0), None)
        if told is None:
            refusals.append(_silent(used[0], seen))
            continue
        if lead is None:
            refusals.append(_integrated(told))
        shared = len(used) < len(seen)
        own = board_lines(smi, told, used[0].uuid, shared=shared, assumed_used=assumed_used)
        if lead is not None and lead.first is not None:
            t_ns = lead.first_ns
            first.append(Reading(len(lines), t_ns, t_ns, lead.first))
        lines += own
    return lines, first, refusals


def _watched(smi: Any, dies: Sequence[Die]) -> list[Watch]:
    """Read all dies for half a second: which counters run, how often, and at what power."""
    watches = [Watch(die) for die in dies]
    end_s = time.monotonic() + WATCH_S
    while True:
        for watch in watches:
            try:
                said = energy_of(smi, watch.die)
            except (smi.AmdSmiException, ValueError) as error:
                watch.fault = _said(error)
            else:
                here = isinstance(said, Stamped) and said.t_ns >= 0
                watch.take(said.t_ns if here else monotonic_ns(), said.value)
            try:
                watch.powers_w.append(power_of(smi, watch.die))
            except (smi.AmdSmiException, ValueError):
                continue
        if time.monotonic() >= end_s:
            break
        time.sleep(WATCH_POLL_S)
    return [dataclasses.replace(watch, fault=_fault(watch)) for watch in watches]


def _fault(watch: Watch) -> str:
    """Why a counter is not believed; empty where it is."""
    seconds = (watch.last_ns - watch.first_ns) / NS_PER_S
    if watch.first is None:
        return watch.fault
    if watch.last <= watch.first:
        return f"its energy counter stands still at {watch.last:.3f} J"
    counted_w = (watch.last - watch.first) / seconds if seconds > 0 else math.nan
    if watch.power_w > 0 and not watch.power_w / APART < counted_w < watch.power_w * APART:
        return f"its energy counter says {counted_w:.0f} W"
    return ""


def _integrated(watch: Watch) -> Refusal:
    reason = (
        f"{watch.die.uuid}: {watch.fault} while the GPU reports {watch.power_w:.0f} W. "
        "Its power is integrated instead, which is less sharp."
    )
    return Refusal("amd", reason, "update to ROCm 6.3 or later, or reboot the machine")


def _silent(die: Die, seen: Sequence[Watch]) -> Refusal:
    why = seen[0].fault if seen else "it does not answer"
    reason = (
        f"{die.uuid}: {why}, and it reports no power. As the second die of a module it is counted "
        "by the first one; else its energy will be missing from this run, not zero."
    )
    return Refusal("amd", reason, "meter the module's first die too: devices=, or the variables")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())
