"""Laws of restarts: a real Lightning training is killed and goes on from its checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

import greenai
from greenai.record.gather import gather

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.run import Run

pytestmark = pytest.mark.slow

HOST_W = 50.0
TRAIN = """
import os, signal, sys, time, warnings
warnings.simplefilter("ignore")
import pytorch_lightning as lightning, torch
from torch.utils.data import DataLoader
from pytorch_lightning.callbacks import ModelCheckpoint
from greenai.callbacks import EnergyMonitor

folder, checkpoints, killed_at = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        time.sleep(0.15)
        if batch_idx == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

monitor = EnergyMonitor(folder, tokens=10, sensors=["assumed:host=50"], print_summary=False)
saved = ModelCheckpoint(checkpoints, every_n_train_steps=5, filename="saved")
lightning.Trainer(
    accelerator="cpu", devices=1, max_epochs=1, logger=False, callbacks=[monitor, saved],
    enable_progress_bar=False, enable_model_summary=False,
).fit(
    Model(), DataLoader(torch.ones(60, 4), batch_size=4),
    ckpt_path=checkpoints + "/../first.ckpt" if killed_at < 0 else None,
)
"""


def train(folder: Path, checkpoints: Path, killed_at: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRAIN), folder, checkpoints, str(killed_at)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=dict(os.environ),
    ).returncode


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of 15 steps that was killed in its tenth, with a checkpoint after the fifth."""
    folder = tmp_path_factory.mktemp("killed")
    assert train(folder / "run", folder / "checkpoints", 9) == -signal.SIGKILL
    (folder / "checkpoints" / "saved.ckpt").rename(folder / "first.ckpt")
    return folder


def ended(folder: Path, word: str) -> Run:
    """The run, once its sampler has closed the latest attempt."""
    give_up_s = time.monotonic() + 60
    while not any(f'"{word}"' in one.read_text() for one in folder.rglob("events.jsonl")):
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    return greenai.load(folder)


def laws_of_a_whole(run: Run) -> None:
    steps, summary = run.steps(), run.summary()
    assert summary["attempts"] == 2
    assert steps[steps["attempt"] == 0]["step"].tolist() == list(range(9))
    assert steps[steps["attempt"] == 1]["step"].tolist() == list(range(5, 15))
    assert steps[steps["rolled_back"]]["step"].tolist() == [5, 6, 7, 8]
    assert steps["energy_j"].notna().sum() >= 12
    again = steps[steps["rolled_back"]]
    assert summary["wasted_j"] == pytest.approx(HOST_W * again["duration_s"].sum(), rel=0.05)
    both = sum(one["energy_j"] for one in summary["attempt_list"])
    assert run.energy() == pytest.approx(both, rel=1e-9)
    assert not any("lie elsewhere" in notice for notice in run.notices)


def test_a_killed_training_goes_on_in_its_run_or_can_be_joined_from_another_folder(
    killed: Path,
) -> None:
    """Given a checkpoint, a training elsewhere has the same run id, says so, and is merged."""
    alone = ended(killed / "run", "parent_died")
    assert alone.summary()["wasted_j"] == 0.0
    assert train(killed / "elsewhere", killed / "checkpoints", -1) == 0
    elsewhere = ended(killed / "elsewhere", "stopped")
    assert elsewhere.run_id == alone.run_id
    (said,) = [notice for notice in elsewhere.notices if "lie elsewhere" in notice]
    assert said.startswith("Steps before 5 of this run lie elsewhere")
    gather([killed / "elsewhere", killed / "run"], killed / "whole")
    laws_of_a_whole(greenai.load(killed / "whole"))
    assert train(killed / "run", killed / "checkpoints", -1) == 0
    laws_of_a_whole(ended(killed / "run", "stopped"))
