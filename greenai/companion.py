"""The sampler process: reads sensors first, then imports and serves what is made of them."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai import sensors
from greenai.errors import GreenAIError
from greenai.live.process import BOOTSTRAP
from greenai.live.sampler import Sampler
from greenai.live.shared import STOP_ASKED, WATCH_PORT, Region
from greenai.sensors import codecarbon_check

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from greenai.serving import Serving

SWITCH_S = 0.0002
"""A sensor thread waits no longer than this for the interpreter while something is served."""
WATCH = "watch"
"""Tells a new interpreter that it is to serve the page."""
NICE = 10
"""A page yields to the training where both want a core."""
DERIVE_S = 120.0
"""Derived files are given up after this long."""


def main(descriptor: int) -> None:
    """Enter from the bootstrap: as sampler or page with shared memory; with -1 to derive files."""
    if descriptor < 0:
        derive(Path(sys.argv[3]))
        return
    if sys.argv[3:] == [WATCH]:
        _serve_page(Region(descriptor))
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
    announced = _announce(sampler, config)
    beside = _start_check(sampler, config)
    _start_page(sampler, region, config)
    ended, figures = _keep_record(sampler, region, config)
    if announced is not None:
        announced.close()
    if beside is not None:
        codecarbon_check.stop(beside)
    region_asked = int(region.header[STOP_ASKED])
    derived = _make_derived_files(config)
    if figures is not None:
        figures.finish()
    if derived is not None and ended == "stopped" and region_asked > 1:
        with contextlib.suppress(subprocess.TimeoutExpired):
            derived.wait(DERIVE_S)


def _announce(sampler: Sampler, config: dict[str, Any]) -> socket.socket | None:
    """Let other runs on this host know, and say where there are some; once a host."""
    if config["manifest"]["local_rank"] != 0:
        return None
    from greenai.live import neighbours  # noqa: PLC0415 - sampling comes first

    return neighbours.watch(config["run"]["run_id"], sampler.say)


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


def _start_page(sampler: Sampler, region: Region, config: dict[str, Any]) -> None:
    """Let a process of its own show the run, where the user asked for it; once a run."""
    if not config["run"]["settings"]["watch"]["value"] or config["manifest"]["rank"] != 0:
        return
    try:
        subprocess.Popen(
            [sys.executable, "-I", str(BOOTSTRAP), str(region.descriptor), json.dumps(sys.path),
             WATCH],
            stdin=subprocess.DEVNULL,
            pass_fds=(region.descriptor,),
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        sampler.say("watch_failed", f"no process may be started for the page: {error}")


def _serve_page(region: Region) -> None:
    """Be that process: serve until the sampler has ended."""
    os.nice(NICE)
    parent = os.getppid()
    gone = _descriptor_of(parent)
    from greenai.commands.watch import serve_beside  # noqa: PLC0415 - loads numpy

    def sampler_ended(seconds: float) -> bool:
        if gone is not None:
            return bool(select.select([gone], [], [], seconds)[0])
        time.sleep(seconds)
        return os.getppid() != parent

    def listening(port: int) -> None:
        region.header[WATCH_PORT] = port

    serve_beside(Path(region.config()["run_folder"]), sampler_ended, listening)


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
