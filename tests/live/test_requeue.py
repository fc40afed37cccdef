"""Laws of SLURM's ranks and requeues, with its variables and real trackers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import greenai

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from greenai.live.tracker import Tracker


def task(
    folder: str, patch: pytest.MonkeyPatch, rank: int, steps: range, restarts: int = 0
) -> Tracker:
    """One process of an ``srun`` of two tasks on two nodes, as SLURM starts it."""
    for name, value in {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(rank),
        "SLURM_NODEID": str(rank),
        "SLURM_LOCALID": "0",
        "SLURM_RESTART_COUNT": str(restarts),
        "SLURM_ARRAY_JOB_ID": "70",
        "SLURM_ARRAY_TASK_ID": "7",
    }.items():
        patch.setenv(name, value)
    tracker = greenai.track(folder, sensors=["assumed:host=50"]).start()
    tracker.train_start()
    time.sleep(0.3)  # the sensor opens
    for index in steps:
        time.sleep(0.1)
        tracker.step(tokens=10, index=index)
    return tracker


def test_a_requeued_job_goes_on_in_its_run_and_its_array_task_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a job of two nodes that is requeued, all four processes are one run, of one date."""
    template = str(tmp_path / "{date}")
    for restarts, steps in enumerate((range(6), range(4, 8))):
        for rank in range(2):
            task(template, monkeypatch, rank, steps, restarts).stop(wait=True)
    (folder,) = tmp_path.iterdir()
    assert folder.name == "slurm-77"
    run = greenai.load(folder)
    summary, steps_ = run.summary(), run.steps()
    assert (summary["attempts"], summary["ranks"], summary["ranks_expected"]) == (2, 2, 2)
    assert steps_["step"].tolist() == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7]
    assert steps_[steps_["rolled_back"]]["step"].tolist() == [4, 5]
    assert set(steps_["tokens"]) == {20.0}
    assert summary["wasted_j"] > 0
    manifests = [attempt.manifest for attempt in run.record.attempts]
    assert {one["array_task"] for one in manifests} == {"70_7"}
    assert {(one["rank"], one["node_rank"]) for one in manifests} == {(0, 0), (1, 1)}
