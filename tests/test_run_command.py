"""Laws of ``greenai run``: the command is as if it had been started alone, and its run is there."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = [sys.executable, "-m", "greenai", "run", "--sensor", "assumed:x=100", "--folder", "run"]
COUNTS_SIGNALS = """
import signal, sys, time
got = []
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), lambda number, _: got.append(signal.Signals(number).name))
print("ready", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print(*got, flush=True)
sys.exit(7)
"""


def started(folder: Path, *command: str, **more: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([*RUN, "--", *command], cwd=folder, text=True, **pipes)


def ended(process: subprocess.Popen[str], said: str | None = None) -> tuple[int, str, str]:
    out, err = process.communicate(said, timeout=60)
    return process.returncode, out, err


def test_input_output_environment_and_exit_code_are_the_commands(tmp_path: Path) -> None:
    script = "import sys; print(sys.stdin.read().upper()); print('e', file=sys.stderr); sys.exit(5)"
    code, out, err = ended(started(tmp_path, sys.executable, "-c", script), "abc")
    assert (code, out) == (5, "ABC\n")
    assert err.startswith("e\n")
    assert "record: " in err  # what is ours goes to standard error
    run = greenai.load(tmp_path / "run")
    assert run.summary()["ended"] == "stopped"
    assert run.steps().empty


def test_the_time_of_the_command_is_one_span(tmp_path: Path) -> None:
    assert ended(started(tmp_path, "sleep", "1.2"))[0] == 0
    run = greenai.load(tmp_path / "run")
    phases = run.phases().set_index("phase")
    assert phases["duration_s"]["other"] == pytest.approx(run.summary()["duration_s"], rel=0.05)
    assert phases["energy_j"].sum() == pytest.approx(run.energy(), rel=1e-9)
    assert run.energy() > 0


def test_a_command_that_a_signal_ends_is_told_as_a_shell_does(tmp_path: Path) -> None:
    assert ended(started(tmp_path, "sh", "-c", "kill -9 $$"))[0] == 128 + signal.SIGKILL


def test_what_cannot_be_run_has_a_shells_code_and_leaves_no_record(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    missing = ended(started(tmp_path, "no-such-program"))
    plain_file = ended(started(tmp_path, "./text"))
    assert (missing[0], plain_file[0]) == (127, 126)
    assert "no-such-program is not found" in missing[2]
    assert not (tmp_path / "run").exists()


def test_a_wrong_option_is_refused_before_the_command_runs(tmp_path: Path) -> None:
    told = subprocess.run(
        [*RUN, "--pue", "0.5", "--", "touch", "ran"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "PUE is 0.5" in told.stderr
    assert not (tmp_path / "ran").exists()


def test_options_after_the_command_are_the_commands(tmp_path: Path) -> None:
    told = subprocess.run(
        [*RUN, "echo", "--folder", "x", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.stdout == "--folder x --help\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_goes_through_once_and_the_record_is_closed(name: str, tmp_path: Path) -> None:
    process = started(tmp_path, sys.executable, "-c", COUNTS_SIGNALS, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    code, out, _ = ended(process)
    assert (code, out) == (7, f"{name}\n")
    assert greenai.load(tmp_path / "run").summary()["ended"] == "stopped"


def at_a_terminal(folder: Path, command: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command as a shell does in a terminal of its own."""
    ours, theirs = pty.openpty()
    takes = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    takes += "os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", takes, *command],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    return process, ours


def read_until(terminal: int, found: Callable[[str], bool]) -> str:
    text, give_up = "", time.monotonic() + 30
    while not found(text) and time.monotonic() < give_up:
        try:
            text += os.read(terminal, 4096).decode()
        except OSError:  # all of the other side is closed
            break
    return text


def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path: Path) -> None:
    process, terminal = at_a_terminal(tmp_path, [*RUN, "--", sys.executable, "-c", COUNTS_SIGNALS])
    read_until(terminal, lambda text: "ready" in text)
    os.write(terminal, b"\x03")
    text = read_until(terminal, lambda text: "record: " in text)
    assert process.wait(30) == 7
    os.close(terminal)
    assert text.count("SIGINT") == 1


def test_the_command_has_the_terminal(tmp_path: Path) -> None:
    script = "import os; print('tty', os.isatty(0), os.isatty(1), os.isatty(2), input())"
    process, terminal = at_a_terminal(tmp_path, [*RUN, "--", sys.executable, "-c", script])
    os.write(terminal, b"typed\n")
    text = read_until(terminal, lambda text: "record: " in text)
    assert process.wait(30) == 0
    os.close(terminal)
    assert "tty True True True typed" in text


def test_no_process_is_left_and_none_is_a_zombie(tmp_path: Path) -> None:
    process = started(tmp_path, "sleep", "0.5")
    inside = psutil.Process(process.pid)
    give_up, seen = time.monotonic() + 30, set[psutil.Process]()
    while not any("sleep" in one.name() for one in seen) and time.monotonic() < give_up:
        seen |= set(inside.children(recursive=True))
    assert ended(process)[0] == 0
    _, alive = psutil.wait_procs(seen, timeout=20)
    assert alive == []


def test_where_it_is_killed_the_command_lives_on_and_the_record_loads(tmp_path: Path) -> None:
    process = started(tmp_path, "sh", "-c", "echo $$; exec sleep 30")
    assert process.stdout is not None
    inner = psutil.Process(int(process.stdout.readline()))
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up and not list((tmp_path / "run").glob("rank-0/*/marks.frames")):
        time.sleep(0.02)
    process.kill()
    process.wait(30)
    assert inner.is_running()
    inner.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    while time.monotonic() < give_up and not (tmp_path / "run" / "summary.json").exists():
        time.sleep(0.05)
    assert greenai.load(tmp_path / "run").summary()["ended"] == "parent_died"
