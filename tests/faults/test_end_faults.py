"""Laws of a training that ends badly: its exit code is its own, and what was done is recorded."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable

    Training = Any

pytestmark = pytest.mark.slow

PERIOD_S = 0.25
"""A sampling period of the simulated GPU, and what a busy machine adds."""


def last_known_s(run: Any) -> float:
    """End of the last step of known energy, in seconds since the run began."""
    steps = run.steps()
    return float(steps.loc[steps["energy_j"].notna(), "end_s"].max())


@pytest.mark.parametrize(
    ("fault", "code"),
    [("exception", 1), ("system_exit", 5), ("exit", 3), ("abort", -signal.SIGABRT)],
)
def test_a_training_that_ends_itself_has_its_own_exit_code_and_its_record(
    train: Callable[..., Training], fault: str, code: int
) -> None:
    alone = train(metered=False, fault=fault)
    metered = train(fault=fault)
    assert alone.code() == code
    assert metered.code() == code
    metered.gone()
    run = greenai.load(metered.folder)
    steps = run.steps()
    assert 20 <= len(steps) <= 21
    assert run.summary()["ended"] == ("stopped" if code > 0 and fault != "exit" else "parent_died")
    known = steps[steps["energy_j"].notna()]
    true_j = 250.0 * known["duration_s"]
    assert (known["energy_low_j"] <= true_j + 0.5).all()
    assert (true_j <= known["energy_high_j"] + 0.5).all()
    if fault == "exception":
        assert "the training's own error" in metered.log


@pytest.mark.parametrize(
    ("number", "times", "code"),
    [
        (signal.SIGKILL, 1, -signal.SIGKILL),
        (signal.SIGTERM, 1, -signal.SIGTERM),
        (signal.SIGINT, 1, 130),
        (signal.SIGINT, 2, 130),
        (signal.SIGHUP, 1, -signal.SIGHUP),
    ],
)
def test_a_signal_ends_the_training_as_it_would_without_us(
    train: Callable[..., Training], number: signal.Signals, times: int, code: int
) -> None:
    training = train(steps=2000, step_s=0.02)
    training.started()
    time.sleep(1.0)
    for _ in range(times):
        os.killpg(training.pid, number)  # as a terminal does; the sampler is in no such group
    assert training.code() == code
    training.gone()
    run = greenai.load(training.folder)
    assert run.summary()["ended"] == ("stopped" if number == signal.SIGINT else "parent_died")
    assert len(run.steps()) >= 30
    assert last_known_s(run) >= run.steps()["end_s"].max() - PERIOD_S


def test_when_the_sampler_dies_with_it_a_flush_is_lost_at_most(
    train: Callable[..., Training],
) -> None:
    training = train(steps=2000, step_s=0.02)
    sampler = training.started()
    time.sleep(2.5)
    begin_s = time.monotonic()
    os.kill(training.pid, signal.SIGSTOP)  # so that both die at one moment of the training
    sampler.kill()
    os.kill(training.pid, signal.SIGKILL)
    training.code()
    assert time.monotonic() - begin_s < 5
    run = greenai.load(training.folder)
    assert run.summary()["ended"] == "unknown"
    steps = run.steps()
    assert steps["end_s"].max() >= 1.0  # of 2.5 s and the start, less a flush of 1 s
    assert last_known_s(run) >= steps["end_s"].max() - PERIOD_S


@pytest.mark.parametrize(
    "more", [{"workers": "fork"}, {"workers": "spawn"}, {"fault": "fork"}, {"fault": "thread"}]
)
def test_workers_forks_and_threads_mark_nothing(
    train: Callable[..., Training], reference: str, more: dict[str, str]
) -> None:
    training = train(**more)
    assert training.code() == 0, training.log
    assert training.result()["weights"] == reference
    assert training.result()["zombies"] == 0
    training.gone()
    summary = greenai.load(training.folder).summary()
    assert summary["steps"] == 40
    assert summary["samples"] == 40 * 8
    assert summary["ended"] == "stopped"


def test_a_training_that_never_stops_its_tracker_is_closed_at_its_exit(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(stop=False)
    assert training.code() == 0, training.log
    assert training.result()["weights"] == reference
    training.gone()
    assert greenai.load(training.folder).summary()["ended"] == "stopped"
