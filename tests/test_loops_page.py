"""The examples of docs/loops.md run as they stand, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import greenai
from greenai.errors import RecordError

PAGE = (Path(__file__).parents[1] / "docs" / "loops.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = re.findall(r"```console\n\$ (.*?)\n```", PAGE, flags=re.DOTALL)
FOLDERS = [re.findall(r'"(runs/\w+)"', code)[0] for code in EXAMPLES]
STEPS = {"keras": 32}


def test_each_example_has_a_run_of_its_own() -> None:
    assert len(set(FOLDERS)) == len(FOLDERS) == 6
    assert len(COMMANDS) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "code"), list(zip(FOLDERS, EXAMPLES, strict=True)), ids=FOLDERS)
def test_an_example_runs_and_has_its_steps(folder: str, code: str, tmp_path: Path) -> None:
    name = folder.removeprefix("runs/")
    if name == "keras" and find_spec("keras") is None:
        pytest.skip("keras comes with the extra dev")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "GREENAI_SENSORS": "assumed:x=100", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = 10 if name == "accelerate" else STEPS.get(name, 20)
    assert steps_of(tmp_path / folder, expected) == expected


def steps_of(folder: Path, expected: int) -> int:
    """Steps of a record that a short run may have left to be closed."""
    found, give_up = -1, time.monotonic() + 20
    while found != expected and time.monotonic() < give_up:
        with contextlib.suppress(RecordError):  # nothing is written yet
            found = len(greenai.load(folder).steps())
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_the_command_runs(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "greenai"
    words = shlex.split(COMMANDS[0].replace("python -c", f"{sys.executable} -c"))
    done = subprocess.run(
        [str(program), *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "49999995000000\n")
    assert "runs/command" in done.stderr
