"""Laws of the whole instrument: real sampler, simulated GPUs, true energy known in closed form."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from simulation.fake_nvml import FakeNvml
from simulation.metered import LEAD_S, judged, metered

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 5.0

pytestmark = pytest.mark.slow


def one(library: Path, run: Path, **knobs: object) -> tuple[FakeNvml, Path, dict[str, object]]:
    return FakeNvml(library), run, {"jitter_ms": 1, "phase_ms": 37, **knobs}


def test_steps_and_run_are_right_and_their_intervals_hold_the_truth(
    compiled_nvml: Path, tmp_path: Path
) -> None:
    jobs = metered(
        [
            one(compiled_nvml, tmp_path / "constant", low_w=500, gpus=2, stagger_ms=31),
            one(compiled_nvml, tmp_path / "turns", low_w=100, high_w=700, wave_ms=1000),
        ],
        SECONDS,
    )
    for job in jobs:
        for step_s in (0.5, 0.05, 0.005):
            found = judged(job, step_s)
            assert np.isfinite(found.done.step_j).all()
            assert found.inside.mean() >= 0.995
            assert found.whole_error < 0.01
            assert found.whole_inside
            if step_s == 0.5:
                assert np.median(found.error) < 0.03
                naive = np.abs(found.naive_j / found.true_j - 1)
                assert np.median(found.error) <= max(np.median(naive), 0.01)
            for channel in found.done.channels:
                phases_j = found.done.phase_j(channel).sum()
                assert phases_j == pytest.approx(channel.covered_j, rel=1e-9)


def test_without_a_counter_power_is_integrated_and_a_blind_sensor_says_how_blind_it_is(
    compiled_nvml: Path, tmp_path: Path
) -> None:
    wave = {"low_w": 100, "high_w": 700, "wave_ms": 1300, "no_counter": "all"}
    seeing, blind = metered(
        [
            one(compiled_nvml, tmp_path / "seeing", **wave, instant_ms=100),
            one(compiled_nvml, tmp_path / "blind", **wave, instant_ms=25),
        ],
        SECONDS,
    )
    assert judged(seeing, 0.5).whole_error < 0.05
    for job in (seeing, blind):
        found = judged(job, 0.5)
        assert found.whole_inside
        low_j, high_j = (sum(getattr(one, name) for one in found.done.channels)
                         for name in ("low_j", "high_j"))  # fmt: skip
        # Three quarters of the time are in no reading, so the interval is of that order.
        assert (high_j - low_j) / found.true_j.sum() > 0.5


def test_the_driver_is_asked_by_the_sampler_alone_and_not_too_often(
    compiled_nvml: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, time, greenai\n"
        "with greenai.track(sys.argv[1], sensors=['nvml']) as tracker:\n"
        f"    end = time.monotonic() + {LEAD_S + SECONDS}\n"
        "    while time.monotonic() < end:\n"
        "        time.sleep(0.01)\n"
        "        tracker.step(tokens=1)\n"
        "    print('libnvidia-ml' in open('/proc/self/maps').read())\n"
    )
    nvml = FakeNvml(compiled_nvml)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        capture_output=True,
        check=True,
        env=nvml.environment(low_w=300, gpus=4, stagger_ms=23),
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "False"
    calls, reads = nvml.calls()
    assert reads > 4 * 10 * SECONDS
    assert calls < 4 * 120 * (LEAD_S + SECONDS + 2)
