"""Laws of a sampler that is killed, stopped or shut out: the training ends as without it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Training = Any

pytestmark = pytest.mark.slow


def untouched(training: Any, reference: str) -> dict[str, Any]:
    """The training ended well, with the weights of the unmetered one, and nothing of it changed."""
    assert training.code() == 0, training.log
    result = training.result()
    assert result["weights"] == reference
    assert result["changed"] == {}
    assert result["zombies"] == 0
    return dict(result)


def true_energy(run: Any, watts: float = 250.0) -> None:
    """Where a step's energy is known it is that of the device; sums close."""
    steps = run.steps()
    known = steps[steps["energy_j"].notna()]
    assert len(known), "no step is known"
    true_j = watts * known["duration_s"]
    assert (known["energy_low_j"] <= true_j + 0.5).all()
    assert (true_j <= known["energy_high_j"] + 0.5).all()
    assert known["energy_j"].sum() == pytest.approx(true_j.sum(), rel=0.3)  # edges of a short run
    phases = run.phases()
    assert np.nansum(phases["energy_j"]) == pytest.approx(run.energy(), rel=1e-9)


def said(run: Any) -> set[str]:
    return {event["what"] for attempt in run.record.attempts for event in attempt.events}


def test_without_a_fault_nothing_is_changed_and_all_is_known(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(arguments={"metrics_port": 0})
    result = untouched(training, reference)
    training.gone()
    run = greenai.load(training.folder)
    true_energy(run)
    assert run.summary()["steps"] == 40
    assert run.summary()["ended"] == "stopped"
    assert result["start_s"] < 1.0
    assert result["stop_s"] < 1.0
    assert {path.name for path in (training.place).iterdir()} == {
        "cwd", "home", "cache", "log", "result.json", "run",
    }  # fmt: skip


def test_a_sampler_that_is_killed_once_is_started_again(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(step_s=0.15)
    sampler = training.started()
    time.sleep(0.5)
    sampler.kill()
    untouched(training, reference)
    training.gone()
    run = greenai.load(training.folder)
    assert "sampler_restarted" in said(run)
    assert "The sampler process died and is started once more." in training.log
    true_energy(run)
    assert run.summary()["steps"] == 40
    assert 0 < run.summary()["coverage"] <= 1


def test_a_sampler_that_is_stopped_for_5_s_goes_on_where_it_was(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(step_s=0.2)
    sampler = training.started()
    time.sleep(0.5)
    sampler.send_signal(signal.SIGSTOP)
    time.sleep(5)
    assert len(training.samplers()) == 1
    sampler.send_signal(signal.SIGCONT)
    untouched(training, reference)
    training.gone()
    run = greenai.load(training.folder)
    true_energy(run)
    assert run.summary()["steps"] == 40
    assert "sampler_restarted" not in said(run)
    summary = run.summary()
    readings = [one for one in run.record.attempts[0].readings if one.channel.primary]
    read_s = (int(readings[0].t_hi_ns[-1]) - int(readings[0].t_lo_ns[0])) / 1e9
    assert run.energy() == pytest.approx(250.0 * read_s, rel=0.05)
    assert summary["unattributed_j"] == pytest.approx(250.0 * 5, abs=250.0)  # the counter survived
    assert summary["coverage"] < 0.6


def test_a_sampler_that_is_killed_twice_is_given_up_and_said(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(step_s=0.2)
    sampler = training.started()
    time.sleep(1.5)
    sampler.kill()
    time.sleep(3.5)
    training.started().kill()
    untouched(training, reference)
    training.gone()
    run = greenai.load(training.folder)
    assert "The sampler process has ended before the training" in training.log
    assert run.summary()["ended"] == "unknown"
    assert 0 < run.summary()["steps"] < 40
    true_energy(run)


def test_without_shared_memory_files_a_run_is_metered_all_the_same(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(hide_shm=True)
    untouched(training, reference)
    training.gone()
    true_energy(greenai.load(training.folder))


def test_where_no_process_may_be_started_a_thread_reads(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(refuse="processes")
    untouched(training, reference)
    assert "No process may be started here" in training.log
    true_energy(greenai.load(training.folder))


def test_where_not_even_a_thread_may_be_started_the_training_goes_on(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(refuse="processes and threads")
    untouched(training, reference)
    assert "this training is not metered" in training.log
    assert "hint: raise the limit" in training.log


def test_two_trainings_at_one_folder_have_a_folder_each(
    train: Callable[..., Training], reference: str, tmp_path: Path
) -> None:
    first = train(folder=tmp_path / "shared")
    second = train(folder=tmp_path / "shared")
    for training in (first, second):
        untouched(training, reference)
        training.gone()
    for folder in (tmp_path / "shared", tmp_path / "shared-2"):
        run = greenai.load(folder)
        assert run.summary()["steps"] == 40
        true_energy(run)
