"""Simulated GPUs metered by the real sampler, and what came out held against the truth."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from greenai.analysis.attribution import Attribution, attribute
from greenai.record.reader import open_record
from greenai.record.types import FIXED_NAMES, NOTE, STEP_END, STOP, Attempt, Marks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulation.fake_nvml import FakeNvml

METER = """
import sys, time, greenai
with greenai.track(sys.argv[1], sensors=["nvml"]):
    time.sleep(float(sys.argv[2]))
"""
LEAD_S = 1.5
"""The sampler starts, and has found the phase of the refresh, by then."""
NS_PER_S = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Job:
    """One metered process and the simulation that it saw.

    Attributes:
        nvml: Knows the true energies.
        folder: Of the run.
        gpus: How many boards it saw.
        seconds: How long it trained after the lead.
    """

    nvml: FakeNvml
    folder: Path
    gpus: int
    seconds: float

    def attempt(self) -> Attempt:
        return open_record(self.folder).attempts[0]


@dataclasses.dataclass(frozen=True)
class Judged:
    """Energies of a job's steps beside the true ones, over all its boards.

    Attributes:
        done: The attribution.
        true_j: True energy of each step. Shape (n,).
        naive_j: What the counter, read at both ends of each step, would have said. Shape (n,).
    """

    done: Attribution
    true_j: np.ndarray
    naive_j: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Relative error of each step. Shape (n,)."""
        return np.abs(self.done.step_j - self.true_j) / self.true_j

    @property
    def half_width(self) -> np.ndarray:
        """Half of each step's interval, relative to the truth. Shape (n,)."""
        low_j, high_j = self.done.step_bounds_j()
        return (high_j - low_j) / 2 / self.true_j

    @property
    def inside(self) -> np.ndarray:
        """Whether each step's interval holds the truth, but for the counters' millijoules."""
        low_j, high_j = self.done.step_bounds_j()
        quantum_j = 0.002 * len(self.done.channels)
        return (low_j - quantum_j <= self.true_j) & (self.true_j <= high_j + quantum_j)

    @property
    def whole_error(self) -> float:
        """Relative error of all steps together."""
        return float(abs(self.done.step_j.sum() - self.true_j.sum()) / self.true_j.sum())

    @property
    def whole_inside(self) -> bool:
        """Whether the interval of the whole holds the truth."""
        low_j = sum(one.low_j for one in self.done.channels)
        high_j = sum(one.high_j for one in self.done.channels)
        return bool(low_j <= self.true_j.sum() <= high_j)


def metered(jobs: list[tuple[FakeNvml, Path, dict[str, object]]], seconds: float) -> Iterator[Job]:
    """Meter several simulations at once, each by a process of its own, and wait for them.

    Args:
        jobs: The simulation, the run's folder, and the knobs of each.
        seconds: How long each is metered after the lead.
    """
    started = []
    for nvml, folder, knobs in jobs:
        command = [sys.executable, "-c", METER, str(folder), str(LEAD_S + seconds)]
        process = subprocess.Popen(
            command, env=nvml.environment(**knobs), stdout=subprocess.DEVNULL
        )
        started.append((process, Job(nvml, folder, int(str(knobs.get("gpus", 1))), seconds)))
    for process, job in started:
        assert process.wait(LEAD_S + seconds + 60) == 0
        _await_end(job.folder)
        yield job


def _await_end(folder: Path) -> None:
    """Wait until the sampler, which outlives the training a little, has closed the record."""
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s:
        for path in folder.glob("rank-0/attempt-*/live.json"):
            if json.loads(path.read_text())["closed"]:
                return
        time.sleep(0.05)
    raise TimeoutError(f"the record in {folder} was not closed")


def judged(job: Job, step_s: float, grid_s: float | None = None) -> Judged:
    """Cut a job's time into equal steps and compare each with the truth.

    Args:
        job: Metered.
        step_s: Length of the steps.
        grid_s: The first step begins at a multiple of this after the waveform's origin; None
            takes the length of a step.
    """
    attempt = job.attempt()
    origin_ns, step_ns = job.nvml.t0_ns, int(step_s * NS_PER_S)
    grid_ns = int((grid_s or step_s) * NS_PER_S)
    metering_ns = int(attempt.marks.t_ns[0]) + int(LEAD_S * NS_PER_S) - origin_ns
    first_ns = origin_ns + -(-metering_ns // grid_ns) * grid_ns
    count = int((job.seconds - (grid_s or step_s)) / step_s)
    edges_ns = first_ns + np.arange(count + 1) * step_ns
    done = attribute(dataclasses.replace(attempt, marks=steps_between(edges_ns)))
    true_j = np.zeros(count)
    naive_j = np.zeros(count)
    for gpu in range(job.gpus):
        since_s = (edges_ns - origin_ns) / NS_PER_S
        boards = job.nvml.boards
        true_j += np.diff([boards.energy_j(gpu, t_s) for t_s in since_s])
        naive_j += np.diff([boards.counted_j(gpu, t_s) for t_s in since_s])
    return Judged(done, true_j, naive_j)


def steps_between(edges_ns: np.ndarray) -> Marks:
    """Marks of a training whose steps end at the given moments, the first being its start."""
    count = len(edges_ns) - 1
    kind = np.full(count + 2, STEP_END, dtype=np.uint8)
    kind[0], kind[-1] = NOTE, STOP
    name = np.zeros(count + 2, dtype=np.uint16)
    name[0] = FIXED_NAMES.index("train_start")
    return Marks(
        np.append(edges_ns, edges_ns[-1]),
        kind,
        name,
        np.maximum(0, np.arange(count + 2) - 1),
        np.ones(count + 2),
        FIXED_NAMES,
    )
