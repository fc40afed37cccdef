"""Starting the sampler process, watching that it lives, and letting it go without a trace."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from greenai.live.shared import HEARTBEAT_NS
from greenai.units import NS_PER_S

if TYPE_CHECKING:
    from greenai.live.shared import Region

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
SILENT_NS = 2 * NS_PER_S
"""A heartbeat older than this makes us look whether the process lives."""


class SamplerProcess:
    """The companion process of one tracker.

    Args:
        region: Shared memory; its descriptor is the only one handed on.
        log: File that takes the process's output. An inherited stdout would keep
            ``train.py | cat`` open after the training.

    Raises:
        OSError: No process may be started here.
    """

    def __init__(self, region: Region, log: Path) -> None:
        self._region = region
        self._log = log
        self._restarted = False
        self._released = False
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Process id of the sampler."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def look(self) -> bool:
        """Restart the sampler, once, if it has died; called now and then from the training.

        The start itself happens on a thread of its own, so that the training waits for nothing.

        Returns:
            False where it has died for good: a second time, or where no thread may be started.
        """
        silent_ns = monotonic_ns() - int(self._region.header[HEARTBEAT_NS])
        if silent_ns < SILENT_NS or not self.has_ended:
            return True
        if self._restarted:
            return False
        self._restarted = True
        self._region.header[HEARTBEAT_NS] = monotonic_ns()  # time for the new one to begin
        try:
            threading.Thread(target=self._restart, name="greenai-restart", daemon=True).start()
        except RuntimeError:  # the limit on processes counts threads too
            return False
        logging.getLogger("greenai").warning("The sampler process died and is started once more.")
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the process's end; False where it has not come in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def release(self) -> None:
        """Leave the process to end by itself; a thread reaps it, so that no zombie is left."""
        self._released = True
        if self.has_ended:
            return
        process = self._process
        try:
            threading.Thread(target=process.wait, name="greenai-reap", daemon=True).start()
        except RuntimeError:  # the interpreter is shutting down: the system reaps it soon
            self.forget()

    def forget(self) -> None:
        """In a forked child: the process is not this process's child, so it is not waited for."""
        self._process.returncode = 0

    def _restart(self) -> None:
        try:
            process = self._process = self._start()
        except OSError:
            return
        if self._released:  # the training has stopped meanwhile: nobody else will reap it
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(self._log, flags, 0o644)
        try:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    str(BOOTSTRAP),
                    str(self._region.descriptor),
                    json.dumps(
                        [entry for entry in sys.path if entry and Path(entry).is_absolute()]
                    ),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
                pass_fds=(self._region.descriptor,),
                start_new_session=True,
            )
        finally:
            os.close(log)
