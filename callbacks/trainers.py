"""What a loop, such as a Lightning trainer, tells a tracker, and which run goes on."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from typing import TYPE_CHECKING, Any

import torch

from greenai.callbacks.gpu_clock import clock_in_use
from greenai.callbacks.loop import Loop, Meeting
from greenai.live.launch import lightning_launch
from greenai.live.tracker import Tracker
from greenai.metrics import PLANNED_STEPS

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
    return start_tracker(
        loop_of(trainer),
        settings,
        config=config,
        earlier=earlier,
        restored_run_id=restored_run_id,
    )


def start_tracker(
    loop: Loop,
    settings: Settings,
    *,
    config: Mapping[str, Any],
    earlier: Tracker | None,
    restored_run_id: str | None,
) -> Tracker:
    """Start a tracker for one stage of a loop; arguments and errors as of ``started_tracker``."""
    device = loop.device
    if settings.devices is None and device is not None:
        origins = {**settings.origins, "devices": "trainer"}
        settings = dataclasses.replace(settings, devices=devices_of(device), origins=origins)
    find_hook = None
    if device is None or device.type == "cuda":
        find_hook = functools.partial(clock_in_use, device)
    tracker = Tracker(
        settings,
        config=config,
        framework=loop.framework,
        rank=loop.rank,
        world_size=loop.world_size,
        local_rank=loop.local_rank,
        resume_run_id=restored_run_id if earlier is None else earlier.run_id,
        evidence=None if earlier is None else LATER_STAGE,
        find_hook=find_hook,
    )
    if earlier is not None:
        tracker.run_folder, tracker.launch = earlier.run_folder, earlier.launch
    elif (loop.world_size or 1) > 1 and loop.meeting is not None and not tracker.launch.shared:
        tracker.launch = lightning_launch(
            tracker.launch, loop.meeting.address, loop.meeting.port, loop.meeting.nodes
        )
        tracker.run_folder = settings.run_folder(date=tracker.launch.date)
        tracker.run_id = restored_run_id or tracker.launch.new_run_id(tracker.run_folder)
    return tracker.start()


def loop_of(trainer: Any) -> Loop:
    """Say what a Lightning trainer is; its strategy's environment is set up."""
    return Loop(
        framework=framework_of(trainer),
        device=trainer.strategy.root_device,
        rank=trainer.global_rank,
        local_rank=trainer.local_rank,
        world_size=trainer.world_size,
        meeting=meeting_of(trainer.strategy),
    )


def meeting_of(strategy: Any) -> Meeting | None:
    """Say where the ranks of a strategy of Lightning's meet; None where it is of one process."""
    environment = getattr(strategy, "cluster_environment", None)
    if environment is None:
        return None
    nodes = getattr(strategy, "num_nodes", 1)
    return Meeting(environment.main_address, environment.main_port, nodes)


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


def planned_steps(trainer: Any, pl_module: Any) -> float | None:
    """Optimizer steps that a fit will take, by what the trainer knows when training starts.

    Nothing is loaded for it: the trainer has counted its batches before, and its own
    ``estimated_stepping_batches``, which may build data loaders, is not asked.

    Args:
        trainer: Whose training has just started.
        pl_module: What it trains.

    Returns:
        Steps from the first of the run, early stopping aside; None where nobody knows: endless
        data or epochs without ``max_steps``, or optimization by hand.
    """
    if not pl_module.automatic_optimization:
        return None
    bounds = [trainer.max_steps] if trainer.max_steps >= 0 else []
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if epochs is not None and epochs >= 0 and math.isfinite(batches):
        bounds.append(math.ceil(batches / trainer.accumulate_grad_batches) * epochs)
    return float(min(bounds)) if bounds else None


def tell_planned_steps(tracker: Tracker, trainer: Any, pl_module: Any) -> None:
    """Leave a mark that says how many steps are planned, where that is known."""
    if (steps := planned_steps(trainer, pl_module)) is not None:
        tracker.value(PLANNED_STEPS, steps, 0)


def framework_of(trainer: Any) -> str:
    """Name and version of the Lightning that a trainer belongs to; empty for another class."""
    for one in type(trainer).__mro__:  # a user's own Trainer is derived from one of these
        name = one.__module__.partition(".")[0]
        if name in {"pytorch_lightning", "lightning"}:
            return f"{name} {getattr(sys.modules.get(name), '__version__', '')}".rstrip()
    return ""
