"""The sampler process: reads sensors first, then imports and serves what is made of them."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai import sensors
from greenai.errors import GreenAIError
from greenai.live import neighbours
from greenai.live.process import BOOTSTRAP
from greenai.live.sampler import Sampler
from greenai.live.shared import STOP_ASKED, Region
from greenai.sensors import codecarbon_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.serving import Serving

SWITCH_S = 0.0002
"""A sensor thread waits no longer than this for the interpreter while something is served."""
DERIVE_S = 120.0
"""Derived files are given up after this long."""


def main(descriptor: int) -> None:
    """Enter from the bootstrap: as sampler with shared memory, or (-1) to make derived files."""
    if descriptor < 0:
        derive(Path(sys.argv[3]))
        return
    sys.setswitchinterval(SWITCH_S)
    gc.disable()  # collected after a flush, never inside a tick
    region = Region(descriptor)
    config = region.config()
    sampler = Sampler(
        region,
        sensors.openers(config["sensors"], config["devices"], pid=config["parent_pid"]),
        config["manifest"],
        parent_descriptor=_descriptor_of(config["parent_pid"]),
        parent_pid=config["parent_pid"],
    )
    sampler.start()
    if config["manifest"]["local_rank"] == 0:
        neighbours.watch(config["run"]["run_id"], sampler.say)
    beside = _start_check(sampler, config)
    ended, figures = _keep_record(sampler, region, config)
    if beside is not None:
        codecarbon_check.stop(beside)
    region_asked = int(region.header[STOP_ASKED])
    derived = _make_derived_files(config)
    if figures is not None:
        figures.finish()
    if derived is not None and ended == "stopped" and region_asked > 1:
        with contextlib.suppress(subprocess.TimeoutExpired):
            derived.wait(DERIVE_S)


def _start_check(sampler: Sampler, config: dict[str, Any]) -> subprocess.Popen[bytes] | None:
    """Let CodeCarbon's own tracker run beside, where the user asked for it; once a host."""
    wanted = config["run"]["settings"]["codecarbon_check"]["value"]
    if not wanted or config["manifest"]["local_rank"] != 0:
        return None
    try:
        return codecarbon_check.start(config["attempt_folder"])
    except OSError as error:
        sampler.say("codecarbon_check_failed", f"CodeCarbon does not run beside: {error}")
    return None


def derive(run_folder: Path) -> None:
    """Write the files that are computed from the record; load never trusts them."""
    from greenai.api import write_derived  # noqa: PLC0415 - loads pandas, in a process of its own

    write_derived(run_folder)


def _keep_record(
    sampler: Sampler, region: Region, config: dict[str, Any]
) -> tuple[str, Serving | None]:
    """Import what the record and the live figures need, while the sensors are being read."""
    from greenai.record.writer import RecordWriter  # noqa: PLC0415 - sampling comes first
    from greenai.serving import Serving  # noqa: PLC0415 - sampling comes first

    folder = Path(config["attempt_folder"])
    if (folder / "manifest.json").exists():
        sampler.say("sampler_restarted", "the sampler process died and was started once more")
    writer = RecordWriter(folder)
    figures: Serving | None = None
    try:
        figures = Serving(region, config)
    except GreenAIError as error:
        sampler.say("figures_failed", error.what)
    return sampler.run(writer, figures), figures


def _descriptor_of(pid: int) -> int | None:
    """Descriptor that becomes readable when the training is gone, however it went.

    Not a pipe's end or a lock, which a DataLoader's workers inherit and keep, and not
    PDEATHSIG, which follows the thread that started us.
    """
    opener: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    with contextlib.suppress(OSError):
        return opener(pid)
    return None


def _make_derived_files(config: dict[str, Any]) -> subprocess.Popen[bytes] | None:
    """Let a child of its own make them: pandas is never loaded in the sampler."""
    if config["manifest"]["rank"] != 0:
        return None
    path = json.dumps(sys.path)
    return subprocess.Popen(
        [sys.executable, "-I", str(BOOTSTRAP), "-1", path, config["run_folder"]],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
