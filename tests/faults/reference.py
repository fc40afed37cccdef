"""The reference training of the fault tests: a real one, whose weights are the same every time.

Run as a script it is a nursery: torch is loaded once, and every line of JSON on stdin forks one
training, in a session, a folder and a temporary folder of its own. Answers are lines of JSON too.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.utils.data

sys.path.append(str(Path(__file__).parent))

from refusing import refuse

STEPS = 40
WORKER_S = 0.2
SHM = "/dev/shm"  # noqa: S108 - what is hidden, not what is written


def main() -> None:
    """Fork a training for every line until stdin ends."""
    torch.set_num_threads(1)
    train({"steps": 2, "step_s": 0.0}, None)  # torch's first step imports, and sets variables
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_a_process_of_its_own(order)
            code = 70
            try:
                code = _train_and_tell(order)
            except SystemExit as end:
                code = int(end.code or 0)
            except KeyboardInterrupt:
                code = 130
            except BaseException:  # noqa: BLE001 - what Python does with an uncaught error
                traceback.print_exc()
                code = 1
            _run_atexit()
            sys.stderr.flush()
            os._exit(code)
        threading.Thread(target=_tell_end, args=(pid,), daemon=True).start()
        _say({"pid": pid})


def train(order: dict[str, Any], tracker: Any) -> str:
    """Train a small network; return the hash of its weights."""
    torch.manual_seed(7)
    model = torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(32, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for index, batch in enumerate(_batches(order)):
        loss = (model(batch) - batch.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(order["step_s"])
        if tracker is not None:
            tracker.step(samples=len(batch), loss=float(loss.detach()))
        _happen(order, index, tracker)
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


class _Data(torch.utils.data.Dataset[torch.Tensor]):
    """The same rows in every process."""

    def __init__(self, steps: int) -> None:
        generator = torch.Generator().manual_seed(11)
        self.rows = torch.randn(8 * steps, 16, generator=generator)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.rows[index]


def _batches(order: dict[str, Any]) -> Any:
    more: dict[str, Any] = {}
    if order.get("workers"):
        more = {"num_workers": 2, "multiprocessing_context": order["workers"]}
    return torch.utils.data.DataLoader(_Data(order["steps"]), batch_size=8, **more)


def _happen(order: dict[str, Any], index: int, tracker: Any) -> None:
    """What the training does to itself at the step of its fault."""
    if index != order["steps"] // 2:
        return
    fault = order.get("fault")
    if fault == "exception":
        raise RuntimeError("the training's own error")
    if fault == "exit":
        os._exit(3)
    if fault == "system_exit":
        raise SystemExit(5)
    if fault == "abort":
        os.abort()
    if fault == "thread" and tracker is not None:
        other = threading.Thread(target=tracker.step, kwargs={"samples": 1_000_000})
        other.start()
        other.join()
    if fault == "fork":
        pid = os.fork()
        if pid == 0:
            if tracker is not None:
                tracker.step(samples=1_000_000)
                tracker.stop()
            time.sleep(WORKER_S)
            os._exit(0)
        os.waitpid(pid, 0)


def _train_and_tell(order: dict[str, Any]) -> int:
    before = _surroundings()
    started = {"start_s": 0.0, "stop_s": 0.0}
    weights = _metered(order, started) if order["metered"] else train(order, None)
    time.sleep(0.3)  # a thread of ours reaps the sampler
    after = _surroundings()
    Path(order["result"]).write_text(
        json.dumps(
            {
                "weights": weights,
                **started,
                "changed": {
                    key: [before[key], after[key]] for key in before if before[key] != after[key]
                },
                "zombies": sum(
                    child.status() == psutil.STATUS_ZOMBIE
                    for child in psutil.Process().children(recursive=True)
                ),
            }
        )
    )
    return 0


def _metered(order: dict[str, Any], took: dict[str, float]) -> str:
    import greenai  # noqa: PLC0415 - the unmetered training never sees it

    tracker = greenai.track(order["folder"], **order.get("arguments", {}))
    begin = time.monotonic()
    tracker.start()
    took["start_s"] = time.monotonic() - begin
    tracker.train_start()
    try:
        weights = train(order, tracker)
    finally:
        begin = time.monotonic()
        if order.get("stop", True):
            tracker.stop()
        took["stop_s"] = time.monotonic() - begin
    return weights


def _surroundings() -> dict[str, Any]:
    """What nothing of ours may change."""
    return {
        "signals": [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "environment": dict(os.environ),
        "folder": sorted(os.listdir()),  # noqa: PTH208 - names only
        "temporary": sorted(os.listdir(tempfile.gettempdir())),  # noqa: PTH208 - names only
        "home": sorted(os.listdir(os.environ["HOME"])),  # noqa: PTH208 - names only
        "umask": _umask(),
        "switch_interval": sys.getswitchinterval(),
        "excepthook": repr(sys.excepthook),
    }


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def _be_a_process_of_its_own(order: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(order["cwd"])
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the nursery's orders are not ours
    tempfile.tempdir = None
    os.environ.update(order.get("environment", {}))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order.get("hide_shm"):
        _hide_shm()
    if order.get("refuse"):
        refuse(order["refuse"])


def _hide_shm() -> None:
    import ctypes  # noqa: PLC0415 - one fault needs it
    import subprocess  # noqa: PLC0415 - one fault needs it

    clone_newns = 0x20000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newns) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=4k", "none", SHM], check=True)


def _run_atexit() -> None:
    import atexit  # noqa: PLC0415 - os._exit skips what a real end runs

    atexit._run_exitfuncs()


def _tell_end(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    _say({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(answer: dict[str, Any]) -> None:
    os.write(1, (json.dumps(answer) + "\n").encode())


if __name__ == "__main__":
    main()
