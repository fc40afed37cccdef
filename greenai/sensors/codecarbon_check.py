"""CodeCarbon's own tracker beside ours, in a process of its own, to compare the two.

Opt-in. The sampler starts the process and tells it to stop by closing its standard input, which
also happens when the sampler dies. It runs at the lowest priority, offline and without any
configuration of CodeCarbon's, writes one file into the attempt's folder and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from time import monotonic_ns
from typing import Any

FILE = "codecarbon_check.json"
COUNTRY = "FRA"
"""CodeCarbon wants one; energies do not depend on it."""
STOP_S = 15.0
"""After the run, the process may take this long for its last measurement."""
LOWEST_PRIORITY = 19
CHECK = (
    "import json, sys; sys.path.extend(p for p in json.loads(sys.argv[1]) if p not in sys.path); "
    "from greenai.sensors.codecarbon_check import check; check(sys.argv[2])"
)


def start(attempt_folder: str) -> subprocess.Popen[bytes]:
    """Start the process; waits for nothing.

    Args:
        attempt_folder: Where it writes its file.

    Raises:
        OSError: CodeCarbon is not installed, or no process can be started.
    """
    if importlib.util.find_spec("codecarbon") is None:
        raise OSError("the package codecarbon is not installed")
    path = json.dumps([entry for entry in sys.path if entry and Path(entry).is_absolute()])
    # Neither a variable nor a file of the user's may send anything anywhere.
    ours = {k: v for k, v in os.environ.items() if not k.startswith("CODECARBON_")}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", CHECK, path, attempt_folder],
        cwd=attempt_folder,
        env={**ours, "HOME": "/nonexistent"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def stop(process: subprocess.Popen[bytes], seconds: float = STOP_S) -> bool:
    """Let the process measure a last time and write; whether it has, in time.

    Called when the record is closed: nobody but the derived files waits for it.
    """
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def check(attempt_folder: str) -> None:
    """In the process: track until standard input ends, then write what CodeCarbon has found."""
    os.nice(LOWEST_PRIORITY)
    from codecarbon import OfflineEmissionsTracker  # noqa: PLC0415 - in this process only

    tracker = OfflineEmissionsTracker(
        allow_multiple_runs=True,
        country_iso_code=COUNTRY,
        log_level="critical",
        pue=1.0,
        save_to_api=False,
        save_to_file=False,
        tracking_mode="machine",
    )
    tracker.start()
    start_ns = monotonic_ns()
    sys.stdin.buffer.read()
    end_ns = monotonic_ns()
    tracker.stop()
    write(Path(attempt_folder), tracker.final_emissions_data, start_ns, end_ns)


def write(folder: Path, found: Any, start_ns: int, end_ns: int) -> None:
    """Write CodeCarbon's energies and the time that they are of."""
    from importlib import metadata  # noqa: PLC0415 - in this process only

    plain = {
        "codecarbon": metadata.version("codecarbon"),
        "written_utc_ns": time.time_ns(),
        "start_ns": start_ns,
        "end_ns": end_ns,
        "energy_kwh": float(found.energy_consumed),
        "cpu_kwh": float(found.cpu_energy),
        "gpu_kwh": float(found.gpu_energy),
        "ram_kwh": float(found.ram_energy),
    }
    part = folder / f".{FILE}.{os.getpid()}"
    with part.open("x", encoding="utf-8") as file:  # a link in its place is not written through
        json.dump(plain, file)
    part.replace(folder / FILE)
