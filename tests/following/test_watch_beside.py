"""Laws of the page beside a training: it is another process, is said once, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRAINING = """
import sys, time, greenai
print("begin", flush=True)
with greenai.track(sys.argv[1], sensors=[], watch=True) as run:
    for step in range(int(sys.argv[2])):
        time.sleep(0.05)
        run.step(tokens=5, loss=1.0)
"""
ADDRESS = re.compile(r"Watch this run at (http://127\.0\.0\.1:\d+/)")


def until(condition: Callable[[], object], seconds: float = 30.0) -> object:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def pages_of(sampler: psutil.Process) -> list[psutil.Process]:
    return [one for one in sampler.children() if one.cmdline()[-1:] == ["watch"]]


def started(folder: Path, steps: int) -> tuple[subprocess.Popen[str], str, psutil.Process]:
    """A training, the address that it says, and the process that serves it."""
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), str(steps)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert training.stderr is not None
    said = ADDRESS.search(training.stderr.readline())
    assert said is not None
    samplers = psutil.Process(training.pid).children()
    page = next(one for sampler in samplers for one in pages_of(sampler))
    return training, said[1], page


@pytest.mark.slow
def test_the_page_is_a_process_of_its_own_and_ends_with_the_sampler(tmp_path: Path) -> None:
    training, address, page = started(tmp_path / "run", steps=100)
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert b"greenai watch" in answer.read()
    assert page.pid not in {training.pid, page.ppid()}
    assert page.nice() >= 10
    _, rest = training.communicate(timeout=60)
    assert training.returncode == 0
    assert ADDRESS.search(rest) is None  # it was said once
    until(lambda: not page.is_running() or page.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_no_page_is_left_when_training_and_sampler_are_killed(tmp_path: Path) -> None:
    training, _, page = started(tmp_path / "run", steps=10_000)
    sampler = page.ppid()
    training.kill()
    os.kill(sampler, signal.SIGKILL)
    training.communicate()
    until(lambda: not page.is_running() or page.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_a_command_that_is_interrupted_ends_at_once_and_well(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "greenai", "watch", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("page:    http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 0
    assert said == ""


def test_the_terminal_view_of_a_pipe_is_one_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "greenai", "watch", "--terminal", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "No run here yet" in done.stdout
