"""GPU time and parts of steps end to end: a real tracker, sampler and record, a simulated GPU."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from simulation.gpu_queue import MS, GpuQueue

import greenai
import greenai.api
import greenai.callbacks.gpu_clock
from greenai.analysis.counted import used_devices
from greenai.callbacks import EnergyMonitor
from greenai.callbacks.gpu_clock import GpuClock
from greenai.exporters.tables import export
from greenai.live.tracker import Tracker
from greenai.settings import resolve

if TYPE_CHECKING:
    from pathlib import Path


class LiveQueue(GpuQueue):
    """The simulated queue on the clock of this machine."""

    @property
    def now_ns(self) -> int:
        return time.monotonic_ns()

    @now_ns.setter
    def now_ns(self, _: int) -> None:
        """Time goes by itself."""

    def wait(self) -> None:
        while self.main.busy_until_ns > time.monotonic_ns():
            time.sleep(0.001)


def test_a_loop_that_runs_ahead_of_its_gpu_is_recorded_by_the_gpus_time(tmp_path: Path) -> None:
    queue = LiveQueue(launch_ns=0, devices=(("aa-bb", 1 << 20), ("cc-dd", 0)))
    settings = resolve(folder=tmp_path / "run", sensors=[])
    with Tracker(settings, find_hook=lambda: GpuClock(0, queue)) as tracker:
        for _ in range(40):
            queue.work(60 * MS)
            time.sleep(0.005)
            tracker.step(tokens=8)
        queue.wait()
    run = greenai.load(tmp_path / "run")
    steps = run.steps()
    assert len(steps) == 40
    told = steps["boundary"] == "cuda_event"
    assert told.sum() >= 10  # all of them where this machine is quiet
    part = run.parts[0].energies.timeline.steps
    passes_ns = np.array(queue.passes_ns)
    late_ns = np.array([passes_ns[np.argmin(np.abs(passes_ns - end))] for end in part.end_ns])
    assert (np.abs(late_ns - part.end_ns)[part.on_gpu] <= part.boundary_slack_ns[part.on_gpu]).all()
    # The host's own pace is 5 ms; the GPU's is seen.
    assert steps.loc[told, "duration_s"].median() == pytest.approx(0.06, rel=0.1)
    assert used_devices(run.record.attempts[0].marks) == {"GPU-aa-bb"}
    assert told.all() or any("ends of steps" in one for one in run.notices)
    assert "synchronize" not in queue.calls


def test_a_loop_without_a_gpu_has_host_boundaries_and_no_word_of_it(tmp_path: Path) -> None:
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        tracker.step(tokens=1)
        tracker.stop(wait=True)
    run = greenai.load(tmp_path / "run")
    assert list(run.steps()["boundary"]) == ["host"]
    assert not any("GPU" in one for one in run.notices)


def test_a_plain_loop_finds_the_gpu_that_torch_has_initialised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert greenai.api._gpu_clock() is None  # torch is loaded here, but has no GPU
    cuda = SimpleNamespace(is_initialized=lambda: True, current_device=lambda: 3)
    fake = SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.8"))
    monkeypatch.setattr(greenai.callbacks.gpu_clock, "torch", fake)
    monkeypatch.setattr(greenai.callbacks.gpu_clock, "GpuClock", lambda device: ("clock", device))
    monkeypatch.setitem(sys.modules, "torch", fake)
    assert greenai.api._gpu_clock() == ("clock", 3)
    monkeypatch.delitem(sys.modules, "torch")
    assert greenai.api._gpu_clock() is None


@pytest.fixture
def no_synchronisation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the training would wait for its GPU")

    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    monkeypatch.setattr(torch.cuda.Event, "synchronize", refuse)
    monkeypatch.setattr(torch.cuda.Stream, "synchronize", refuse)


@pytest.mark.usefixtures("no_synchronisation")
def test_parts_of_steps_are_marked_where_they_are_asked_for(bench: Any, tmp_path: Path) -> None:
    monitor = EnergyMonitor(
        tmp_path / "run", sensors=["codecarbon"], sub_phases=True, print_summary=False
    )
    bench.fit(monitor, accumulate_grad_batches=2, batches=6)
    run = greenai.load(tmp_path / "run")
    parts = run.subphases().set_index("subphase")
    assert parts["count"].to_dict() == {"forward": 6, "backward": 6, "optimizer": 3}
    assert (parts["boundary"] == "host").all()
    own_s = run.phases().set_index("phase")["duration_s"]["train_step"]
    assert 0 < parts["duration_s"].sum() <= own_s
    export(run, tmp_path / "tables", ["csv"])
    assert (tmp_path / "tables" / "subphases.csv").read_text().count("\n") == 4


@pytest.mark.usefixtures("no_synchronisation")
def test_without_being_asked_no_part_is_marked(bench: Any, tmp_path: Path) -> None:
    bench.fit(EnergyMonitor(tmp_path / "run", sensors=[], print_summary=False))
    run = greenai.load(tmp_path / "run")
    assert len(run.subphases()) == 0
    export(run, tmp_path / "tables", ["csv"])
    assert not (tmp_path / "tables" / "subphases.csv").exists()


def test_a_part_is_marked_by_the_tracker_of_this_process(tmp_path: Path) -> None:
    with greenai.phase("forward"):
        pass  # nobody meters: nothing happens
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        for _ in range(3):
            with greenai.phase("forward"):
                time.sleep(0.002)
            with greenai.phase("optimizer"), greenai.phase("unheard of"):
                pass
            tracker.step(tokens=1)
        with greenai.phase("validation"):
            pass
        tracker.stop(wait=True)
    with greenai.phase("forward"):
        pass
    run = greenai.load(tmp_path / "run")
    parts = run.subphases().set_index("subphase")
    assert parts["count"].to_dict() == {"forward": 3, "optimizer": 3}
    assert parts.loc["forward", "duration_s"] >= 0.006
    assert parts["energy_j"].isna().all()  # no sensor: unknown, not zero
    assert run.phases().set_index("phase")["count"]["validation"] == 1
