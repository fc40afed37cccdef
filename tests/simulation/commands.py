"""Programs that stand in for ipmitool and sacct, first on PATH, with their faults."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

IPMI_ANSWER = """
    Instantaneous power reading:              {watts:>8} Watts
    Minimum during sampling period:                 6 Watts
    Maximum during sampling period:               999 Watts
    Average power reading over sample period:     321 Watts
    IPMI timestamp:                           11/25/26 10:00:00 UTC
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}

"""


def program(folder: Path, name: str, code: str, patch: pytest.MonkeyPatch) -> Path:
    """Put a program of some lines of Python first on PATH; a second call replaces it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable} -IS\nimport sys, time\n{code}\n", encoding="utf-8")
    path.chmod(0o755)
    patch.setenv("PATH", str(folder))
    return path


def ipmi_code(watts: int, state: str = "activated") -> str:
    return f"sys.stdout.write({IPMI_ANSWER.format(watts=watts, state=state)!r})"


def sacct_code(power_w: float, t0_ns: int) -> str:
    asked = "['-X', '-j', '42', '-o', 'ConsumedEnergyRaw', '-n', '-P']"
    energy_j = f"int(1000 + {power_w} * (time.monotonic_ns() - {t0_ns}) / 1e9)"
    return f"assert sys.argv[1:] == {asked}\nprint({energy_j})"
