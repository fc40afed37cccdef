"""Text for a record without what it tells of the machine: no path of the user's, no host name."""

from __future__ import annotations

import contextlib
import os
import re
from functools import cache
from typing import Any

PATH = "<path>"
HOST = "<host>"

_SYSTEM = r"(?:sys|proc|dev|run|usr|etc|lib|lib64|bin|sbin|opt/rocm|opt/habanalabs)(?![\w.-])"
"""Where the paths of hardware and of the system lie: alike on all machines, and needed in hints."""
_QUOTED = re.compile(rf"(['\"])(?:~|/(?!{_SYSTEM}))[^'\"\n]*\1")
"""As Python's errors show a path: it may hold spaces."""
_BARE = re.compile(rf"(?<![\w./*?\]])(?:~/|/(?!/|{_SYSTEM}))[^\s'\",;:()<>]+")
_HOST_CHARACTERS_MIN = 3


def discreet(text: str) -> str:
    """Take paths of the user's and the name of this machine out of a text.

    Errors of the system carry paths in their text, and a record is handed on.

    Args:
        text: A reason or a hint.

    Returns:
        The text with ``<path>`` and ``<host>`` in their places.

    Example:
        >>> discreet("[Errno 2] No such file: '/home/ada/my work/x' (/sys/class/hwmon is there)")
        '[Errno 2] No such file: <path> (/sys/class/hwmon is there)'
    """
    for known, instead in _known():
        text = known.sub(instead, text)
    return _BARE.sub(PATH, _QUOTED.sub(PATH, text))


def discreet_json(value: Any) -> Any:
    """Do the same for every text within a plain value; keys stay."""
    if isinstance(value, str):
        return discreet(value)
    if isinstance(value, dict):
        return {key: discreet_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [discreet_json(inner) for inner in value]
    return value


@cache
def _known() -> tuple[tuple[re.Pattern[str], str], ...]:
    """This machine's name, and folders that may hold spaces."""
    folders = {os.path.expanduser("~"), os.environ.get("PWD", "")}  # noqa: PTH111 - may be unknown
    with contextlib.suppress(OSError):  # the folder may be gone
        folders.add(os.getcwd())  # noqa: PTH109 - a Path is of no use here
    host = os.uname().nodename
    return (
        *(
            (re.compile(rf"{re.escape(folder)}(/[^\s'\",;:()<>]*)?"), PATH)
            for folder in sorted(folders, key=len, reverse=True)
            if folder.count("/") > 1 and not re.match(rf"/{_SYSTEM}", folder)
        ),
        *(
            (re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), HOST)
            for name in dict.fromkeys((host, host.partition(".")[0]))
            if len(name) >= _HOST_CHARACTERS_MIN and name != "localhost"
        ),
    )
