"""One opener for each interface by its name; what it needs is loaded when it is called."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.sensors.base import Kind, Opener, Refusal, Sensor

ASSUMED = "assumed:"
"""Prefix of watts that the user states for what has no sensor: ``assumed:tpu=200``."""


def openers_of(
    names: Sequence[str],
    devices: Sequence[str] | None,
    pid: int,
    proc: str,
    sys_root: str,
    dev: str,
) -> dict[str, Opener]:
    """Openers of all interfaces that take no argument, and of the watts that are stated.

    Args:
        names: Names of all sensors that are wanted, those with an argument too.
        devices: UUIDs of the GPUs to meter; None takes the visible ones.
        pid: The training process, whose share of the CPUs is asked for.
        proc: Root of the proc file system.
        sys_root: Root of the sys file system.
        dev: Root of the device files.

    Example:
        >>> openers_of(["acpi"], None, 1, "/proc", "/nonexistent", "/dev")["acpi"]()[1][0].reason
        'This machine has no ACPI power meter.'
    """
    statements = [name for name in names if name.startswith(ASSUMED)]
    labels = [name.removeprefix(ASSUMED).partition("=")[0] for name in statements]

    def open_codecarbon() -> tuple[list[Sensor], list[Refusal]]:
        from greenai.sensors import codecarbon  # noqa: PLC0415 - only what is wanted is loaded

        wanted = "rapl" in names
        covered = _covered(names, sys_root)
        return codecarbon.open_codecarbon(sys_root, proc, counters_wanted=wanted, covered=covered)

    return {
        "nvml": _late("nvml", "open_nvml", devices),
        "amd": _late("amd", "open_amd", sys_root, devices),
        "intel": _late("intel", "open_intel", f"{sys_root}/class/drm", proc, devices),
        "habana": _late("habana", "open_habana", sys_root, devices),
        "apple": _late("apple", "open_apple", proc),
        "jetson": _late("jetson", "open_jetson", sys_root, proc),
        "rapl": _late("rapl", "open_rapl", sys_root, proc),
        "acpi": _late("node", "open_acpi", f"{sys_root}/class/hwmon", proc),
        "codecarbon": open_codecarbon,
        "unmetered": _late("unmetered", "open_unmetered", dev, sys_root, labels),
        "ipmi": _late("asked", "open_ipmi", dev, proc),
        "slurm": _late("asked", "open_slurm"),
        "share": _late("share", "open_share", pid, proc, sys_root),
        "assumed": _late("assumed", "open_assumed", statements, proc),
    }


def _late(module: str, function: str, *arguments: Any) -> Opener:
    """Opener that loads its module when it is called."""

    def opener() -> tuple[list[Sensor], list[Refusal]]:
        loaded = importlib.import_module(f"greenai.sensors.{module}")
        opened: tuple[list[Sensor], list[Refusal]] = getattr(loaded, function)(*arguments)
        return opened

    return opener


def _covered(names: Sequence[str], sys_root: str) -> frozenset[Kind]:
    """Kinds that a sensor of a whole chip or module contains: no model is used beside it."""
    from greenai.sensors import apple, jetson  # noqa: PLC0415 - only where a model is thought of

    chip = "apple" in names and apple.is_here()
    module = "jetson" in names and jetson.is_here(sys_root)
    return frozenset({"cpu", "dram"}) if chip or module else frozenset()
