"""Fixtures of the fault tests: trainings in processes of their own, on a simulated GPU of 250 W."""

from __future__ import annotations

import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from simulation.fake_nvml import FakeNvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WATTS = 250.0
END_S = 60.0
REFERENCE = Path(__file__).with_name("reference.py")


def until(condition: Callable[[], object], seconds: float = 15.0, what: str = "") -> Any:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


class Training:
    """One training: where it writes, how it ended, what it found changed."""

    def __init__(self, nursery: Nursery, place: Path, order: dict[str, Any]) -> None:
        self.place = place
        self.folder = Path(order["folder"])
        self._nursery = nursery
        self._result = Path(order["result"])
        self.pid = nursery.fork(order)

    @property
    def log(self) -> str:
        return (self.place / "log").read_text()

    def samplers(self) -> list[psutil.Process]:
        """Processes that hold this training's shared memory or are its children's bootstrap."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            command = " ".join(process.info["cmdline"] or ())
            tag = (process.info["environ"] or {}).get("TRAINING")
            if "bootstrap.py" in command and tag == str(self.place):
                found.append(process)
        return found

    def started(self) -> psutil.Process:
        """Wait until the sampler keeps a record; return its process."""
        until(lambda: list(self.folder.glob("rank-0/*/readings.frames")), what="readings")
        return until(self.samplers, what="a sampler")[0]

    def code(self, seconds: float = END_S) -> int:
        """Wait for the training's end: its exit code, or minus the signal that ended it."""
        return self._nursery.code(self.pid, seconds)

    def result(self) -> dict[str, Any]:
        return dict(json.loads(self._result.read_text()))

    def gone(self, seconds: float = 30.0) -> None:
        """Wait until no process of greenai is left of it."""
        until(lambda: not self.samplers(), seconds, "the sampler's end")


class Nursery:
    """Holds a process in which torch is loaded, and forks trainings of it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(REFERENCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._pids: queue.Queue[int] = queue.Queue()
        self._codes: dict[int, int] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def fork(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._pids.get(timeout=END_S)

    def code(self, pid: int, seconds: float) -> int:
        until(lambda: pid in self._codes, seconds, "the training's end")
        return self._codes[pid]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(END_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "code" in answer:
                self._codes[answer["pid"]] = answer["code"]
            else:
                self._pids.put(answer["pid"])


@pytest.fixture(scope="session")
def nursery(compiled_nvml: Path) -> Iterator[Nursery]:
    gpus = FakeNvml(compiled_nvml)
    made = Nursery(gpus.environment(gpus=1, low_w=WATTS, high_w=WATTS, step_w=0))
    yield made
    made.close()


@pytest.fixture
def train(nursery: Nursery, tmp_path: Path) -> Iterator[Callable[..., Training]]:
    """Start a training; ``fault`` and the rest are orders of reference.py."""
    numbers = itertools.count()
    trainings: list[Training] = []
    temporaries: list[str] = []

    def start(
        *,
        folder: Path | None = None,
        metered: bool = True,
        step_s: float = 0.03,
        steps: int = 40,
        environment: dict[str, str] | None = None,
        arguments: dict[str, Any] | None = None,
        **order: Any,
    ) -> Training:
        place = tmp_path / f"training-{next(numbers)}"
        for name in ("cwd", "home", "cache"):
            (place / name).mkdir(parents=True)
        temporary = tempfile.mkdtemp(dir="/tmp")  # short: workers have sockets there
        temporaries.append(temporary)
        training = Training(
            nursery,
            place,
            {
                "folder": str(folder or place / "run"),
                "metered": metered,
                "step_s": step_s if metered else 0.0,
                "steps": steps,
                "result": str(place / "result.json"),
                "log": str(place / "log"),
                "cwd": str(place / "cwd"),
                "environment": {
                    "TMPDIR": temporary,
                    "HOME": str(place / "home"),
                    "GREENAI_CACHE_DIR": str(place / "cache"),
                    "TRAINING": str(place),
                    **(environment or {}),
                },
                "arguments": {"sensors": ["nvml"], **(arguments or {})},
                **order,
            },
        )
        trainings.append(training)
        return training

    yield start
    for training in trainings:
        for process in training.samplers():
            process.kill()
        if training.pid not in nursery._codes:
            os.kill(training.pid, 9)
    for temporary in temporaries:
        shutil.rmtree(temporary)


@pytest.fixture(scope="session")
def reference(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the weights of the training that nobody meters."""
    place = tmp_path_factory.mktemp("reference")
    (place / "home").mkdir()
    order = {
        "folder": str(place / "run"),
        "metered": False,
        "step_s": 0.0,
        "steps": 40,
        "result": str(place / "result.json"),
        "log": str(place / "log"),
        "cwd": str(place),
        "environment": {"HOME": str(place / "home")},
    }
    assert nursery.code(nursery.fork(order), END_S) == 0, (place / "log").read_text()
    return str(json.loads((place / "result.json").read_text())["weights"])
