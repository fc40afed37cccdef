"""What a Lightning trainer tells a tracker: rank, device, framework, and which run goes on."""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import TYPE_CHECKING, Any

import torch

from greenai.callbacks.gpu_clock import clock_in_use
from greenai.live.launch import lightning_launch
from greenai.live.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.settings import Settings


LATER_STAGE = "a later stage in the same process"


def started_tracker(
    trainer: Any,
    settings: Settings,
    *,
    config: Mapping[str, Any],
    earlier: Tracker | None,
    restored_run_id: str | None,
) -> Tracker:
    """Start a tracker for one stage of a trainer.

    Args:
        trainer: Its strategy's environment is set up.
        settings: Checked; devices that are not named become the trainer's own.
        config: Facts of the run to keep.
        earlier: Of an earlier stage in this process, whose run and launch go on.
        restored_run_id: Of a checkpoint, whose run goes on.

    Returns:
        The tracker, started.

    Raises:
        RecordError: The run folder cannot be used.
    """
    if settings.devices is None:
        origins = {**settings.origins, "devices": "trainer"}
        devices = devices_of(trainer.strategy.root_device)
        settings = dataclasses.replace(settings, devices=devices, origins=origins)
    if settings.data_parallel_rank is None and trainer.world_size > 1:
        settings = dataclasses.replace(settings, data_parallel_rank=_batch_of(trainer.strategy))
    device = trainer.strategy.root_device
    tracker = Tracker(
        settings,
        config=config,
        framework=framework_of(trainer),
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        local_rank=trainer.local_rank,
        resume_run_id=restored_run_id if earlier is None else earlier.run_id,
        evidence=None if earlier is None else LATER_STAGE,
        find_hook=functools.partial(clock_in_use, device) if device.type == "cuda" else None,
    )
    if earlier is not None:
        tracker.run_folder, tracker.launch = earlier.run_folder, earlier.launch
    elif trainer.world_size > 1 and not tracker.launch.shared:
        meeting = trainer.strategy.cluster_environment
        tracker.launch = lightning_launch(
            tracker.launch, meeting.main_address, meeting.main_port, trainer.num_nodes
        )
        tracker.run_folder = settings.run_folder(date=tracker.launch.date)
        tracker.run_id = restored_run_id or tracker.launch.new_run_id(tracker.run_folder)
    return tracker.start()


def devices_of(root_device: torch.device) -> tuple[str, ...] | None:
    """UUIDs of the GPUs that a process trains on, as NVML writes them.

    Args:
        root_device: The device of the trainer's strategy.

    Returns:
        One UUID; none on another device: the GPUs of the machine are then recorded, not summed.
        None where this torch does not tell (before 2.4): every visible GPU counts.

    Example:
        >>> devices_of(torch.device("cpu"))
        ()
    """
    if root_device.type != "cuda" or not torch.cuda.is_available():
        return ()
    uuid = getattr(torch.cuda.get_device_properties(root_device), "uuid", None)
    return None if uuid is None else (f"GPU-{uuid}",)


def _batch_of(strategy: Any) -> int | None:
    """Which of the batches of a step this rank has, as the strategy tells its samplers."""
    try:
        told = strategy.distributed_sampler_kwargs
    except (AssertionError, AttributeError, KeyError, RuntimeError):  # no mesh, no such thing
        return None
    rank = told.get("rank") if isinstance(told, dict) else None
    return rank if isinstance(rank, int) else None


def framework_of(trainer: Any) -> str:
    """Name and version of the Lightning that a trainer belongs to; empty for another class."""
    for one in type(trainer).__mro__:  # a user's own Trainer is derived from one of these
        name = one.__module__.partition(".")[0]
        if name in {"pytorch_lightning", "lightning"}:
            return f"{name} {getattr(sys.modules.get(name), '__version__', '')}".rstrip()
    return ""
