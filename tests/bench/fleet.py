"""How long 2,000 runs take to list, from their index and without; run by `make bench`."""

from __future__ import annotations

import json
import shutil
import statistics
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


def list_s(root: Path, *options: str) -> tuple[float, str]:
    """Seconds that the whole command takes, and what it prints."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "greenai", "runs", str(root), *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - begin, done.stdout


def index_s(root: Path) -> float:
    """Seconds that making the index takes, as a whole command."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "greenai", "index", str(root)]
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print each figure beside its target."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_fleet(root)
        costs = {"listed from the summaries": [list_s(root, *QUESTION)[0] for _ in range(ROUNDS)]}
        costs["index made"] = [index_s(root)]
        costs["listed from the index"] = [list_s(root, *QUESTION)[0] for _ in range(ROUNDS)]
        size = (root / "index.parquet").stat().st_size
    print(f"{RUNS} runs: whole commands (s, medians); the index takes {size / 1000:.0f} kB")
    for what, seconds in costs.items():
        median_s = statistics.median(seconds)
        target_s = TARGET_S.get(what)
        verdict = "" if target_s is None else "within" if median_s <= target_s else "MISSED"
        target = "" if target_s is None else f"target {target_s:.1f}"
        print(f"  {what:34} {median_s:6.2f}   {target:10}   {verdict}")


if __name__ == "__main__":
    main()
