"""Uses greenai as its users do, from an environment that holds nothing but the built wheel."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

import greenai
from greenai.callbacks import EnergyMonitor

STEPS = 25
ALLOWED = {"doctor": {0, 1}}
"""Exit codes other than 0: doctor says by 1 that nothing is measured on this machine."""
COMMANDS = (
    ("doctor",),
    ("report", "runs/loop"),
    ("export", "runs/loop", "--format", "csv"),
    ("export", "runs/lightning", "--format", "parquet"),
    ("dashboards", "install", "--servers", "--dir", "monitoring"),
)


def plain_loop() -> None:
    """Meter a loop that is no framework's."""
    with greenai.track("runs/loop", variant="loop") as tracker:
        for _ in range(STEPS):
            time.sleep(0.02)
            tracker.step(tokens=64)


def lightning() -> None:
    """Meter a Lightning training."""
    trainer = pl.Trainer(
        max_steps=STEPS,
        callbacks=[EnergyMonitor("runs/lightning", variant="lightning")],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(BoringModel())


def main() -> None:
    """Fail loudly where something does not hold."""
    home = Path(greenai.__file__).resolve()
    if "site-packages" not in home.parts:
        sys.exit(f"greenai was imported from {home}, not from the wheel")
    plain_loop()
    lightning()
    for folder in ("runs/loop", "runs/lightning"):
        steps = len(greenai.load(folder).steps())
        if steps != STEPS:
            sys.exit(f"{folder} holds {steps} steps, not {STEPS}")
    for command in COMMANDS:
        program = str(Path(sys.executable).with_name("greenai"))
        done = subprocess.run([program, *command], check=False, timeout=120)
        if done.returncode not in ALLOWED.get(command[0], {0}):
            sys.exit(f"greenai {' '.join(command)} ended with {done.returncode}")


if __name__ == "__main__":
    main()
