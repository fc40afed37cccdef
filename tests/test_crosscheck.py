"""Laws of the cross-check: CodeCarbon runs beside in its own process, and changes no number."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from simulation.counters import (
    MS,
    START_NS,
    SimulatedCounter,
    a_channel,
    attempt_of,
    marks_of,
)

import greenai
from greenai.crosscheck import codecarbon_check
from greenai.merging import parts_of
from greenai.record.types import STOP, Record
from greenai.sensors import codecarbon_check as process
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.merging import Part

S = 1000 * MS
STARTER = """
import sys, time
from greenai.sensors import codecarbon_check
print(codecarbon_check.start(sys.argv[1]).pid, flush=True)
time.sleep(60)
"""
THEIRS: dict[str, Any] = {
    "start_ns": START_NS + 2 * S,
    "end_ns": START_NS + 6 * S,
    "energy_kwh": 500 / J_PER_KWH,
    "cpu_kwh": 500 / J_PER_KWH,
    "gpu_kwh": 0.0,
    "ram_kwh": 0.0,
}


def parts(folder: Path, content: str | None, watts: float = 100.0) -> tuple[Part, ...]:
    """A run of 8 s at constant power, with what CodeCarbon left beside it."""
    readings = SimulatedCounter(lambda t: watts * t, refresh_ms=20).readings(8.0, a_channel())
    marks = marks_of([(START_NS, 1, "setup", 0, 0.0), (START_NS + 8 * S, STOP, "", 0, 0.0)])
    attempt = dataclasses.replace(attempt_of([readings], marks), folder=folder)
    if content is not None:
        (folder / process.FILE).write_text(content)
    return parts_of(Record(folder, {"run_id": "a"}, (attempt,)))


def test_both_are_compared_over_the_same_time(tmp_path: Path) -> None:
    found = codecarbon_check(parts(tmp_path, json.dumps(THEIRS)))
    assert found is not None
    assert found["duration_s"] == 4
    assert found["greenai_kwh"] == pytest.approx(400 / J_PER_KWH, rel=0.01)
    assert found["ratio"] == pytest.approx(1.25, rel=0.01)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        json.dumps({**THEIRS, "energy_kwh": "much"}),
        json.dumps({**THEIRS, "energy_kwh": -1.0}),
        json.dumps({**THEIRS, "energy_kwh": True}),
        json.dumps({**THEIRS, "end_ns": 2**80}),
        json.dumps({**THEIRS, "end_ns": 0}),
    ],
)
def test_what_is_no_answer_of_codecarbons_is_none(tmp_path: Path, content: str | None) -> None:
    assert codecarbon_check(parts(tmp_path, content)) is None


def test_without_the_package_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(OSError, match="not installed"):
        process.start(str(tmp_path))


def test_a_process_that_hangs_is_given_up(tmp_path: Path) -> None:
    hanging = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE, cwd=tmp_path
    )
    assert not process.stop(hanging, seconds=0.2)
    assert hanging.returncode != 0


@pytest.mark.slow
def test_codecarbon_runs_beside_in_a_process_of_its_own(tmp_path: Path) -> None:
    code = f"""
import time
import greenai
with greenai.track({str(tmp_path / "run")!r}, codecarbon_check=True) as tracker:
    for _ in range(100):
        time.sleep(0.1)
        tracker.step()
    began_s = time.monotonic()
print(time.monotonic() - began_s)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True
    )
    assert float(done.stdout) < 5  # stop() waits for nobody
    (folder,) = (tmp_path / "run/rank-0").iterdir()
    give_up_s = time.monotonic() + 30
    while not (folder / process.FILE).exists():
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    run = greenai.load(tmp_path / "run")
    check = run.summary()["codecarbon_check"]
    assert check["energy_kwh"] > 0
    assert check["ratio"] > 0.2
    assert not any("codecarbon_check" in notice for notice in run.notices)


@pytest.mark.slow
def test_codecarbons_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            STARTER,
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CODECARBON_SAVE_TO_API": "true"},
    )
    assert starter.stdout is not None
    beside = psutil.Process(int(starter.stdout.readline()))
    time.sleep(6)
    assert beside.is_running()
    assert beside.nice() == process.LOWEST_PRIORITY
    starter.kill()
    starter.communicate()
    beside.wait(30)
    assert [path.name for path in tmp_path.iterdir()] == [process.FILE]
