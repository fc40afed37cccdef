"""Files of the kernel's hwmon tree: one number or one word each, opened anew for every read."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT_BYTES = 256
NUMBERED = re.compile(r"\D+(\d+)")

FAILURES = (OSError, ValueError)
"""What ``number`` raises."""


def number(path: Path) -> float:
    """Read a whole number.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds no number.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.read(descriptor, TEXT_BYTES)
    finally:
        os.close(descriptor)
    text = raw.strip()
    if not text.removeprefix(b"-").isdigit():
        raise ValueError(f"{path.name} reads {raw[:32]!r}, which is no number")
    return float(int(text))


def word(path: Path) -> str:
    """Read a word, such as a label; empty where there is none.

    Example:
        >>> from pathlib import Path
        >>> word(Path("/nonexistent/name"))
        ''
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def numbered(folder: Path, pattern: str) -> Iterator[Path]:
    """Entries of a folder that fit a pattern, in the order of their first number.

    Example:
        >>> from pathlib import Path
        >>> list(numbered(Path("/nonexistent"), "hwmon*"))
        []
    """

    def place(path: Path) -> tuple[int, str]:
        found = NUMBERED.match(path.name)
        return (int(found.group(1)) if found else -1, path.name)

    yield from sorted(folder.glob(pattern), key=place)


def why(error: Exception) -> str:
    """Say what is the matter with a file, without its path.

    Example:
        >>> why(PermissionError(13, "Permission denied")), why(ValueError("x reads b'?'"))
        ('Permission denied', "x reads b'?'")
    """
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
