"""Laws of sensors that fail under a training: it ends as without us, and the record says what is
not known.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Training = Any

pytestmark = pytest.mark.slow

CLOCK_STEP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

/* The wall clock is an hour ahead from the second second of the process on. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static long begin;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    struct timespec monotonic;
    real(CLOCK_MONOTONIC, &monotonic);
    if (!begin) begin = monotonic.tv_sec;
    if (clock == CLOCK_REALTIME && monotonic.tv_sec >= begin + 2) now->tv_sec += 3600;
    return code;
}
"""


def faults_of(**knobs: object) -> dict[str, str]:
    """Faults of the simulated driver, in seconds after its opening."""
    given = {"FAULT_CLOCK": "init", **{name.upper(): value for name, value in knobs.items()}}
    return {f"FAKE_NVML_{name}": str(value) for name, value in given.items()}


def ended(training: Any, reference: str) -> Any:
    """The training ended well, with the weights of the unmetered one; its run."""
    assert training.code() == 0, training.log
    result = training.result()
    assert (result["weights"], result["changed"], result["zombies"]) == (reference, {}, 0)
    assert result["stop_s"] < 2.0
    training.gone()
    return greenai.load(training.folder)


def known_steps_hold_the_truth(run: Any) -> int:
    steps = run.steps()
    known = steps[steps["energy_j"].notna()]
    true_j = 250.0 * known["duration_s"]
    assert (known["energy_low_j"] <= true_j + 0.5).all()
    assert (true_j <= known["energy_high_j"] + 0.5).all()
    return len(known)


def test_a_driver_that_hangs_for_10_s_in_a_call_costs_the_training_nothing(
    train: Callable[..., Training], reference: str
) -> None:
    run = ended(
        train(step_s=0.1, environment=faults_of(tail_every=60, tail_us=10_000_000)), reference
    )
    assert run.summary()["steps"] == 40
    assert run.summary()["ended"] == "stopped"
    known_steps_hold_the_truth(run)
    assert "sensor_hung" in {event["what"] for event in run.record.attempts[0].events}


def test_a_gpu_that_is_lost_and_comes_back_leaves_a_gap_with_its_reason(
    train: Callable[..., Training], reference: str
) -> None:
    faults = faults_of(fail=0, fail_from_s=1.0, fail_until_s=2.5)
    run = ended(train(step_s=0.15, environment=faults), reference)
    events = [e for e in run.record.attempts[0].events if e["what"] == "read_failed"]
    assert events
    assert "lost" in events[0]["reason"].lower() or "simulated" in events[0]["reason"]
    assert 0 < known_steps_hold_the_truth(run) < 40
    assert run.summary()["coverage"] < 1


def test_a_driver_that_refuses_to_open_leaves_energy_unknown_not_zero(
    train: Callable[..., Training], reference: str
) -> None:
    run = ended(train(environment=faults_of(init_error=999)), reference)
    assert run.summary()["energy_j"] is None
    assert run.steps()["energy_j"].isna().all()
    assert run.summary()["steps"] == 40


@pytest.mark.parametrize("factor", [0, -1, 1e6])
def test_nonsense_is_told_from_figures(
    train: Callable[..., Training], reference: str, factor: float
) -> None:
    faults = faults_of(
        glitch=0, glitch_factor=factor, glitch_every=3, glitch_from_s=0.5, glitch_until_s=1.5
    )
    run = ended(train(step_s=0.08, environment=faults), reference)
    known_steps_hold_the_truth(run)
    total_j = run.energy()
    assert np.isnan(total_j) or 0 <= total_j < 250.0 * run.summary()["duration_s"] * 1.5


def test_a_wall_clock_that_is_set_moves_no_joule(
    train: Callable[..., Training], reference: str, tmp_path: Path
) -> None:
    source, library = tmp_path / "step.c", tmp_path / "step.so"
    source.write_text(CLOCK_STEP)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    training = train(step_s=0.12, environment={"LD_PRELOAD": str(library)})
    run = ended(training, reference)
    utc = [anchor.utc_ns for anchor in run.record.attempts[0].anchors]
    monotonic = [anchor.monotonic_ns for anchor in run.record.attempts[0].anchors]
    jump_s = (utc[-1] - utc[0] - (monotonic[-1] - monotonic[0])) / 1e9
    assert jump_s == pytest.approx(3600, abs=1)
    steps = run.steps()
    assert len(steps) == 40
    assert (steps["duration_s"] > 0).all()
    assert steps["duration_s"].sum() < 60
    assert known_steps_hold_the_truth(run) >= 30
