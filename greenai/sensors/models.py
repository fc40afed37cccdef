"""Numbers of the power models of one machine, and the cache that keeps them between runs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import platform
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

SERIES = re.compile(r"3\.(\d+)")
OLDEST = 2
WATTS_MAX = 100_000.0
"""No machine draws more; a cached file that says so is not believed."""


class Machine(NamedTuple):
    """What the models' numbers depend on.

    Attributes:
        facts: CPU models, counts and memory, as text; equal texts are equal machines.
        virtual: Whether this is a guest, to whom the whole CPU may not belong.
    """

    facts: str
    virtual: bool


@dataclasses.dataclass(frozen=True, slots=True)
class PowerModels:
    """Power models of CPU and RAM of one machine.

    Attributes:
        version: Of codecarbon.
        cpu_model: Product name of the CPU.
        cpu_known: Whether the CPU is in the table of design powers.
        sockets: CPUs that ``tdp_w`` counts.
        tdp_w: Design power of all of them: the most that the model gives.
        ram_w: Power of the memory, at any load.
        formula: CPU power at evenly spaced loads from 0 to 1.
    """

    version: str
    cpu_model: str
    cpu_known: bool
    sockets: int
    tdp_w: float
    ram_w: float
    formula: tuple[float, ...]

    def cpu_w(self, load: float) -> float:
        """CPU power at a load between 0 and 1, linear between the points of the formula.

        Example:
            >>> PowerModels("3.3", "x", True, 1, 100.0, 10.0, (10.0, 20.0, 100.0)).cpu_w(0.75)
            60.0
        """
        place = min(1.0, max(0.0, load)) * (len(self.formula) - 1)
        below = min(int(place), len(self.formula) - 2)
        low_w, high_w = self.formula[below], self.formula[below + 1]
        return low_w + (place - below) * (high_w - low_w)


def supported(version: str) -> bool:
    """Whether the models of a version of codecarbon are known to us.

    Example:
        >>> supported("3.2.0"), supported("3.11.1"), supported("2.8.4"), supported("4.0.0")
        (True, True, False, False)
    """
    series = SERIES.match(version)
    return series is not None and int(series.group(1)) >= OLDEST


def machine(proc: str = "/proc") -> Machine:
    """Describe this machine as far as the models look at it; costs a few milliseconds."""
    try:
        text = Path(proc, "cpuinfo").read_text(encoding="utf-8", errors="replace")
        memory = Path(proc, "meminfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text, memory = platform.processor(), ""
    lines = [line.partition(":") for line in text.splitlines()]
    fields = [(name.strip(), value.strip()) for name, _, value in lines]
    facts = {
        "architecture": platform.machine(),
        "models": sorted({value for name, value in fields if name in {"model name", "CPU part"}}),
        "threads": os.cpu_count(),
        "sockets": len({value for name, value in fields if name == "physical id"}),
        "memory": memory.partition("\n")[0],
    }
    virtual = any(name == "flags" and "hypervisor" in value.split() for name, value in fields)
    return Machine(json.dumps(facts, sort_keys=True), virtual)


def parsed(text: str) -> PowerModels | None:
    """Read numbers from JSON; None where it is not that or a number cannot be.

    Example:
        >>> parsed("{}") is None
        True
    """
    try:
        plain: Any = json.loads(text)
        models = PowerModels(
            version=str(plain["version"]),
            cpu_model=str(plain["cpu_model"])[:200],
            cpu_known=bool(plain["cpu_known"]),
            sockets=int(plain["sockets"]),
            tdp_w=float(plain["tdp_w"]),
            ram_w=float(plain["ram_w"]),
            formula=tuple(float(watts) for watts in plain["formula"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    numbers = (models.tdp_w, models.ram_w, *models.formula)
    finite = all(math.isfinite(watts) and 0 < watts <= WATTS_MAX for watts in numbers)
    rising = list(models.formula) == sorted(models.formula) and len(models.formula) > 1
    # A formula that ends elsewhere than at the design power is not the one we know.
    whole = finite and rising and math.isclose(models.formula[-1], models.tdp_w)
    return models if whole and models.formula[0] < models.tdp_w else None


def recall(machine: Machine, version: str) -> PowerModels | None:
    """Numbers that an earlier run kept for this machine and this version; None where none did."""
    try:
        models = parsed(_file(machine, version).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return models if models is not None and models.version == version else None


def remember(machine: Machine, models: PowerModels) -> None:
    """Keep the numbers for the next run; a folder that cannot be written keeps nothing."""
    path = _file(machine, models.version)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False
        ) as file:
            json.dump(dataclasses.asdict(models), file)
        Path(file.name).replace(path)


def _file(machine: Machine, version: str) -> Path:
    name = hashlib.sha256(f"{version} {machine.facts}".encode()).hexdigest()[:16]
    return cache_folder() / f"power-models-{name}.json"


def cache_folder() -> Path:
    """Where greenai keeps what it may lose: GREENAI_CACHE_DIR, else below the user's cache."""
    named = os.environ.get("GREENAI_CACHE_DIR")
    if named:
        return Path(named)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "greenai"
