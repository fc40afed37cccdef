"""Laws of the tracker, end to end: a real sampler process, a real record, a real loop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

import greenai
from greenai.errors import OrderError, RecordError
from greenai.live.shared import HEARTBEAT_NS
from greenai.live.tracker import _DEAD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOP = """
import sys, time
import greenai
with greenai.track({folder!r}, {arguments}) as tracker:
    for index in range({steps}):
        time.sleep({step_s})
        tracker.step(tokens=100, samples=2, loss=1.0 / (index + 1))
    {last}
"""


def loop(
    folder: Path, *, steps: int = 20, step_s: float = 0.02, last: str = "", **arguments: Any
) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return LOOP.format(folder=str(folder), arguments=text, steps=steps, step_s=step_s, last=last)


def run(code: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def until(condition: Callable[[], object], seconds: float = 10.0) -> object:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def samplers(folder: Path, *, deriving: bool = True) -> list[psutil.Process]:
    """Sampler processes that keep a record below the folder, and those that make files of it."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            command = process.info["cmdline"] or []
            if "bootstrap.py" not in " ".join(command) or ("-1" in command and not deriving):
                continue
            if any(str(folder) in file.path for file in process.open_files()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def finished(folder: Path) -> greenai.Run:
    """Load a run when its sampler has closed the record, as it does soon after the training."""
    until(lambda: not samplers(folder), 30)
    return greenai.load(folder)


def test_a_loop_is_metered_recorded_and_attributed(tmp_path: Path) -> None:
    done = run(loop(tmp_path / "run", variant="dense", steps=30))
    assert done.returncode == 0, done.stderr
    loaded = finished(tmp_path / "run")
    steps = loaded.steps()
    assert list(steps["step"]) == list(range(30))
    assert set(steps["tokens"]) == {100}
    assert loaded.variant == "dense"
    assert loaded.summary()["ended"] == "stopped"


def test_the_record_loads_after_sigkill(tmp_path: Path) -> None:
    """Given a training killed at any moment, when it is loaded, the marks are all there."""
    folder = tmp_path / "run"
    code = loop(folder, steps=60, last="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    done = run(code)
    assert done.returncode == -signal.SIGKILL
    until(lambda: not samplers(folder, deriving=False), 3)
    loaded = finished(folder)
    assert len(loaded.steps()) == 60
    assert loaded.summary()["ended"] == "parent_died"


def test_a_pipe_ends_with_the_training(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        loop(
            tmp_path / "run",
            steps=3,
            last="print('trained', flush=True); __import__('os')._exit(0)",
        )
    )
    begin = time.monotonic()
    done = subprocess.run(
        f"{sys.executable} {script} | cat",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "trained\n"
    assert time.monotonic() - begin < 8


def test_a_users_random_py_does_not_run_in_the_sampler(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text(
        "import sys, sysconfig, pathlib\n"
        "if 'bootstrap' in sys.argv[0]: raise SystemExit('the user module ran')\n"
        "own = pathlib.Path(sysconfig.get_paths()['stdlib'], 'random.py')\n"
        "exec(compile(own.read_text(), 'random.py', 'exec'))\n"
    )
    done = run(loop(tmp_path / "run", steps=60), cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    log = next((tmp_path / "run").rglob("sampler.log"))
    assert log.read_text() == "", done.stderr


def test_started_from_a_thread_that_ends(tmp_path: Path) -> None:
    """The sampler follows the process, not the thread that started it."""
    code = f"""
    import threading, time, greenai
    from greenai.settings import resolve
    from greenai.live.tracker import Tracker
    tracker = Tracker(resolve(folder={str(tmp_path / "run")!r}))
    thread = threading.Thread(target=tracker.start)
    thread.start(); thread.join()
    time.sleep(1.5)
    assert tracker._process._process.poll() is None
    tracker.step(tokens=1)  # from another thread than the one that started: refused, noted
    tracker.stop()
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert len(finished(tmp_path / "run").steps()) == 0


def test_a_forked_child_is_disarmed(tmp_path: Path) -> None:
    code = f"""
    import os, time, greenai
    with greenai.track({str(tmp_path / "run")!r}) as tracker:
        tracker.step(tokens=1)
        child = os.fork()
        if child == 0:
            for _ in range(5):
                tracker.step(tokens=1000)
            tracker.stop()
            raise SystemExit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0
        time.sleep(0.2)
        tracker.step(tokens=1)
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert list(finished(tmp_path / "run").steps()["tokens"]) == [1, 1]


def test_a_dead_sampler_is_restarted_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = loop(folder, steps=400, step_s=0.02)
    with subprocess.Popen([sys.executable, "-c", code]) as training:
        (first,) = until(lambda: samplers(folder))  # type: ignore[misc]
        time.sleep(1.5)
        first.kill()
        (second,) = until(lambda: [p for p in samplers(folder) if p.pid != first.pid])  # type: ignore[misc]
        assert second.pid != first.pid
        assert training.wait(30) == 0
    loaded = finished(folder)
    assert list(loaded.steps()["step"]) == list(range(400))


def test_a_sampler_that_cannot_be_restarted_is_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a limit on processes, which counts threads, the training hears what it means."""
    tracker = greenai.track(tmp_path / "run", sensors=[]).start()
    assert tracker._process is not None
    tracker._process._process.kill()
    tracker._process.wait(10)
    tracker._region.header[HEARTBEAT_NS] = 0  # type: ignore[union-attr]

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", refuse)
        tracker._look_ns = 0
        tracker.step()
    assert [one.getMessage() for one in caplog.records] == [_DEAD]
    tracker.step()
    tracker.stop()


def test_stop_returns_soon_and_twice_is_once(tmp_path: Path) -> None:
    tracker = greenai.track(tmp_path / "run", sensors=[])
    tracker.start()
    time.sleep(1)
    begin = time.monotonic()
    tracker.stop()
    assert time.monotonic() - begin < 1
    tracker.stop()
    with pytest.raises(OrderError):
        tracker.start()


def test_stop_can_wait_for_the_derived_files(tmp_path: Path) -> None:
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        tracker.step(tokens=5)
        tracker.stop(wait=True)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"steps.csv", "steps.parquet", "phases.csv", "summary.json", "report.html"} <= names
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["energy_j"] is None


def test_an_existing_run_is_never_overwritten(tmp_path: Path) -> None:
    for expected in ("run", "run-2", "run-3"):
        with greenai.track(tmp_path / "run", sensors=[]) as tracker:
            tracker.step(tokens=1)
        assert tracker.run_folder.name == expected
    with greenai.track(tmp_path / "run", sensors=[], resume=True) as tracker:
        tracker.step(tokens=1)
    assert tracker.run_folder.name == "run"
    until(lambda: not samplers(tmp_path), 30)
    assert sorted(finished(tmp_path / "run").steps()["attempt"]) == [0, 1]


def test_a_folder_that_cannot_be_written_is_an_error_at_start() -> None:
    with pytest.raises(RecordError, match="proc"):
        greenai.track("/proc/greenai-run", sensors=[]).start()


def test_where_no_process_may_be_started_a_thread_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("fork is forbidden here")

    monkeypatch.setattr("greenai.live.process.subprocess.Popen", refuse)
    with greenai.track(tmp_path / "run", sensors=["codecarbon"]) as tracker:
        for _ in range(10):
            time.sleep(0.05)
            tracker.step(tokens=3)
        tracker.stop(wait=True)
    loaded = finished(tmp_path / "run")
    assert len(loaded.steps()) == 10
    assert "thread" in loaded.record.attempts[0].manifest["sampler"]


def test_no_thread_or_process_is_left(tmp_path: Path) -> None:
    before = threading.active_count()
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        tracker.step(tokens=1)
    until(lambda: not samplers(tmp_path), 30)
    until(lambda: threading.active_count() <= before, 5)
    children = psutil.Process().children()
    assert not [child for child in children if child.status() == psutil.STATUS_ZOMBIE]


def test_a_taken_port_moves_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with greenai.track(tmp_path / "run", sensors=[], metrics_port=port) as tracker:
            until(lambda: tracker.metrics_url)
            tracker._look_ns = 0
            tracker.step(tokens=1)
            text = urllib.request.urlopen(str(tracker.metrics_url)).read().decode()
            assert f":{port}/" not in str(tracker.metrics_url)
    assert "greenai_run_info" in text
    assert f"Port {port} is taken" in caplog.text
    assert tracker.metrics_url is None


def test_the_endpoint_agrees_with_the_record_at_the_end(tmp_path: Path) -> None:
    with greenai.track(tmp_path / "run", sensors=["codecarbon"], metrics_port=0) as tracker:
        for _ in range(30):
            time.sleep(0.05)
            tracker.step(tokens=10)
        until(lambda: tracker.totals().steps == 30)
        text = urllib.request.urlopen(str(tracker.metrics_url)).read().decode()
    assert 'greenai_optimizer_steps_total{attempt="0"' in text
    samples = re.findall(r"^greenai_energy_joules_total\{.*\} (\S+)$", text, re.MULTILINE)
    served_j = sum(float(value) for value in samples)
    assert 0 < served_j <= finished(tmp_path / "run").energy()


@pytest.mark.parametrize(
    "nonsense",
    [
        {"index": "first"},
        {"index": -1},
        {"index": 2**40},
        {"epoch": np.zeros(3)},
        {"tokens": "many"},
        {"loss": [1.0]},
        {"batches": None},
        {"flops": object()},
    ],
)
def test_nonsense_given_to_step_never_raises(tmp_path: Path, nonsense: dict[str, Any]) -> None:
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        tracker.step(tokens=1)
        tracker.step(**nonsense)
        tracker.value(7, 1.0, 0)  # type: ignore[arg-type]
        tracker.begin("sleeping")
        with tracker.phase("dreaming"):
            pass
        tracker.step(tokens=2, index=77)
    steps = finished(tmp_path / "run").steps()
    assert steps["step"].iloc[[0, -1]].tolist() == [0, 77]


def test_a_sampler_that_cannot_live_is_said_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('this interpreter is broken')")
    monkeypatch.setattr("greenai.live.process.BOOTSTRAP", broken)
    with greenai.track(tmp_path / "run", sensors=[]) as tracker:
        until(lambda: tracker._process is not None and tracker._process.has_ended)
        tracker.step(tokens=1)
    assert "ended before the training" in caplog.text
    log = next((tmp_path / "run").rglob("sampler.log"))
    assert "broken" in log.read_text()
