"""Who meters a training: greenai and its peers, each used as its own documents show.

Every peer reads once a second, the default of three of them (CodeCarbon's is 15 s), so that a short
block holds readings. Imports stand inside: a process loads no tracker but its own.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Train = Callable[[Callable[[], object] | None], None]
    """Trains; calls what it is given, if anything, at the end of every step."""

NOBODY = "no tracker"


class Tracker(NamedTuple):
    """Its module, whose import is timed apart, and how it meters a training in a folder."""

    module: str
    metered: Callable[[Train, Path], None]


def nobody(train: Train, _folder: Path) -> None:
    train(None)


def greenai(train: Train, folder: Path) -> None:
    import greenai  # noqa: PLC0415

    with greenai.track(folder / "run") as tracker:
        step = tracker.step
        train(lambda: step(tokens=512, samples=4, loss=2.5))


def codecarbon(train: Train, folder: Path) -> None:
    from codecarbon import OfflineEmissionsTracker  # noqa: PLC0415

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA",
        measure_power_secs=1,
        output_dir=str(folder),
        log_level="error",
        allow_multiple_runs=True,
    )
    tracker.start()
    train(None)
    tracker.stop()


def zeus(train: Train, _folder: Path) -> None:
    """A window a step, which is what gives the energy of steps there.

    Without the wait for the GPU that it adds by default: there is none to wait for.
    """
    from zeus.monitor import ZeusMonitor  # noqa: PLC0415

    monitor = ZeusMonitor()

    def step() -> None:
        monitor.end_window("step", sync_execution=False)
        monitor.begin_window("step", sync_execution=False)

    monitor.begin_window("step", sync_execution=False)
    train(step)
    monitor.end_window("step", sync_execution=False)


def carbontracker(train: Train, folder: Path) -> None:
    from carbontracker.tracker import CarbonTracker  # noqa: PLC0415

    tracker = CarbonTracker(
        epochs=1, epochs_before_pred=0, update_interval=1, log_dir=str(folder), verbose=0
    )
    tracker.epoch_start()
    train(None)
    tracker.epoch_end()
    tracker.stop()


def perun(train: Train, folder: Path) -> None:
    from perun import perun as metered  # noqa: PLC0415

    def training() -> None:
        train(None)

    metered(data_out=str(folder), sampling_period=1)(training)()


TRACKERS = {
    NOBODY: Tracker("json", nobody),
    "greenai": Tracker("greenai", greenai),
    "CodeCarbon": Tracker("codecarbon", codecarbon),
    "Zeus": Tracker("zeus.monitor", zeus),
    "CarbonTracker": Tracker("carbontracker.tracker", carbontracker),
    "perun": Tracker("perun", perun),
}


def missing(trackers: dict[str, Tracker] = TRACKERS) -> list[str]:
    """Names of those that are not installed."""
    return [
        name
        for name, tracker in trackers.items()
        if importlib.util.find_spec(tracker.module.partition(".")[0]) is None
    ]
