"""Laws of the totals in logging targets: only where one is open, and at no cost to a training."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import greenai
from greenai.callbacks import logging_targets
from greenai.callbacks.logging_targets import LoggingTargets
from greenai.live.shared import Totals

if TYPE_CHECKING:
    from pathlib import Path

TOTALS = Totals(energy_j=12.0, steps_j=10.0, known_tokens=5.0, settled_step=3.0)
FIGURES = {"greenai/energy_j": 12.0, "greenai/j_per_token": 2.0}


class Mlflow:
    """Imitates what of mlflow is used: the active run belongs to a thread, as there."""

    def __init__(self) -> None:
        self.local = threading.local()
        self.logged: dict[str, Any] = {}

    def open(self) -> None:
        self.local.run = SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def active_run(self) -> Any:
        return getattr(self.local, "run", None)

    def log_metrics(self, figures: dict[str, float], *, run_id: str) -> None:
        self.logged[run_id] = figures


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Mlflow:
    made = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", made)
    return made


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(run=SimpleNamespace(summary={}))
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def test_open_runs_get_the_totals(mlflow: Mlflow, wandb: Any) -> None:
    mlflow.open()
    LoggingTargets().log(TOTALS, world_size=1)
    assert mlflow.logged == {"r1": FIGURES}
    assert wandb.run.summary == FIGURES


def test_nothing_is_opened_and_nothing_imported(mlflow: Mlflow, wandb: Any) -> None:
    wandb.run = None
    LoggingTargets().log(TOTALS, world_size=1)
    assert mlflow.logged == {}
    code = """
    import sys
    from greenai.callbacks.logging_targets import LoggingTargets
    from greenai.live.shared import Totals
    LoggingTargets().log(Totals(energy_j=1.0), world_size=1)
    assert not {"mlflow", "wandb", "torch", "tensorboard"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_a_run_that_the_trainer_ends_before_us_still_gets_them(mlflow: Mlflow) -> None:
    targets = LoggingTargets()
    mlflow.open()
    targets.look()
    del mlflow.local.run
    targets.log(TOTALS, world_size=1)
    assert mlflow.logged == {"r1": FIGURES}


def test_what_is_unknown_and_what_is_no_total_is_logged_nowhere(wandb: Any) -> None:
    LoggingTargets().log(Totals(), world_size=1)
    LoggingTargets().log(TOTALS, world_size=2)
    assert wandb.run.summary == {}


def test_a_target_that_fails_is_said_and_the_others_get_theirs(
    mlflow: Mlflow, wandb: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no server")

    mlflow.open()
    monkeypatch.setattr(mlflow, "log_metrics", fail)
    with caplog.at_level(logging.WARNING, "greenai"):
        LoggingTargets().log(TOTALS, world_size=1)
    assert wandb.run.summary == FIGURES
    assert "MLflow did not take the totals: ConnectionError: no server" in caplog.text


def test_a_target_that_hangs_is_left_to_itself(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    mlflow.open()
    monkeypatch.setattr(mlflow, "log_metrics", lambda *_, **__: hangs.wait(30))
    monkeypatch.setattr(logging_targets, "WAIT_S", 0.05)
    begin = time.monotonic()
    LoggingTargets().log(TOTALS, world_size=1)
    assert time.monotonic() - begin < 10
    hangs.set()


def test_tensorboard_gets_them_where_one_writer_alone_is_open(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard comes with the extra dev")
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 - may be absent
        EventAccumulator,
    )
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - the same

    def scalars(name: str) -> list[str]:
        return list(EventAccumulator(str(tmp_path / name)).Reload().Tags()["scalars"])

    closed, one = SummaryWriter(tmp_path / "closed"), SummaryWriter(tmp_path / "one")
    closed.close()
    LoggingTargets().log(TOTALS, world_size=1)
    two = SummaryWriter(tmp_path / "two")
    LoggingTargets().log(TOTALS, world_size=1)
    one.close()
    two.close()
    assert sorted(scalars("one")) == sorted(FIGURES)
    assert scalars("closed") == scalars("two") == []


def test_a_plain_loop_logs_its_totals_once(tmp_path: Path, wandb: Any) -> None:
    tracker = greenai.track(tmp_path / "run", sensors=["assumed:x=100"]).start()
    give_up = time.monotonic() + 10
    while not tracker.totals().power_w > 0 and time.monotonic() < give_up:
        time.sleep(0.01)
    tracker.step(tokens=1)
    time.sleep(0.1)
    tracker.step(tokens=1)
    tracker.stop()
    assert wandb.run.summary["greenai/energy_j"] > 0
    wandb.run.summary.clear()
    tracker.stop()
    assert wandb.run.summary == {}


@pytest.mark.slow
def test_the_real_mlflow_and_wandb_take_them(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny comes with the extra dev")
    pytest.importorskip("wandb", reason="wandb comes with the extra dev")
    code = """
    import json, time, warnings
    warnings.simplefilter("ignore")
    import mlflow, wandb
    mlflow.set_tracking_uri("file:mlruns")
    run = mlflow.start_run()
    offline = wandb.init(mode="offline", project="x", settings=wandb.Settings(silent=True))
    import greenai
    with greenai.track("run", sensors=["assumed:x=100"]) as tracker:
        while not tracker.totals().power_w > 0:
            time.sleep(0.01)
        for _ in range(5):
            tracker.step(tokens=10)
            time.sleep(0.1)
    found = [mlflow.get_run(run.info.run_id).data.metrics, dict(offline.summary)]
    offline.finish()
    mlflow.end_run()
    print(json.dumps(found))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MLFLOW_ALLOW_FILE_STORE": "true"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for metrics in json.loads(done.stdout.splitlines()[-1]):
        assert metrics["greenai/energy_j"] > 0
        assert metrics["greenai/j_per_token"] > 0
