"""How much a tracker slows a training: loops of 1-ms, 10-ms and 100-ms steps, with and without.

A step is a fixed amount of work, half bytecode and half a product of matrices, never a sleep. Every
tracker has a training process of its own, which lives from the first round to the last, so that no
tracker's modules, threads or signal handlers stand beside another's. In it blocks with the tracker
and blocks without take turns, one right after the other: two processes differ in the layout of
their memory by more than what is looked for, one process does not differ from itself. A block
begins once nothing of the block before runs any more. The process of the row "no tracker" compares
blocks without with blocks without: its interval is what this machine cannot tell from nothing.

The first second of a block are timed apart ("beginning": what its steps took longer than those of
the block without), because a tracker loads then what it needs, beside the training. The pace of a
long training is that of the three lengths, which follow in an order that is shuffled anew.

Beside the slow-down stands what can be told where load drowns it: the median step, the CPU time of
the training thread, and how long the call took that a tracker is given at the end of a step (in the
loop, where the caches are the training's: more than in a loop of nothing but calls).

Only one process works at a time. A round gives each peer a pair of blocks, greenai and the noise
two, shuffled likewise; which block of a pair comes first alternates. Rounds are done as long as
time is left. The driver is a simulated one that all trackers load: two GPUs whose every reading
takes 40 µs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.fake_nvml import COUNTS, FakeNvml
from slowdown import blocks
from slowdown.ratios import Found, Pair, ends, notes, slow_downs
from slowdown.trackers import NOBODY, TRACKERS, missing

LENGTHS_MS = (1, 10, 100)
BOARDS: dict[str, object] = {
    "gpus": 2,
    "wave": "sine",
    "low_w": 100,
    "high_w": 700,
    "latency_us": 40,
}
TWICE = (NOBODY, "greenai")
BEGINNING_STEPS = 1000
"""Of the shortest length."""
AFRESH = 2
"""Processes whose first start is timed, beside the one that does the rounds."""
KINDS = ("whole", "middle", "thread")


class Worker:
    """A training process with one tracker, and what it has told."""

    def __init__(self, name: str, environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.turns = 0
        self.lengths: dict[str, dict[int, list[Pair]]] = {
            kind: {step_ms: [] for step_ms in LENGTHS_MS} for kind in KINDS
        }
        self.call_us: dict[int, list[float]] = {step_ms: [] for step_ms in LENGTHS_MS}
        self.import_ms: list[float] = []
        self.first_ms: list[float] = []
        self.start_ms: list[float] = []
        self.lost_ms: list[float] = []
        self.stop_ms: list[float] = []
        self.note = ""
        self._log = folder / f"{name}.log"
        self._calls = folder / f"{name}.calls"
        self._folder = folder / name
        self._folder.mkdir()
        self._environment = {**environment, "FAKE_NVML_CALLS_FILE": str(self._calls)}
        self._begin()

    def _begin(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, blocks.__file__, self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder,
                env=self._environment,
            )
        if told := self._told():
            self.import_ms.append(told["import_ms"])

    def start_afresh(self) -> None:
        """Meter some steps in a new process, which is then the one that is given turns."""
        self._ask([(step_ms, 1, 2) for step_ms in LENGTHS_MS], beginning=1, with_first=True)
        if not self.note:
            self.end()
            self._begin()

    def pair(self, sections: list[tuple[int, int, int]]) -> None:
        """One block with and one without; a tracker that fails is left out from then on."""
        with_first = self.turns % 2 == 0
        self.turns += 1
        told = self._ask(sections, beginning=BEGINNING_STEPS, with_first=with_first)
        if told is None:
            return
        ours, theirs = told["with"], told["without"]
        for kind, pairs in self.lengths.items():
            for step_ms, each in pairs.items():
                both = (blk["times_s"][str(step_ms)][kind] for blk in (ours, theirs))
                each.append(Pair(*both, with_first=with_first))
        for step_ms, calls_us in self.call_us.items():
            calls_us.append(ours["times_s"][str(step_ms)]["call"] * 1e6)
        self.lost_ms.append((ours["beginning_s"] - theirs["beginning_s"]) * 1e3)
        self.start_ms.append(ours["start_ms"])
        self.stop_ms.append(ours["stop_ms"])
        self.note = ours["left"] or self.note

    def _ask(
        self, sections: list[tuple[int, int, int]], *, beginning: int, with_first: bool
    ) -> dict[str, Any] | None:
        if self._process.poll() is not None or self._process.stdin is None:
            return None
        asked = {"with_first": with_first, "sections": sections, "beginning": beginning}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        told = self._told()
        if told is not None and len(self.first_ms) < len(self.import_ms):
            self.first_ms.append(told["with"]["start_ms"])
        return told

    def found(self) -> Found:
        """All that it has told, and whether it looked at the GPUs at all."""
        if self.name != NOBODY and not self.note and not self._driver_calls():
            self.note = "never called the GPUs' driver, so what that costs is not in its figures"
        return Found(
            **self.lengths,
            **{
                name: getattr(self, name)
                for name in ("call_us", "import_ms", "first_ms", "start_ms", "lost_ms", "stop_ms")
            },
            note=self.note,
        )

    def end(self) -> None:
        """Let the process end, and see to it."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            self.note = "its process did not end by itself"

    def _driver_calls(self) -> int:
        return COUNTS.unpack(self._calls.read_bytes())[0] if self._calls.exists() else 0

    def _told(self) -> dict[str, Any] | None:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if line:
            told: dict[str, Any] = json.loads(line)
            return told
        self._process.wait(10)
        said = self._log.read_text(errors="replace").strip().splitlines()
        self.note = f"failed: {said[-1] if said else 'without a word'}"
        return None


def main() -> None:
    """Print both tables, the noise and who is missing; a target that is missed is printed so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=170.0, help="time for all rounds")
    parser.add_argument("--section", type=float, default=0.4, help="seconds of a block and length")
    parser.add_argument("--only", default="", help="trackers, separated by commas; all without it")
    asked = parser.parse_args()
    not_installed = missing()
    chosen = [name for name in asked.only.split(",") if name] or list(TRACKERS)
    names = [name for name in TRACKERS if name not in not_installed and name in {NOBODY, *chosen}]
    folder = Path(tempfile.mkdtemp(prefix="greenai-bench-"))
    try:
        all_found = measured(names, folder, asked.seconds, asked.section)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # derived files may still come
    load = " · ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}; slow-down of a training by its tracker")
    for line in slow_downs(all_found, NOBODY):
        print(line)
    print("\nwhat the training process waits for, medians of all rounds")
    for line in [*ends(all_found), *notes(all_found, not_installed)]:
        print(line)


def measured(names: list[str], folder: Path, seconds: float, section_s: float) -> dict[str, Found]:
    """Rounds for a while; but the first none is begun that would not end in time."""
    end_s, chance = time.monotonic() + seconds, random.Random(7)  # noqa: S311 - an order, no secret
    environment = {**_environment(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    unit_ms = blocks.unit_s() * 1e3
    sections = [
        (ms, max(1, round(ms / unit_ms)), max(2, round(1e3 * section_s / ms))) for ms in LENGTHS_MS
    ]
    workers = [Worker(name, environment, folder) for name in names]
    for worker in workers:
        for _ in range(AFRESH):
            worker.start_afresh()
    turns = [each for each in workers for _ in range(1 + (each.name in TWICE))]
    longest_s, rounds = 0.0, 0
    while rounds < 1 or time.monotonic() + longest_s < end_s:
        begin_s = time.monotonic()
        chance.shuffle(turns)
        for worker in turns:
            chance.shuffle(sections)
            worker.pair(sections)
        longest_s, rounds = max(longest_s, time.monotonic() - begin_s), rounds + 1
    for worker in workers:
        worker.end()
    return {worker.name: worker.found() for worker in workers}


def _environment(folder: Path) -> dict[str, str]:
    """Variables of a process that sees the simulated GPUs; without a compiler there are none."""
    if FakeNvml.compiler() is None:
        print("no C compiler to build the simulated driver with: nobody sees a GPU")
        return dict(os.environ)
    command = folder / "nvidia-smi"  # CodeCarbon looks for a GPU only where this answers
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    seeing = FakeNvml.compiled(folder).environment(**BOARDS)
    return {**seeing, "PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}


if __name__ == "__main__":
    main()
