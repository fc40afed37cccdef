"""The words of a sensor: Channel, Reading, Refusal and the Sensor protocol."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, get_args

Quantity = Literal[
    "energy_j",
    "power_w",
    "power_limit_w",
    "temperature_c",
    "utilization_ratio",
    "memory_used_bytes",
    "clock_hz",
    "throttle_reasons",
    "job_share_ratio",
]
Kind = Literal["gpu", "cpu", "dram", "other"]
Trust = Literal["measured", "modelled", "assumed"]

KINDS: tuple[Kind, ...] = get_args(Kind)
TRUSTS: tuple[Trust, ...] = get_args(Trust)

_MAY_BE_UNKNOWN = ("power_max_w", "slice_share")
"""Numbers of a channel that JSON writes as null where they are NaN."""


@dataclasses.dataclass(frozen=True, slots=True)
class Channel:
    """What one column of readings means.

    Args:
        quantity: ``energy_j`` is a counter, ``power_w`` is a rate that is integrated; the others
            are facts about the device.
        kind: The component that the energy is booked under.
        device: Short label, unique in a process: ``gpu0``, ``cpu-package-0``, ``dram-0``.
        device_key: Identity by which a device is counted once across processes and runs: a GPU's
            UUID; ``<host id>/package-0``.
        method: How the value comes about: ``nvml_energy``, ``nvml_power``, ``rapl``,
            ``cpu_load_model``, ``ram_model``, ``replay``.
        trust: Whether the value is measured, modelled or assumed.
        primary: Whether the channel is summed into the run's energy. One channel a device_key
            and kind is primary; the others are recorded for information.
        refresh_ns: Upper bound on the age of a value when it is read, until a better one is
            measured; a counter's value may be this old.
        wrap_j: What a counter adds when it wraps; None for one that never does.
        power_max_w: Greatest power that the device can draw: the premise of the bounds. NaN
            where nobody knows; bounds are then wide open.
        model: Product name of the device; empty where unknown.
        vendor: Maker of the device; empty where unknown.
        scope: What the value covers where that differs from the device: ``module`` (a superchip's
            counter contains its CPU and memory), ``shared`` (others use the device too), ``node``
            (a meter of the whole machine: shown beside the sum, never in it).
        slice_share: Estimated share of a shared device that belongs to this process; NaN where
            it has the device to itself, or nobody knows.
        seen_share: Share of the time that a sampled power is a mean of, at the least: some GPUs
            look at 25 of every 100 ms. What happens in the rest is in no reading.
        assumed_used: Whether the device is metered only because the process could use it: nobody
            has said that it does.
    """

    quantity: Quantity
    kind: Kind
    device: str
    device_key: str
    method: str
    trust: Trust
    primary: bool
    refresh_ns: int
    wrap_j: float | None = None
    power_max_w: float = math.nan
    model: str = ""
    vendor: str = ""
    scope: str = ""
    slice_share: float = math.nan
    seen_share: float = 1.0
    assumed_used: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest; an unknown number becomes None."""
        plain = dataclasses.asdict(self)
        for name in _MAY_BE_UNKNOWN:
            if math.isnan(plain[name]):
                plain[name] = None
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Channel:
        """Rebuild from manifest values; keys of a later minor version are left out.

        Raises:
            TypeError: A key is missing.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        known = {name: value for name, value in plain.items() if name in names}
        for name in _MAY_BE_UNKNOWN:
            if known.get(name) is None:
                known[name] = math.nan
        return cls(**known)


class Reading(NamedTuple):
    """One value of one channel and the two moments between which it was read.

    Attributes:
        channel: Position in the sensor's ``channels``.
        t0_ns: Monotonic clock just before the call.
        t1_ns: Monotonic clock just after it.
        value: In the unit of the channel's quantity; NaN when the read failed.
        reason: Why the read failed; empty when it did not.
    """

    channel: int
    t0_ns: int
    t1_ns: int
    value: float
    reason: str = ""


class Refusal(NamedTuple):
    """A sensor or a device that is not used, and why.

    Attributes:
        sensor: Name of the sensor: ``nvml``, ``rapl``, ``codecarbon``, ``replay``.
        reason: What is the matter, in one sentence.
        hint: The one command that mends it; empty where nothing does.
    """

    sensor: str
    reason: str
    hint: str = ""


class Sensor(Protocol):
    """An open hardware interface.

    ``read`` is called again and again from one thread, which is not the one that runs the
    training. It never raises for a device that fails: that reading carries NaN and a reason.
    """

    name: str
    channels: tuple[Channel, ...]
    period_ns: int

    def read(self) -> list[Reading]:
        """Read what is due of all channels now."""

    def close(self) -> None:
        """Let go of the hardware; a second call does nothing."""


class SelfPaced(Sensor, Protocol):
    """A sensor whose devices refresh at moments of their own, so that it says when to be read.

    ``read`` then reads what is due and nothing else; ``period_ns`` is the time between two reads
    while nothing better is known.
    """

    due_ns: int
    """Moment on the monotonic clock at which the next read is due."""


class Examinable(Sensor, Protocol):
    """A sensor that reads some of its energy and power seldom, and all of it when asked to."""

    def read_all(self) -> list[Reading]:
        """Read all energy and power now: for an examination of seconds, never beside a training."""


Opener = Callable[[], tuple[list[Sensor], list[Refusal]]]
"""Opens all of one interface; may take seconds, never raises: what fails comes back refused."""
