"""Laws of the Lightning callback end to end: a real training, sampler and record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import greenai
from greenai.callbacks import EnergyMonitor
from greenai.errors import RecordError

PRELUDE = """
import logging, os, signal, sys, warnings
warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
import pytorch_lightning as lightning, torch
from torch.utils.data import DataLoader
from greenai.callbacks import EnergyMonitor

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        self.at(batch_idx)
        return self.layer(batch).square().mean()

    def at(self, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def trainer(*callbacks, **more):
    quiet = dict(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    return lightning.Trainer(callbacks=list(callbacks), **{**quiet, **more})

data = DataLoader(torch.ones(40, 4), batch_size=4)
"""


def run(code: str, *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


def children_of_samplers() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "bootstrap.py" in " ".join(one.cmdline())
    ]


def until(condition: Any, seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_sampler_is_left() -> Any:
    yield
    until(lambda: not children_of_samplers())


def test_a_fit_is_in_the_record_when_the_trainer_returns(
    tree: Any, bench_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = EnergyMonitor(tmp_path / "run", variant="a", tokens=8, sensors=[])
    bench_of(tree, tmp_path).fit(monitor, accumulate_grad_batches=2, max_epochs=2)
    run = greenai.load(tmp_path / "run")
    steps = run.steps()
    assert list(steps["step"]) == list(range(6))
    assert list(steps["batches"]) == [2, 2, 1, 2, 2, 1]
    assert list(steps["samples"]) == [6, 6, 3, 6, 6, 3]
    assert list(steps["tokens"]) == [16, 16, 8, 16, 16, 8]
    assert list(steps["epoch"]) == [0, 0, 0, 1, 1, 1]
    assert steps["loss"].notna().all()
    assert steps["energy_j"].isna().all()  # no sensor: unknown, not zero
    counts = run.phases().set_index("phase")["count"]
    assert counts["train_step"] == 6
    assert counts["data_wait"] == 10
    assert run.summary()["ended"] == "stopped"
    assert run.run_id == monitor.run_id
    assert run.record.attempts[0].manifest["versions"]["framework"].endswith(tree.__version__)
    assert "energy unknown" in capsys.readouterr().out


def test_fit_then_test_are_one_run(bench: Any, tmp_path: Path) -> None:
    monitor = EnergyMonitor(tmp_path / "run", sensors=[], print_summary=False)
    trainer, model = bench.trainer(monitor), bench.model()
    trainer.fit(model, bench.data(), bench.data(2))
    trainer.test(model, bench.data(), verbose=False)
    run = greenai.load(tmp_path / "run")
    counts = run.phases().set_index("phase")["count"]
    assert (counts["validation"], counts["test"], counts["train_step"]) == (1, 1, 5)
    assert not run.steps()["rolled_back"].any()
    assert not (tmp_path / "run-2").exists()
    assert len(list((tmp_path / "run" / "launches").glob("*-*"))) == 1


def test_a_resumed_fit_joins_the_run_of_its_checkpoint(bench: Any, tmp_path: Path) -> None:
    def monitor() -> Any:
        return EnergyMonitor(tmp_path / "run", sensors=[], print_summary=False)

    trainer = bench.trainer(monitor())
    trainer.fit(bench.model(), bench.data(3))
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    bench.trainer(monitor(), max_epochs=2).fit(
        bench.model(), bench.data(3), ckpt_path=tmp_path / "saved.ckpt"
    )
    run = greenai.load(tmp_path / "run")
    assert list(run.steps()["step"]) == list(range(6))
    assert run.summary()["attempts"] == 2
    bench.fit(monitor())  # from the start: another run
    assert (tmp_path / "run-2" / "manifest.json").exists()


def test_an_exception_leaves_a_whole_record(bench: Any, tmp_path: Path) -> None:
    model = bench.model()
    training_step = model.training_step

    def fail_at_three(batch: Any, batch_idx: int) -> Any:
        if batch_idx == 3:
            raise ValueError("a bug")
        return training_step(batch, batch_idx)

    model.training_step = fail_at_three
    with pytest.raises(ValueError, match="a bug"):
        bench.fit(EnergyMonitor(tmp_path / "run", sensors=[], print_summary=False), model=model)
    until(lambda: not children_of_samplers())  # a failing training waits for nothing
    run = greenai.load(tmp_path / "run")
    assert len(run.steps()) == 3
    assert run.summary()["ended"] == "stopped"


def test_a_folder_that_cannot_be_used_is_an_error_before_training(bench: Any) -> None:
    with pytest.raises(RecordError, match="proc"):
        bench.fit(EnergyMonitor("/proc/greenai-run", sensors=[]))


@pytest.mark.slow
def test_a_killed_training_loses_no_step(tmp_path: Path) -> None:
    code = """
    class Killed(Model):
        def at(self, batch_idx):
            if batch_idx == 7:
                os.kill(os.getpid(), signal.SIGKILL)
    trainer(EnergyMonitor(sys.argv[1], sensors=[])).fit(Killed(), data)
    """
    assert run(code, tmp_path / "run").returncode == -signal.SIGKILL
    until((tmp_path / "run" / "steps.csv").exists, 20)
    loaded = greenai.load(tmp_path / "run")
    assert len(loaded.steps()) == 7
    assert loaded.summary()["ended"] == "parent_died"


@pytest.mark.slow
def test_ctrl_c_ends_the_record_and_the_process(tmp_path: Path) -> None:
    code = """
    class Interrupted(Model):
        def at(self, batch_idx):
            if batch_idx == 4:
                os.kill(os.getpid(), signal.SIGINT)
    trainer(EnergyMonitor(sys.argv[1], sensors=[])).fit(Interrupted(), data)
    """
    done = run(code, tmp_path / "run")
    assert done.returncode == 1, done.stderr
    assert "record: " in done.stdout
    assert len(greenai.load(tmp_path / "run").steps()) == 4


@pytest.mark.slow
def test_the_ranks_of_a_training_are_one_run(tmp_path: Path) -> None:
    """Given two processes that Lightning starts itself, without a launcher's id, they join."""
    code = """
    if __name__ == "__main__":
        monitor = EnergyMonitor(sys.argv[1] + "/{date}", tokens=1, sensors=[])
        trainer(monitor, devices=2, strategy="ddp").fit(Model(), data)
    """
    script = tmp_path / "train.py"
    script.write_text(PRELUDE + textwrap.dedent(code))
    known = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    clean = {name: value for name, value in os.environ.items() if name not in known}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    loaded = greenai.load(folder)
    assert sorted(one.rank for one in loaded.record.attempts) == [0, 1]
    assert list(loaded.steps()["tokens"]) == [2] * 5
    assert list(loaded.steps()["ranks"]) == [2] * 5
    assert loaded.summary()["attempts"] == 1
    assert done.stdout.count("on rank 0 of 2") == 1


@pytest.mark.slow
def test_loggers_hold_the_energy_of_a_real_training(bench: Any, tmp_path: Path) -> None:
    logger = bench.tree.loggers.CSVLogger(tmp_path / "csv")
    model = bench.model()
    training_step = model.training_step

    def slowly(batch: Any, batch_idx: int) -> Any:
        time.sleep(0.05)
        return training_step(batch, batch_idx)

    model.training_step = slowly
    monitor = EnergyMonitor(
        tmp_path / "run", sensors=["codecarbon"], tokens=4, country="FRA", print_summary=False
    )
    bench.fit(monitor, model=model, batches=150, logger=logger, log_every_n_steps=20)
    header, *rows = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    wanted = {
        "greenai/energy_j",
        "greenai/power_w",
        "greenai/operational_co2e_g",
        "greenai/j_per_token",
        "greenai/settled_step",
    }
    names = header.split(",")
    assert wanted <= set(names)
    last = dict(zip(names, rows[-1].split(","), strict=True))
    assert 0 < float(last["greenai/energy_j"]) <= greenai.load(tmp_path / "run").energy()
    assert float(last["greenai/settled_step"]) <= float(last["step"])
    summary = greenai.load(tmp_path / "run").summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["j_per_token"] > 0
