"""The simulated NVML seen from a test: compiles it, sets its knobs, knows the true energy."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from time import monotonic_ns

from simulation.boards import Boards, Knobs

SOURCE = Path(__file__).with_name("fake_nvml.c")
RUN_S = 30.0
COUNTS = struct.Struct("=2Q")


class FakeNvml:
    """A folder with a simulated ``libnvidia-ml.so.1``.

    LD_LIBRARY_PATH acts on new processes only: start them with ``environment(...)``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.t0_ns = monotonic_ns()
        self._calls_file = folder / f"calls-{self.t0_ns}"
        self._knobs: dict[str, str] = {}
        self.boards = Boards(Knobs({}))

    @staticmethod
    def compiler() -> str | None:
        return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

    @classmethod
    def compiled(cls, folder: Path) -> FakeNvml:
        library = folder / "libnvidia-ml.so.1"
        # No fused multiply-add: the Python twin has none, and both shall show the same figures.
        flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-ffp-contract=off"]
        command = [cls.compiler() or "cc", *flags, "-o", str(library), str(SOURCE), "-lm"]
        subprocess.run(command, check=True)
        return cls(folder)

    def environment(self, *, visible: str | None = None, **knobs: object) -> dict[str, str]:
        """Variables for a process that shall see the simulated GPUs.

        Args:
            visible: CUDA_VISIBLE_DEVICES; None leaves it unset.
            **knobs: As in the C source, in small letters and without FAKE_NVML_.
        """
        given = {name.upper(): str(value) for name, value in knobs.items()}
        self._knobs = {"T0_NS": str(self.t0_ns), "CALLS_FILE": str(self._calls_file), **given}
        self.boards = Boards(Knobs(self._knobs))
        paths = [str(self.folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        plain = {
            name: value
            for name, value in os.environ.items()
            if name not in {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
        }
        return {
            **plain,
            **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}),
            "LD_LIBRARY_PATH": os.pathsep.join(paths),
            **{f"FAKE_NVML_{name}": value for name, value in self._knobs.items()},
        }

    def uuid(self, gpu: int) -> str:
        return uuid_of(gpu)

    def slice_uuid(self, gpu: int, number: int) -> str:
        """UUID of a slice of a board that is cut; they are numbered from 0."""
        return uuid_of(gpu, number + 1)

    def energy_j(self, gpu: int, t0_ns: int, t1_ns: int, *, module: bool = False) -> float:
        """True energy of a GPU (of its module) between two moments.

        The knobs are those of the latest environment; times are of the monotonic clock.
        """
        end_j = self.boards.energy_j(gpu, self._since_t0_s(t1_ns), module=module)
        return end_j - self.boards.energy_j(gpu, self._since_t0_s(t0_ns), module=module)

    def power_w(self, gpu: int, t_ns: int, *, module: bool = False) -> float:
        """True power of a GPU (of its module) at a moment."""
        return self.boards.power_w(gpu, self._since_t0_s(t_ns), module=module)

    def counter_j(self, gpu: int, t_ns: int) -> float:
        """True value of the counter, were it refreshed at once."""
        return self.boards.base_j + self.boards.energy_j(gpu, self._since_t0_s(t_ns))

    def calls(self) -> tuple[int, int]:
        """Calls of the driver so far by all processes of this simulation; reads of counters."""
        try:
            calls, counters = COUNTS.unpack(self._calls_file.read_bytes())
        except (FileNotFoundError, struct.error):
            return 0, 0
        return calls, counters

    def run(self, code: str, *arguments: str, **knobs: object) -> subprocess.CompletedProcess[str]:
        """Run code in a process that sees the simulated GPUs."""
        visible = knobs.pop("visible", None)
        shown = None if visible is None else str(visible)
        return self.run_in(self.environment(visible=shown, **knobs), code, *arguments)

    def run_in(
        self, environment: dict[str, str], code: str, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Run code in a process with these variables."""
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            check=True,
            env=environment,
            text=True,
            timeout=RUN_S,
        )

    def _since_t0_s(self, t_ns: int) -> float:
        return (t_ns - self.t0_ns) / 1e9


def uuid_of(gpu: int, slice_: int = 0) -> str:
    """UUID of a board, or of one of its slices, which are numbered from 1."""
    kind, last = ("MIG", 43 + slice_) if slice_ else ("GPU", 44)
    return f"{kind}-{(gpu + 1) * 0x01010000:08x}-1111-2222-3333-4444444444{last:02d}"
