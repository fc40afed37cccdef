"""What the training hands over to the sampler: facts of the run, and a thread as a last resort."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import greenai
from greenai import sensors
from greenai.errors import OrderError
from greenai.live.launch import git_commit
from greenai.live.sampler import Sampler
from greenai.record.claim import RESUME_ASKED
from greenai.record.parent import check_lineage, lineage_for
from greenai.sensors.host import host_id

if TYPE_CHECKING:
    from greenai.live.launch import Launch
    from greenai.live.shared import Region
    from greenai.settings import Settings

CONFIG_MAX = 200_000
DEVICE_SENSORS = ("nvml", "amd", "intel", "habana")
"""Sensors of devices that belong to one rank; the others meter the whole host."""
THREAD_PERIOD_NS = 100_000_000
"""Where no process may be started the sensors are read in a thread, at most ten times a second."""
_own_ports: set[int] = set()


def parentage(
    settings: Settings, launch: Launch, run_id: str
) -> tuple[str, list[dict[str, Any]] | None]:
    """Look up the run that this one goes on from, before anything is started.

    Args:
        settings: Name the parent, or none.
        launch: Makes another id where the one given is the parent's: a checkpoint of the parent,
            restored to be fine-tuned, is no restart of it.
        run_id: Of the run.

    Returns:
        The run's id, and the facts of its ancestors; None without a parent.

    Raises:
        OrderError: The parent does not exist, or the run would be its own ancestor.
        RecordError: The parent's folder holds no run.
    """
    if settings.parent is None:
        return run_id, None
    folder = Path(settings.folder).expanduser()
    found = lineage_for(settings.parent, folder.parent)
    if run_id == found[0]["run_id"]:
        run_id = launch.new_run_id(folder)
    check_lineage(found, run_id)
    return run_id, found


def refuse_taken_port(settings: Settings, launch: Launch) -> None:
    """Refuse, before anything is started, a port that is taken where no other will do.

    Raises:
        OrderError: It cannot be had. A restart is not refused, nor another run of this process: a
            sampler of ours may keep the port a little, for one more scrape; that is said later.
    """
    port, address = settings.metrics_port, settings.metrics_address
    if not port or not settings.metrics.strict_port or launch.local_rank:
        return
    if launch.restarts or port in _own_ports:
        return
    try:
        family, _, _, _, bound = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":  # elsewhere it would let two have one port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(bound)
    except OSError as error:
        raise OrderError(
            f"/metrics cannot be served at {address}:{port}: {error.strerror}.",
            "The run would go on without live figures; strict_port forbids another port.",
            "give a free port, 0 for any, or leave strict_port out",
        ) from None
    _own_ports.add(port)


def run_facts(
    run_id: str,
    settings: Settings,
    config: Mapping[str, Any],
    lineage: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Manifest of the run: what the user passed, and where each setting came from."""
    values = dataclasses.asdict(settings)
    origins = values.pop("origins")
    values.pop("folder")  # a path of the user's; the record lies in it anyway
    values.pop("parent")  # perhaps another one: what matters of it is the lineage
    values.pop("data_parallel_rank")  # of each rank, and in its own manifest
    values.pop("metrics")  # paths and addresses of the site's
    if values["sensors"] is not None:  # a replayed run is named by its path, which stays here
        values["sensors"] = [name.partition(":")[0] for name in values["sensors"]]
    if values["intensity_file"] is not None:
        values["intensity_file"] = Path(values["intensity_file"]).name
    return {
        **({} if lineage is None else {"lineage": lineage}),
        "run_id": run_id,
        "project": settings.project,
        "variant": settings.variant,
        "config": dict(config),
        "started_utc": datetime.now(UTC).isoformat(),
        "git_commit": _commit_here(),
        "settings": {
            name: {"value": value, "origin": origins.get(name, "default")}
            for name, value in values.items()
        },
    }


def _commit_here() -> str | None:
    """Commit of the folder that the training runs in; None where that folder is gone."""
    try:
        return git_commit(Path.cwd())
    except OSError:
        return None


def attempt_facts(
    run_id: str, launch: Launch, settings: Settings, framework: str
) -> dict[str, Any]:
    """Manifest of the attempt, as far as the training knows it; the sampler adds its part."""
    return {
        "run_id": run_id,
        "launch_id": launch.launch_id,
        "rank": launch.rank,
        "local_rank": launch.local_rank,
        "world_size": launch.world_size,
        "restarts": launch.restarts,
        "node_rank": launch.node_rank,
        "array_task": launch.array_task,
        "data_parallel_rank": settings.data_parallel_rank,
        "started_utc": datetime.now(UTC).isoformat(),
        "host": host_id(),
        "warmup_s": settings.warmup_s,
        "devices_wanted": None if settings.devices is None else list(settings.devices),
        "sensors_wanted": None
        if settings.sensors is None
        else [name.partition(":")[0] for name in settings.sensors],
        "versions": {
            "greenai": greenai.__version__,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "framework": framework,
        },
    }


def restart_evidence(launch: Launch, settings: Settings, given: str | None) -> str | None:
    """Why an existing run may be joined; None where there is no reason to."""
    if launch.restarts > 0:
        return f"restart {launch.restarts} of the launcher"
    return given or (RESUME_ASKED if settings.resume else None)


def sensor_names(wanted: tuple[str, ...] | None, local_rank: int) -> list[str] | None:
    """Sensors of a rank: local rank 0 meters the host, the others their own GPUs alone.

    Example:
        >>> sensor_names(None, 0), sensor_names(None, 3), sensor_names(("rapl",), 3)
        (None, ['nvml', 'amd', 'intel', 'habana'], [])
    """
    if local_rank == 0:
        return None if wanted is None else list(wanted)
    return [name for name in wanted or DEVICE_SENSORS if name in DEVICE_SENSORS]


def sampler_thread(region: Region, error: OSError) -> tuple[threading.Thread | None, str]:
    """Start the sampler where no process may be started, as a thread of the training.

    Returns:
        The thread, and what that means; no thread where none may be started either.
    """
    config = region.config()
    config["manifest"]["sampler"] = f"thread, because no process may be started: {error}"

    def keep_record() -> None:
        from greenai.record.writer import RecordWriter  # noqa: PLC0415 - loads pyarrow

        sampler = Sampler(
            region,
            sensors.openers(config["sensors"], config["devices"], pid=config["parent_pid"]),
            config["manifest"],
            period_min_ns=THREAD_PERIOD_NS,
        )
        sampler.start()
        sampler.run(RecordWriter(Path(config["attempt_folder"])), None)

    thread = threading.Thread(target=keep_record, name="greenai-sampler", daemon=True)
    try:
        thread.start()
    except RuntimeError as refused:
        return None, (
            f"Neither a process ({error}) nor a thread ({refused}) may be started here: this "
            "training is not metered. hint: raise the limit on processes (ulimit -u, pids.max)"
        )
    return thread, (
        f"No process may be started here ({error}): the sensors are read in a thread, at most "
        "ten times a second, and there are no live figures."
    )


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what JSON can hold; say what is not kept by putting its type's name in its place."""
    if not isinstance(config, Mapping):
        raise OrderError(f"config is {config!r:.80}.", hint="give a dictionary of facts")
    plain: dict[str, Any] = {}
    for key, value in config.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            plain[str(key)] = f"<{type(value).__name__}>"
        else:
            plain[str(key)] = value
    size = len(json.dumps(plain))
    if size > CONFIG_MAX:
        raise OrderError(
            f"config takes {size} bytes as JSON; {CONFIG_MAX} fit into a record.",
            hint="keep large facts elsewhere, and their name or hash here",
        )
    return plain
