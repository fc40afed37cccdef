"""What the sampler costs: CPU time, lateness, memory and disk, with eight simulated GPUs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.fake_nvml import FakeNvml

SECONDS = 30.0
WARM_S = 5.0
JOB = """
import sys, time, greenai
port = int(sys.argv[2]) if len(sys.argv) > 2 else None
with greenai.track(sys.argv[1], sensors=["nvml"], metrics_port=port) as tracker:
    end_s = time.monotonic() + {seconds}
    while time.monotonic() < end_s:
        time.sleep(0.005)
        tracker.step(tokens=8192, samples=8, loss=2.5)
"""
DAY_S = 86_400
BOARDS: dict[str, object] = {
    "gpus": 8,
    "wave": "sine",
    "low_w": 100,
    "high_w": 700,
    "stagger_ms": 13,
    "jitter_ms": 1,
    "latency_us": 40,
}


def main() -> None:
    """Print the table."""
    if FakeNvml.compiler() is None:
        print("skipped: no C compiler to build the simulated driver with")
        return
    folder = Path(tempfile.mkdtemp(prefix="greenai-bench-"))
    try:
        plain = _metered(folder, scraped=False)
        scraped = _metered(folder, scraped=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{'sampler with 8 GPUs, steps of 5 ms':<44}{'target':>10}{'found':>10}")
    for what, target, found in (
        ("CPU time, % of one core", 2.0, plain["cpu_percent"]),
        ("the same, /metrics scraped at 10 Hz", np.nan, scraped["cpu_percent"]),
        ("driver calls a second and GPU", np.nan, plain["calls_per_s"] / 8),
        ("wake late at p95, ms", 1.0, plain["late_p95_ms"]),
        ("the same, scraped at 10 Hz", 1.0, scraped["late_p95_ms"]),
        ("resident, MB", 90.0, plain["resident_mb"]),
        ("the same, with /metrics", 110.0, scraped["resident_mb"]),
        ("readings of a day, MB", 150.0, plain["readings_mb_per_day"]),
        ("marks, bytes a step", 12.0, plain["bytes_per_step"]),
    ):
        verdict = "" if np.isnan(target) else "met" if found <= target else "MISSED"
        wanted = "" if np.isnan(target) else f"{target:g}"
        print(f"{what:<44}{wanted:>10}{found:>10.2f}  {verdict}")


def _metered(folder: Path, *, scraped: bool) -> dict[str, float]:
    """Meter a loop of 5-ms steps for a while and look at its sampler."""
    library = folder / "nvml"
    if not library.exists():
        library.mkdir()
        FakeNvml.compiled(library)
    nvml = FakeNvml(library)
    run = folder / f"run-{scraped}"
    port = ["0"] if scraped else []
    command = [sys.executable, "-c", JOB.format(seconds=WARM_S + SECONDS), str(run), *port]
    training = subprocess.Popen(command, env=nvml.environment(**BOARDS))
    time.sleep(WARM_S)
    sampler = _sampler_of(training.pid)
    before, begin_s, calls = sampler.cpu_times(), time.monotonic(), nvml.calls()[0]
    while time.monotonic() < begin_s + SECONDS - 2:
        time.sleep(0.1)
        if scraped:
            _scrape(run)
    after, passed_s = sampler.cpu_times(), time.monotonic() - begin_s
    calls = nvml.calls()[0] - calls
    resident = sampler.memory_info().rss
    training.wait(60)
    attempt = next(run.glob("rank-0/attempt-*"))
    stopped = _await_end(attempt)
    sizes = {name: (attempt / f"{name}.frames").stat().st_size for name in ("readings", "marks")}
    steps = (WARM_S + SECONDS) / 0.00515
    return {
        "cpu_percent": 100 * (after.user + after.system - before.user - before.system) / passed_s,
        "calls_per_s": calls / passed_s,
        "late_p95_ms": float(stopped["wake_late_p95_ms"]),
        "resident_mb": resident / 1e6,
        "readings_mb_per_day": sizes["readings"] / (WARM_S + SECONDS) * DAY_S / 1e6,
        "bytes_per_step": sizes["marks"] / steps,
    }


def _sampler_of(pid: int) -> psutil.Process:
    children = psutil.Process(pid).children()
    return next(child for child in children if "bootstrap" in " ".join(child.cmdline()))


def _scrape(run: Path) -> None:
    for live in run.glob("rank-0/attempt-*/live.json"):
        port = json.loads(live.read_text())["metrics_port"]
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()


def _await_end(attempt: Path) -> dict[str, Any]:
    give_up_s = time.monotonic() + 30
    while time.monotonic() < give_up_s:
        for line in (attempt / "events.jsonl").read_text().splitlines():
            event: dict[str, Any] = json.loads(line)
            if event["what"] == "stopped":
                return event
        time.sleep(0.1)
    raise TimeoutError(f"{attempt} was not closed")


if __name__ == "__main__":
    main()
