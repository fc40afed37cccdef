"""Laws of every training loop: the same ones, asked of a real short training of each."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
from trainings.task import EPOCHS, LENGTH, SAMPLES, BugError, Task

import greenai
from greenai.callbacks.metering import Metering
from greenai.errors import RecordError
from greenai.live import active
from greenai.live.marks import MarkWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOPS = ["lightning", "huggingface", "plain", "accelerate", "fabric"]
NEEDS = {"huggingface": "transformers", "accelerate": "accelerate"}


def loop(name: str) -> Callable[[Task], list[torch.Tensor]]:
    needed = NEEDS.get(name, "torch")
    pytest.importorskip(needed, reason=f"{needed} comes with an extra of its own")
    train: Callable[[Task], list[torch.Tensor]] = importlib.import_module(f"trainings.{name}").train
    return train


@pytest.fixture(scope="module", params=LOOPS)
def name(request: pytest.FixtureRequest) -> str:
    loop(request.param)
    return str(request.param)


def stop_trackers() -> None:
    for one in list(active._TRACKERS.values()):
        one.stop()


@pytest.fixture(autouse=True)
def _one_thread_and_no_tracker_left() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    stop_trackers()


@pytest.fixture(scope="module")
def trained(name: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[torch.Tensor]]:
    """The run of one whole training, and its weights."""
    folder = tmp_path_factory.mktemp(name) / "run"
    found = loop(name)(Task(folder))
    return greenai.load(folder), found


@cache
def plain_weights(name: str, folder: Path) -> list[torch.Tensor]:
    return loop(name)(Task(folder / "run", metered=False))


def test_each_optimizer_step_is_a_step_with_its_work(trained: Any) -> None:
    steps = trained[0].steps()
    assert list(steps["step"]) == list(range(6))
    assert list(steps["batches"]) == [2] * 6
    assert list(steps["samples"]) == SAMPLES
    assert list(steps["tokens"]) == [samples * LENGTH for samples in SAMPLES]
    assert list(steps["epoch"]) == EPOCHS
    assert steps["loss"].notna().all()


def test_the_sums_close(trained: Any) -> None:
    run = trained[0]
    summary, steps, phases = run.summary(), run.steps(), run.phases().set_index("phase")
    assert steps["energy_j"].iloc[2:].gt(0).all()
    assert phases["energy_j"].sum() == pytest.approx(summary["energy_j"], rel=1e-9)
    assert steps["energy_j"].sum() == pytest.approx(summary["steps_j"], rel=1e-9)
    waited = phases["energy_j"].reindex(["train_step", "data_wait"]).sum()
    assert waited == pytest.approx(summary["steps_j"], rel=1e-9)


def test_the_phases_are_there(trained: Any) -> None:
    counts = trained[0].phases().set_index("phase")["count"]
    assert counts["train_step"] == 6
    assert counts["validation"] == 2
    assert counts["checkpoint"] >= 1


def test_the_record_has_ended_when_the_training_returns(trained: Any) -> None:
    assert trained[0].summary()["ended"] == "stopped"
    assert trained[0].summary()["variant"] == "small"


def test_the_weights_are_the_same_to_the_bit_with_and_without(
    name: str, trained: Any, tmp_path: Path
) -> None:
    pairs = zip(trained[1], plain_weights(name, tmp_path), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def recorded_steps(folder: Path, count: int) -> int:
    """Steps in a record that is being closed; waits until there are as many."""
    give_up = time.monotonic() + 10
    while True:
        with contextlib.suppress(RecordError):  # nothing is flushed yet
            found = len(greenai.load(folder).steps())
            if found == count or time.monotonic() > give_up:
                return found
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_an_exception_in_the_training_passes_and_leaves_a_record(name: str, tmp_path: Path) -> None:
    with pytest.raises(BugError):
        loop(name)(Task(tmp_path / "run", fails=True))
    stop_trackers()  # as the end of the process does where the framework tells nobody
    assert recorded_steps(tmp_path / "run", 3) == 3
    assert not sorted(tmp_path.glob("run-*"))


def test_an_error_of_ours_changes_no_training(
    name: str,
    tmp_path: Path,
    trained: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a failure from the fourth batch on, the first step stays recorded."""
    monkeypatch.setattr(Metering, "batch", failing(Metering.batch, at=4))
    monkeypatch.setattr(MarkWriter, "step", failing(MarkWriter.step, at=2))
    with caplog.at_level(logging.WARNING, "greenai"):
        found = loop(name)(Task(tmp_path / "run"))
    assert all(torch.equal(one, other) for one, other in zip(found, trained[1], strict=True))
    assert caplog.text.count("ours") == 1
    assert recorded_steps(tmp_path / "run", 1) == 1


def failing(function: Callable[..., None], at: int) -> Callable[..., None]:
    calls = itertools.count(1)

    def fail(*given: Any, **more: Any) -> None:
        if next(calls) >= at:
            raise RuntimeError("ours")
        function(*given, **more)

    return fail
