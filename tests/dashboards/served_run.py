"""A run for the dashboards to show: trains nothing, on simulated GPUs, until it is killed.

Without RANK in its environment it is stopped soon and continued as a second attempt.

python served_run.py FOLDER VARIANT PROJECT EXPERTS STEP_S PDU_FILE
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import greenai

folder, variant, project, experts, step_s, pdu = sys.argv[1:]
SETTINGS = {
    "variant": variant,
    "project": project,
    "country": "FRA",
    "pue": 1.2,
    "sensors": ["nvml", f"pdu:{pdu}"],
    "total_steps": 1000,
    "budget_kwh": 0.01,
    "budget_kg": 0.001,
}


def train(tracker: greenai.Tracker, steps: range) -> None:
    """Leave the marks of a training with epochs, checkpoints and, where asked, routers."""
    for step in steps:
        with Path(pdu).open("a", encoding="utf-8") as file:
            file.write(f"{time.time()},900\n")
        with tracker.phase("data_wait"):
            time.sleep(float(step_s) / 5)
        time.sleep(float(step_s))
        tracker.step(tokens=512, samples=4, loss=4 / (1 + step), flops=1e12, epoch=step // 20)
        for expert in range(int(experts)):
            tracker.value("router_load/0", (expert + 1) / 10, expert)
        if int(experts):
            tracker.value("router_imbalance", 1.6, step)
        if step % 10 == 0:
            with tracker.phase("checkpoint"):
                time.sleep(0.2)


Path(pdu).write_text("utc,watts\n", encoding="utf-8")
restarted = "RANK" not in os.environ
if restarted:
    with greenai.track(folder, **SETTINGS) as first:  # type: ignore[arg-type] # of many types
        train(first, range(2))
with greenai.track(folder, resume=restarted, metrics_port=0, **SETTINGS) as tracker:  # type: ignore[arg-type] # the same
    train(tracker, range(2, 100_000))
