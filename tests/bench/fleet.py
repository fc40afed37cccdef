"""How long 2,000 runs take to list, from their index and without; run by `make bench`."""

from __future__ import annotations

import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import greenai

RUNS = 2000
ROUNDS = 5
RECORDED = Path(__file__).parents[1] / "fixtures" / "record-v1"
QUESTION = ("--where", "variant = 'moe'", "--sort", "j_per_token")
TARGET_S = {"listed from the summaries": 3.0, "listed from the index": 0.5}


def make_fleet(root: Path, count: int = RUNS) -> None:
    """Runs in folders of 100, each a small recorded one with a summary, half of them ``moe``."""
    summary = greenai.load(RECORDED).summary()
    for number in range(count):
        folder = root / f"{number // 100:02}" / f"run-{number:04}"
        shutil.copytree(RECORDED, folder)
        facts = {
            "run_id": f"{number:032x}",
            "variant": ("dense", "moe")[number % 2],
            "j_per_token": summary["j_per_token"] * (1 + number / count),
        }
        (folder / "summary.json").write_text(json.dumps({**summary, **facts}))


def cost_s(*words: str) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a whole command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "greenai", *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall_s = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print each figure beside its target; the least of several rounds, as others run here too."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_fleet(root)
        costs = {
            "listed from the summaries": [cost_s("runs", name, *QUESTION) for _ in range(ROUNDS)],
            "index made": [cost_s("index", name)],
            "listed from the index": [cost_s("runs", name, *QUESTION) for _ in range(ROUNDS)],
        }
        size = (root / "index.parquet").stat().st_size
    print(f"{RUNS} runs: whole commands (s, least); the index takes {size / 1000:.0f} kB")
    for what, seconds in costs.items():
        wall_s, processor_s = (min(column) for column in zip(*seconds, strict=True))
        target_s = TARGET_S.get(what, math.inf)
        verdict = "within" if wall_s <= target_s else "MISSED"
        shown = "" if what not in TARGET_S else f"   target {target_s:.1f}   {verdict}"
        print(f"  {what:34} {wall_s:6.2f}   of the processor {processor_s:5.2f}{shown}")


if __name__ == "__main__":
    main()
