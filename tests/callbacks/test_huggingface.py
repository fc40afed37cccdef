"""Laws of the callback of Hugging Face's Trainer that no other loop has."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="transformers comes with greenai[huggingface]")

from trainings.huggingface import trainer
from trainings.task import SETTINGS, BugError, Task

import greenai
from greenai.callbacks import huggingface
from greenai.callbacks.huggingface import EnergyCallback
from greenai.errors import OrderError


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def callback(folder: Path, **more: Any) -> EnergyCallback:
    return EnergyCallback(folder, print_summary=False, **{**SETTINGS, **more})


@pytest.mark.parametrize("restores_callbacks", [False, True])
def test_a_resumed_training_joins_the_run_of_its_checkpoint(
    tmp_path: Path, restores_callbacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a checkpoint of step 3, when it is trained on elsewhere, it is the same run."""
    # Checkpoints of transformers 4.46 hold more than a later torch loads unasked.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    first = trainer(Task(tmp_path / "run"), callback(tmp_path / "run"), num_train_epochs=1)
    first.train()
    saved = tmp_path / "out" / "checkpoint-3"
    state = json.loads((saved / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["EnergyCallback"]["attributes"]["restored"]["step"] == 3
    more = {"restore_callback_states_from_checkpoint": restores_callbacks}
    trainer(Task(tmp_path / "run"), callback(tmp_path / "run"), **more).train(
        resume_from_checkpoint=str(saved)
    )
    run = greenai.load(tmp_path / "run")
    assert list(run.steps()["step"]) == list(range(6))
    assert run.summary()["attempts"] == 2
    assert not (tmp_path / "run-2").exists()


def test_another_training_of_the_same_trainer_is_another_run(tmp_path: Path) -> None:
    metered = callback(tmp_path / "run")
    one = trainer(Task(tmp_path / "run"), metered, num_train_epochs=1)
    one.train()
    first = metered.run_id
    one.train()
    assert metered.run_id != first
    assert metered.run_folder == tmp_path / "run-2"


def test_evaluate_and_predict_by_hand_belong_to_the_run_before(tmp_path: Path) -> None:
    metered = callback(tmp_path / "run")
    one = trainer(Task(tmp_path / "run"), metered, num_train_epochs=1)
    one.train()
    one.evaluate()
    one.predict(one.eval_dataset)
    assert metered.run_folder == tmp_path / "run"

    def counts() -> tuple[int, int]:
        found = greenai.load(tmp_path / "run").phases().set_index("phase")["count"]
        return found["validation"], found["predict"]

    give_up = time.monotonic() + 10  # nobody waited for these records
    while counts() != (2, 1) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert counts() == (2, 1)
    assert not (tmp_path / "run-2").exists()


def test_a_training_that_failed_is_closed_by_the_next(tmp_path: Path) -> None:
    left = callback(tmp_path / "a")
    with pytest.raises(BugError):
        trainer(Task(tmp_path / "a", fails=True), left).train()
    assert left.tracker is not None
    assert left.tracker.active
    next_one = callback(tmp_path / "b")
    trainer(Task(tmp_path / "b"), next_one, num_train_epochs=1).train()
    assert not left.tracker.active
    assert len(greenai.load(tmp_path / "a").steps()) == 3


def test_what_the_user_counts_goes_before_the_trainers_count(tmp_path: Path) -> None:
    metered = callback(tmp_path / "run", tokens=5, batch_size=3, flops_per_token=2.0)
    trainer(Task(tmp_path / "run"), metered, num_train_epochs=1).train()
    steps = greenai.load(tmp_path / "run").steps()
    assert list(steps["tokens"]) == [10] * 3
    assert list(steps["samples"]) == [6] * 3
    assert list(steps["flops"]) == [20] * 3


def test_tokens_that_nobody_counts_are_unknown(tmp_path: Path) -> None:
    metered = callback(tmp_path / "run")
    trainer(
        Task(tmp_path / "run"), metered, num_train_epochs=1, include_num_input_tokens_seen=False
    ).train()
    assert greenai.load(tmp_path / "run").steps()["tokens"].isna().all()


def test_codecarbon_beside_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "_said", set())
    for name in ("a", "b"):
        one = trainer(Task(tmp_path / name), callback(tmp_path / name), num_train_epochs=1)
        one.args.report_to = ["codecarbon"]
        one.train()
    assert caplog.text.count("CodeCarbon meters this process too") == 1


def test_a_function_of_a_batch_that_is_never_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OrderError, match="tokens is a function"):
        callback(tmp_path, tokens=len)


def test_what_json_does_not_know_stops_no_checkpoint(tmp_path: Path) -> None:
    metered = callback(tmp_path / "run", config={"at": Path("/x"), "loss": float("nan")})
    assert json.loads(json.dumps(metered.state()))["attributes"] == {"restored": {}}
