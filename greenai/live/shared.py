"""The memory that training and sampler share: header, totals, names, settings and ring of marks."""

from __future__ import annotations

import dataclasses
import json
import math
import mmap
import os
import struct
import tempfile
from typing import Any

from greenai.errors import OrderError
from greenai.record.types import FIXED_NAMES

RING_SLOTS = 65_536
SLOT_BYTES = 32
NAME_BYTES = 64
NAME_SLOTS = 512
CONFIG_BYTES = 512 * 1024

_HEADER_AT = 0
_TOTALS_AT = 1024
_NAMES_AT = 4096
_CONFIG_AT = _NAMES_AT + NAME_BYTES * NAME_SLOTS
RING_AT = _CONFIG_AT + CONFIG_BYTES
REGION_BYTES = RING_AT + RING_SLOTS * SLOT_BYTES

# Header words (u64). Each has one writer, and a word is stored by one 8-byte copy.
TAIL = 1
"""Ring position up to which the sampler has read."""
HEARTBEAT_NS = 2
"""Monotonic time of the sampler's latest tick."""
NAME_COUNT = 3
"""Entries in the table of names; raised after the entry is written."""
METRICS_PORT = 4
"""Port of /metrics; 0 while nothing is served, beyond 65,535 where it cannot be."""
FINISHED = 5
"""1 after the sampler closed the record."""
DISK_REFUSES = 7
"""1 while the disk refuses the record."""
DELIVERY_FAILS = 8
"""1 after a way out of the figures has failed for the first time."""
WATCH_PORT = 12
"""Port of the page; written by the process that serves it, 0 before."""
STOP_ASKED = 6
"""1 when the training asks for the end, 2 when it also waits for the derived files."""


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """What is settled of a run so far, as the sampler last published it.

    Attributes:
        energy_j: IT energy of all devices until ``settled_ns``; NaN while unknown.
        energy_low_j: The same; the sensors' own bounds are in the record alone.
        energy_high_j: With the most that can have been used since; infinite where a device
            states no limit.
        power_w: Latest power of all devices.
        operational_co2e_g: Emissions with the factors known at the start.
        steps_j: Energy of the settled optimizer steps.
        tokens: Tokens of the settled steps; NaN where the training does not say.
        known_tokens: Tokens of those of them whose energy is known: what ``steps_j`` was used for.
        samples: Samples of the settled steps; NaN where the training does not say.
        steps: Number of settled optimizer steps.
        settled_step: Index of the latest settled step; NaN while there is none.
        settled_ns: Monotonic time up to which every device has been read.
        forecast_energy_low_j: IT energy at the end of the run: lower bound, 95 %; NaN while
            nothing can be foreseen, as for all that follow.
        forecast_energy_j: Best guess of it.
        forecast_energy_high_j: Upper bound.
        forecast_co2e_low_g: Operational emissions at the end of the run: lower bound.
        forecast_co2e_g: Best guess of them.
        forecast_co2e_high_g: Upper bound.
        forecast_cost_low: Money at the end of the run, where a price was given: lower bound.
        forecast_cost: Best guess of it.
        forecast_cost_high: Upper bound.
        closed: Whether the sampler has read for the last time.
    """

    energy_j: float = math.nan
    energy_low_j: float = math.nan
    energy_high_j: float = math.nan
    power_w: float = math.nan
    operational_co2e_g: float = math.nan
    steps_j: float = math.nan
    tokens: float = math.nan
    known_tokens: float = math.nan
    samples: float = math.nan
    steps: float = math.nan
    settled_step: float = math.nan
    settled_ns: float = math.nan
    forecast_energy_low_j: float = math.nan
    forecast_energy_j: float = math.nan
    forecast_energy_high_j: float = math.nan
    forecast_co2e_low_g: float = math.nan
    forecast_co2e_g: float = math.nan
    forecast_co2e_high_g: float = math.nan
    forecast_cost_low: float = math.nan
    forecast_cost: float = math.nan
    forecast_cost_high: float = math.nan
    closed: bool = False

    @property
    def j_per_token(self) -> float:
        """Energy per token of the settled steps whose energy is known; NaN where none is."""
        return self.steps_j / self.known_tokens if self.known_tokens else math.nan


_TOTALS_SLOT = struct.Struct("@Q" + "d" * len(dataclasses.fields(Totals)) + "Q")


class Region:
    """The shared memory itself; the training creates it and hands its descriptor on.

    Args:
        descriptor: An open descriptor of at least ``REGION_BYTES``.

    Example:
        >>> region = Region.create({"run_id": "example"})
        >>> region.config()["run_id"], region.names()[0]
        ('example', 'setup')
        >>> region.close()
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, REGION_BYTES)
        self.memory = memoryview(self._map)
        self.header = self.memory[_HEADER_AT:_TOTALS_AT].cast("Q")
        self._totals_version = 0

    @classmethod
    def create(cls, config: dict[str, Any]) -> Region:
        """Make a region, wholly allocated so that no later write can fail, with ``config`` in it.

        Raises:
            OrderError: The settings take more than 512 KiB as JSON.
            OSError: There is no memory for it.
        """
        text = json.dumps(config).encode()
        if len(text) > CONFIG_BYTES - 8:
            raise OrderError(
                f"The run's settings take {len(text)} bytes as JSON; {CONFIG_BYTES - 8} fit.",
                hint="pass a smaller config=",
            )
        descriptor = _allocate(REGION_BYTES)
        region = cls(descriptor)
        struct.pack_into("@Q", region.memory, _CONFIG_AT, len(text))
        region.memory[_CONFIG_AT + 8 : _CONFIG_AT + 8 + len(text)] = text
        for name in FIXED_NAMES:
            region.add_name(name)
        return region

    def config(self) -> dict[str, Any]:
        """Settings that the training wrote before it started the sampler."""
        (length,) = struct.unpack_from("@Q", self.memory, _CONFIG_AT)
        text = bytes(self.memory[_CONFIG_AT + 8 : _CONFIG_AT + 8 + length])
        plain: dict[str, Any] = json.loads(text)
        return plain

    def names(self) -> tuple[str, ...]:
        """Names so far, by id."""
        return tuple(self._name(position) for position in range(self.header[NAME_COUNT]))

    def add_name(self, name: str) -> int:
        """Enter a name and return its id.

        Raises:
            OrderError: The name is longer than 63 bytes or the table is full.
        """
        text = name.encode(errors="replace")
        position = int(self.header[NAME_COUNT])
        if len(text) >= NAME_BYTES or position >= NAME_SLOTS:
            raise OrderError(
                f"The name {name[:80]!r} has {len(text)} bytes and is number {position}; a run "
                f"takes {NAME_SLOTS} names of at most {NAME_BYTES - 1} bytes.",
                hint="use few and short names; put details into the step's values",
            )
        start = _NAMES_AT + position * NAME_BYTES
        self.memory[start : start + 1 + len(text)] = bytes([len(text)]) + text
        self.header[NAME_COUNT] = position + 1
        return position

    def publish(self, totals: Totals) -> None:
        """Write the totals between two equal version words, so that a torn read is seen."""
        self._totals_version += 1
        version = self._totals_version
        values = dataclasses.astuple(totals)
        _TOTALS_SLOT.pack_into(self.memory, _TOTALS_AT, version, *values, version)

    def totals(self) -> Totals:
        """Read the latest totals; all NaN while the sampler has published none."""
        if not struct.unpack_from("@Q", self.memory, _TOTALS_AT)[0]:
            return Totals()
        for _ in range(16):
            first, *values, last = _TOTALS_SLOT.unpack_from(self.memory, _TOTALS_AT)
            (again,) = struct.unpack_from("@Q", self.memory, _TOTALS_AT)
            if first == last == again:
                totals = Totals(*values)
                return dataclasses.replace(totals, closed=bool(totals.closed))
        return Totals()

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        if self.descriptor >= 0:
            self.header.release()
            self.memory.release()
            self._map.close()
            os.close(self.descriptor)
            self.descriptor = -1

    def _name(self, position: int) -> str:
        start = _NAMES_AT + position * NAME_BYTES
        length = self.memory[start]
        return bytes(self.memory[start + 1 : start + 1 + length]).decode(errors="replace")


def _allocate(size: int) -> int:
    """Open anonymous shared memory with every page allocated (a sparse file can raise SIGBUS)."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("greenai", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="greenai-")
        os.unlink(path)  # noqa: PTH108 - the path is gone at once; only the descriptor is used
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.write(descriptor, bytes(size))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
