"""The simulated NVML seen from a test: compiles it, sets its knobs, knows the true energy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic_ns

SOURCE = Path(__file__).with_name("fake_nvml.c")
RUN_S = 30.0
KNOBS = {
    "GPUS": 1.0,
    "BASE_J": 1000.0,
    "LOW_W": 100.0,
    "WAVE_MS": 500.0,
    "STEP_W": 0.0,
}
"""The waveform's knobs and what they are when not set, as in the C source."""


class FakeNvml:
    """A folder with a simulated ``libnvidia-ml.so.1``.

    LD_LIBRARY_PATH acts on new processes only: start them with ``environment(...)``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.t0_ns = monotonic_ns()
        self._knobs: dict[str, str] = {}

    @staticmethod
    def compiler() -> str | None:
        return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

    @classmethod
    def compiled(cls, folder: Path) -> FakeNvml:
        library = folder / "libnvidia-ml.so.1"
        command = [cls.compiler() or "cc", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra"]
        subprocess.run([*command, "-o", str(library), str(SOURCE), "-lm"], check=True)
        return cls(folder)

    def environment(self, *, visible: str | None = None, **knobs: object) -> dict[str, str]:
        """Variables for a process that shall see the simulated GPUs.

        Args:
            visible: CUDA_VISIBLE_DEVICES; None leaves it unset.
            **knobs: As in the C source, in small letters and without FAKE_NVML_.
        """
        self._knobs = {name.upper(): str(value) for name, value in knobs.items()}
        paths = [str(self.folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        plain = {
            name: value
            for name, value in os.environ.items()
            if name not in {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
        }
        shown = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        return {
            **plain,
            **shown,
            "LD_LIBRARY_PATH": os.pathsep.join(paths),
            "FAKE_NVML_T0_NS": str(self.t0_ns),
            **{f"FAKE_NVML_{name}": value for name, value in self._knobs.items()},
        }

    def uuid(self, gpu: int) -> str:
        return f"GPU-{(gpu + 1) * 0x01010000:08x}-1111-2222-3333-444444444444"

    def energy_j(self, gpu: int, t0_ns: int, t1_ns: int) -> float:
        """True energy of a GPU between two moments, with the knobs of the latest environment."""
        return self._since_t0_j(gpu, t1_ns) - self._since_t0_j(gpu, t0_ns)

    def counter_j(self, gpu: int, t_ns: int) -> float:
        """True value of the counter, were it refreshed at once."""
        return self._knob("BASE_J") + self._since_t0_j(gpu, t_ns)

    def run(self, code: str, *arguments: str, **knobs: object) -> subprocess.CompletedProcess[str]:
        """Run code in a process that sees the simulated GPUs."""
        visible = knobs.pop("visible", None)
        shown = None if visible is None else str(visible)
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            check=True,
            env=self.environment(visible=shown, **knobs),
            text=True,
            timeout=RUN_S,
        )

    def _knob(self, name: str) -> float:
        return float(self._knobs.get(name, KNOBS[name]))

    def _since_t0_j(self, gpu: int, t_ns: int) -> float:
        seconds = (t_ns - self.t0_ns) / 1e9
        if seconds <= 0:
            return 0.0
        wave_s, low_w = self._knob("WAVE_MS") / 1e3, self._knob("LOW_W")
        swing_w = float(self._knobs.get("HIGH_W", low_w)) - low_w
        whole, rest_s = divmod(seconds, wave_s)
        high_s = whole * wave_s / 2 + min(rest_s, wave_s / 2)
        return (low_w + gpu * self._knob("STEP_W")) * seconds + swing_w * high_s
