"""Laws of ranks with real launchers: each meters its own GPU, and the whole is the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import greenai

if TYPE_CHECKING:
    from pathlib import Path

    from simulation.fake_nvml import FakeNvml

    from greenai.run import Run

pytestmark = pytest.mark.slow

HOST_W = 50.0
PLAIN = """
import os, sys, time
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
import greenai

rank, wrap = int(os.environ["RANK"]), os.environ["WRAP"]
if wrap != "none":
    dist.init_process_group("gloo")
torch.manual_seed(0)
if wrap == "fsdp":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    model = fully_shard(torch.nn.Linear(8, 4), mesh=mesh)
else:
    model = torch.nn.Linear(8, 4)
    model = DDP(model) if wrap == "ddp" else model
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
uuids = sys.argv[2].split(",")
devices = [uuids[int(os.environ["LOCAL_RANK"])]]
with greenai.track(sys.argv[1], sensors=["nvml", "assumed:host=50"], devices=devices) as tracker:
    for step in range(12):
        time.sleep(0.25)
        loss = model(torch.ones(4, 8)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.step(tokens=10, samples=4, loss=loss.item())
        if rank == 1 and step == int(os.environ.get("DIES_AT", -1)) and (
            os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        ):
            os._exit(7)
if wrap != "none":
    dist.destroy_process_group()
"""
LIGHTNING = """
import sys, time, warnings
warnings.simplefilter("ignore")
import pytorch_lightning as lightning, torch
from torch.utils.data import DataLoader
from greenai.callbacks import EnergyMonitor

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        time.sleep(0.1)
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.trainer.model.parameters(), lr=0.1)

if __name__ == "__main__":
    monitor = EnergyMonitor(
        sys.argv[1] + "/{date}", tokens=1, sensors=["assumed:host=50"], print_summary=False
    )
    lightning.Trainer(
        accelerator="cpu", devices=2, strategy=sys.argv[2], max_epochs=1, logger=False,
        callbacks=[monitor], enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Model(), DataLoader(torch.ones(40, 4), batch_size=4))
"""
TRAINER = """
import sys, time
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from greenai.callbacks.huggingface import EnergyCallback

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(32, 8), torch.nn.Linear(8, 32)

    def forward(self, input_ids, labels=None):
        time.sleep(0.05)
        logits = self.head(self.embedding(input_ids))
        return {"loss": torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}

rows = [{"input_ids": row, "labels": row} for row in torch.randint(32, (64, 16))]
arguments = TrainingArguments(
    output_dir=sys.argv[2], per_device_train_batch_size=4, gradient_accumulation_steps=2,
    max_steps=8, save_steps=3, include_num_input_tokens_seen=True, report_to=[], use_cpu=True,
    disable_tqdm=True, ddp_find_unused_parameters=False,
)
callback = EnergyCallback(sys.argv[1], sensors=["assumed:host=50"], print_summary=False)
resumes = sys.argv[3] == "again"
Trainer(Tiny(), arguments, train_dataset=rows, callbacks=[callback]).train(
    resume_from_checkpoint=sys.argv[2] + "/checkpoint-3" if resumes else None
)
"""


def launched(*words: str, environment: dict[str, str]) -> None:
    known = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    clean = {name: value for name, value in environment.items() if name not in known}
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**clean, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]


def torchrun(folder: Path, nvml: FakeNvml, ranks: int, **variables: str) -> Run:
    script = folder / "train.py"
    script.write_text(textwrap.dedent(PLAIN))
    uuids = ",".join(nvml.uuid(gpu) for gpu in range(ranks))
    launched(
        "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--max-restarts=1",
        str(script), str(folder / "runs" / "{date}"), uuids,
        environment={**nvml.environment(gpus=ranks), **variables},
    )  # fmt: skip
    (run,) = (folder / "runs").iterdir()
    return greenai.load(run)


def truth_j(run: Run, nvml: FakeNvml, known: set[int]) -> float:
    """True energy of known steps: of every rank's own GPU and, by local rank 0, of the host."""
    total_j = 0.0
    for part in run.parts:
        steps = part.energies.timeline.steps
        spans = zip(
            steps.index.tolist(), steps.start_ns.tolist(), steps.end_ns.tolist(), strict=True
        )
        for index, first_ns, last_ns in spans:
            if index in known:
                total_j += nvml.energy_j(part.attempt.rank, first_ns, last_ns)
                total_j += HOST_W * (last_ns - first_ns) / 1e9 * (part.attempt.rank == 0)
    return total_j


@pytest.mark.parametrize(("ranks", "wrap"), [(2, "fsdp"), (4, "ddp")])
def test_ranks_of_torchrun_meter_their_own_gpu_and_the_host_once(
    fake_nvml: FakeNvml, tmp_path: Path, ranks: int, wrap: str
) -> None:
    run = torchrun(tmp_path, fake_nvml, ranks, WRAP=wrap)
    steps, summary = run.steps(), run.summary()
    assert sorted(one.rank for one in run.record.attempts) == list(range(ranks))
    assert set(steps["ranks"]) == {ranks}
    assert set(steps["tokens"]) == {10.0 * ranks}
    assert (summary["gpus"], summary["hosts"]) == (ranks, 1)
    known = steps[steps["energy_j"].notna()]
    assert len(known) >= 6
    truth = truth_j(run, fake_nvml, set(known["step"]))
    assert known["energy_j"].sum() == pytest.approx(truth, rel=0.02)
    assert set(known["other_j"] > 0) == {True}


def test_a_restart_of_torchrun_is_another_attempt_of_the_run_and_its_waste_is_counted(
    fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    """Given a rank that dies after step 5, when torchrun starts all anew, its energy is waste."""
    run = torchrun(tmp_path, fake_nvml, 2, WRAP="none", DIES_AT="5")
    steps, summary = run.steps(), run.summary()
    assert summary["attempts"] == 2
    again = steps[steps["rolled_back"]]
    assert len(again) >= 5
    assert set(again["attempt"]) == {0}
    assert summary["wasted_j"] == pytest.approx(again["energy_j"].sum())
    assert steps[~steps["rolled_back"]]["step"].tolist() == list(range(12))


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_ranks_of_lightning_are_one_run(tmp_path: Path, strategy: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(LIGHTNING))
    launched(str(script), str(tmp_path / "runs"), strategy, environment=dict(os.environ))
    (folder,) = (tmp_path / "runs").iterdir()
    run = greenai.load(folder)
    assert sorted(one.rank for one in run.record.attempts) == [0, 1]
    assert set(run.steps()["ranks"]) == {2}
    assert set(run.steps()["tokens"]) == {2.0}
    known = run.steps()[run.steps()["energy_j"].notna()]
    assert known["energy_j"].sum() == pytest.approx(HOST_W * known["duration_s"].sum(), rel=0.05)


def test_a_trainer_of_two_processes_is_one_run_and_goes_on_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    pytest.importorskip("transformers", reason="the Trainer is Hugging Face's")
    pytest.importorskip("accelerate", reason="the Trainer needs it")
    script, run = tmp_path / "train.py", tmp_path / "run"
    script.write_text(TRAINER)
    for start in ("first", "again"):
        launched(
            "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script),
            str(run), str(tmp_path / "out"), start, environment=dict(os.environ),
        )  # fmt: skip
    summary, steps = greenai.load(run).summary(), greenai.load(run).steps()
    assert (summary["attempts"], summary["ranks"], summary["ended"]) == (2, 2, "stopped")
    assert steps["step"].tolist() == [*range(8), *range(3, 8)]
    assert steps["rolled_back"].tolist() == [False] * 3 + [True] * 5 + [False] * 5
    assert steps["ranks"].eq(2).all()
    assert steps["tokens"].eq(2 * 2 * 4 * 16).all()  # ranks, micro-batches, rows, ids
    host_j = HOST_W * sum(one["duration_s"] for one in summary["attempt_list"])
    assert summary["energy_j"] == pytest.approx(host_j * summary["coverage"], rel=0.05)
    again_j = steps.loc[steps["rolled_back"], "energy_j"].sum()
    assert summary["wasted_j"] == pytest.approx(again_j)
    assert again_j > 0
