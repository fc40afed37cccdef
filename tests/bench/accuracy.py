"""How right the joules are: simulated GPUs of known energy, metered by the real sampler.

Every figure is over at least 20 random phases of the counter's refresh (100 ms, each up to 1 ms
late). Steps are cut at exact times, so that what is judged is the metering and the attribution.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.fake_nvml import FakeNvml
from simulation.metered import Job, judged, metered

from greenai.analysis.attribution import LABELS

WAVES: dict[str, dict[str, object]] = {
    "constant": {"low_w": 500},
    "square 30 ms": {"low_w": 100, "high_w": 700, "wave_ms": 30},
    "square 1.3 s": {"low_w": 100, "high_w": 700, "wave_ms": 1300},
    "sine 1 s": {"wave": "sine", "low_w": 100, "high_w": 700, "wave_ms": 1000},
    "square 1 s": {"low_w": 100, "high_w": 700, "wave_ms": 1000},
    "square 100 ms": {"low_w": 100, "high_w": 700, "wave_ms": 100},
}
WHOLE = ["constant", "square 30 ms", "square 1.3 s", "sine 1 s"]
BLIND = {"no_counter": "all", "instant_ms": 25}
SEEING = {"no_counter": "all", "instant_ms": 100}
AT_ONCE = 8
"""Jobs that run at a time: on two cores more of them would hold one another up."""


class Row(NamedTuple):
    """One line of the table: what was judged, what it should be and what it is."""

    what: str
    target: float
    found: float
    beside: str

    @property
    def verdict(self) -> str:
        return "met" if self.found <= self.target else "MISSED"


def main() -> None:
    """Print the table; a target that is missed is printed with the figure that was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a run")
    parser.add_argument("--phases", type=int, default=20, help="phases of the refresh")
    asked = parser.parse_args()
    if FakeNvml.compiler() is None:
        print("skipped: no C compiler to build the simulated driver with")
        return
    folder = Path(tempfile.mkdtemp(prefix="greenai-bench-"))
    try:
        rows = list(_rows(folder, asked.seconds, asked.phases))
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # derived files may still come
    print(f"{'':<44}{'target':>9}{'found':>10}")
    for row in rows:
        target = f"{row.target:.2%}" if np.isfinite(row.target) else ""
        verdict = row.verdict if np.isfinite(row.target) else ""
        print(f"{row.what:<44}{target:>9}{row.found:>10.3%}  {verdict:<7} {row.beside}")


def _rows(folder: Path, seconds: float, phases: int) -> list[Row]:
    rows: list[Row] = []
    jobs: dict[str, list[Job]] = {}
    for name in [*WHOLE, "square 1 s"]:
        jobs[name] = _jobs(folder, WAVES[name], seconds, phases)
        if name in WHOLE:
            rows += _whole(f"run, {name}, 1 GPU", jobs[name], 0.0005, 0.002)
    for name in WHOLE:
        eight = _jobs(folder, {**WAVES[name], "gpus": 8}, seconds, max(3, phases // 5))
        rows += _whole(f"run, {name}, 8 GPUs", eight, 0.0005, 0.002)
    for name in WHOLE:
        seeing = _jobs(folder, {**WAVES[name], **SEEING}, seconds, phases)
        rows += _whole(f"run, {name}, power alone", seeing, 0.01, None)
        blind = _jobs(folder, {**WAVES[name], **BLIND}, seconds, max(4, phases // 5))
        inside = all(judged(job, 0.5).whole_inside for job in blind)
        error = float(np.median([judged(job, 0.5).whole_error for job in blind]))
        said = f"blind for 75 % of the time; true energy inside the interval: {inside}"
        rows.append(Row(f"run, {name}, power of 25 ms", np.inf if inside else 0.01, error, said))
    for step_s, target in ((0.5, 0.005), (0.05, 0.01), (0.005, 0.02)):
        rows.append(_steps("constant", jobs["constant"], step_s, target))
    for step_s, target in ((0.5, 0.01), (0.05, 0.06)):
        rows.append(_steps("sine 1 s", jobs["sine 1 s"], step_s, target, grid_s=0.5))
    rows.append(_steps("700/100 W by turns", jobs["square 1 s"], 0.5, 0.05))
    blurred = _jobs(folder, WAVES["square 100 ms"], seconds, max(4, phases // 5))
    rows.append(_steps("700/100 W by turns", blurred, 0.05, np.inf))
    rows.append(_outside("such steps outside of their interval", blurred, (0.05,)))
    everything = [job for some in jobs.values() for job in some]
    rows.append(_outside("steps outside of their interval", everything, (0.5, 0.05, 0.005)))
    return rows


def _jobs(folder: Path, wave: dict[str, object], seconds: float, phases: int) -> list[Job]:
    """Meter one waveform at many phases of the refresh, some at a time."""
    draw = random.Random(str(wave))  # noqa: S311 - phases of a simulation
    library = folder / "nvml"
    if not library.exists():
        library.mkdir()
        FakeNvml.compiled(library)
    done: list[Job] = []
    while len(done) < phases:
        batch: list[tuple[FakeNvml, Path, dict[str, object]]] = []
        for _ in range(min(AT_ONCE, phases - len(done))):
            run = folder / f"run-{len(list(folder.iterdir()))}-{len(batch)}"
            knobs = {
                **wave,
                "phase_ms": draw.uniform(0, 100),
                "stagger_ms": draw.uniform(0, 100),
                "jitter_ms": 1,
                "seed": draw.randrange(1 << 30),
            }
            batch.append((FakeNvml(library), run, knobs))
        done += metered(batch, seconds)
    print(".", end="", file=sys.stderr, flush=True)
    return done


def _whole(what: str, jobs: list[Job], median: float, p95: float | None) -> list[Row]:
    done = [judged(job, 0.5) for job in jobs]
    errors = [one.whole_error for one in done]
    inside = sum(one.whole_inside for one in done)
    said = f"n={len(jobs)}, true energy inside the interval: {inside} of {len(jobs)}"
    rows = [Row(f"{what}: median", median, float(np.median(errors)), said)]
    if p95 is not None:
        rows.append(Row(f"{what}: p95", p95, float(np.quantile(errors, 0.95)), ""))
    if inside < len(jobs):
        rows.append(Row(f"{what}: outside of the interval", 0.0, 1 - inside / len(jobs), ""))
    return rows


def _steps(
    name: str, jobs: list[Job], step_s: float, target: float, grid_s: float | None = None
) -> Row:
    done = [judged(job, step_s, grid_s) for job in jobs]
    error = float(np.median(np.concatenate([one.error for one in done])))
    width = float(np.median(np.concatenate([one.half_width for one in done])))
    naive = np.median(np.concatenate([abs(one.naive_j / one.true_j - 1) for one in done]))
    labels, counts = np.unique(
        np.concatenate([np.array(LABELS)[one.done.label_codes] for one in done]), return_counts=True
    )
    said = (
        f"interval ±{width:.1%}, {labels[counts.argmax()]}; counter read at both ends {naive:.0%}"
    )
    return Row(f"step of {step_s * 1e3:.0f} ms, {name}: median", target, error, said)


def _outside(what: str, jobs: list[Job], lengths_s: tuple[float, ...]) -> Row:
    outside = steps = 0
    sums = []
    for job in jobs:
        for step_s in lengths_s:
            one = judged(job, step_s)
            outside += int((~one.inside).sum())
            steps += len(one.inside)
            channel = one.done.channels[0]
            gap_j = abs(one.done.phase_j(channel).sum() - channel.covered_j)
            sums.append(gap_j / channel.covered_j)
    said = f"of {steps:,} steps; sums close to {max(sums):.0e}"
    return Row(what, 0.005, outside / steps, said)


if __name__ == "__main__":
    main()
