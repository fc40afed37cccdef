"""The identity of this host: a hash that all processes and containers on it agree on."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

DIGITS = 16
SYSCTL_S = 5.0


def host_id(proc: str = "/proc") -> str:
    """Identify the running host without naming it.

    The boot id is the same in all containers of a host, new at every boot, and tells nothing
    about its owner; a machine id is the same in cloned images.

    Args:
        proc: Root of the proc file system.

    Returns:
        16 hexadecimal digits: the start of SHA-256 of the boot id (macOS: of the boot session;
        where there is neither, of the host name).

    Example:
        >>> len(host_id())
        16
    """
    try:
        boot_id = Path(proc, "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        boot_id = _boot_session() or os.uname().nodename
    return hashlib.sha256(boot_id.encode()).hexdigest()[:DIGITS]


def _boot_session() -> str:
    """UUID of this boot on macOS; empty elsewhere."""
    if sys.platform == "darwin":
        import subprocess  # noqa: PLC0415 - only there: it costs the sampler's start 10 ms

        try:
            done = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],
                capture_output=True,
                check=True,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=SYSCTL_S,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()
    return ""
