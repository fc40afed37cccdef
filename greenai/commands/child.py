"""Running a command for somebody else: its input, output, signals and exit code are its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes as shells have them; a signal's number is added to the last."""
_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (*_KEYBOARD, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def unusable(command: Sequence[str]) -> int | None:
    """Exit code of a command that cannot be started; None where it can.

    Example:
        >>> unusable(["/no/such/program"]), unusable(["sh", "-c", "true"])
        (127, None)
    """
    if shutil.which(command[0]) is not None:
        return None
    return NOT_EXECUTABLE if os.path.exists(command[0]) else NOT_FOUND  # noqa: PTH110 - a word of a command line


class Child:
    """A command in the foreground of this process, which signals go through to.

    Handlers of the signals are installed before the command is started: they are then caught here
    and, after exec, at their defaults there. What was ignored (``nohup``) stays ignored in both.

    Args:
        command: Program and arguments, never seen by a shell.

    Example:
        >>> Child(["sh", "-c", "exit 3"]).run()
        3
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def run(self) -> int:
        """Run the command to its end.

        Returns:
            Its exit code; 128 and the signal's number where a signal has ended it.
        """
        for passed_on in _PASSED_ON:
            if signal.getsignal(passed_on) is not signal.SIG_IGN:
                signal.signal(passed_on, self._pass_on)
        try:
            # Open files of the caller are handed on (a make's jobserver); ours close by themselves.
            self._process = subprocess.Popen(self._command, close_fds=False)
        except OSError:  # its interpreter is missing, or it is no program
            return NOT_EXECUTABLE
        for number in self._early:
            self._process.send_signal(number)
        code = self._process.wait()
        return code if code >= 0 else SIGNALLED - code

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if number in _KEYBOARD and _at_the_keyboard():
            return  # the terminal has sent it to the command as well
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


def _at_the_keyboard() -> bool:
    """Whether this process is in the foreground of a terminal, whose keys signal all of it."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # there is no terminal
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
