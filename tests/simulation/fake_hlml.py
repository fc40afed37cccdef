"""A stand-in for the package pyhlml: bytes for texts, milliunits, one exception for all faults."""

from __future__ import annotations

import dataclasses
import time
from types import ModuleType
from typing import Any


@dataclasses.dataclass
class FakeGaudi:
    """One accelerator.

    Args:
        power_w: What it draws, constantly.
        module: Its place in the chassis.
        no_counter: It tells no energy.
        lost: Every call fails; after a failure only a new handle works.
    """

    power_w: float = 400.0
    module: int = 0
    no_counter: bool = False
    lost: bool = False
    generation: int = 0
    t0_ns: int = dataclasses.field(default_factory=time.monotonic_ns)


@dataclasses.dataclass
class Handle:
    index: int
    generation: int


def fake_hlml(cards: list[FakeGaudi], *, init_fails: bool = False) -> Any:  # noqa: C901 - one module's functions
    """The module; put it into ``sys.modules``."""
    hlml: Any = ModuleType("pyhlml")

    class HLMLError(Exception):
        def __str__(self) -> str:
            return f"HLML Error with code {self.args[0]}"

    def init() -> None:
        if init_fails:
            print("Failed to load libhlml")  # noqa: T201 - as the package does
            raise HLMLError(1)
        hlml.open += 1

    def shutdown() -> None:
        if not hlml.open:
            raise HLMLError(1)
        hlml.open -= 1

    def card_of(handle: Handle) -> FakeGaudi:
        card = cards[handle.index]
        if card.lost or handle.generation != card.generation:
            raise HLMLError(15)
        return card

    def by_index(index: int) -> Handle:
        return Handle(index, cards[index].generation)

    def by_uuid(uuid: str) -> Handle:
        return by_index(int(uuid.rpartition("-")[2]))

    def energy_mj(handle: Handle) -> int:
        card = card_of(handle)
        if card.no_counter:
            raise HLMLError(3)
        return int(1000 * (500 + card.power_w * (time.monotonic_ns() - card.t0_ns) / 1e9))

    hlml.open = 0
    hlml.HLMLError = HLMLError
    hlml.hlmlInit = init
    hlml.hlmlShutdown = shutdown
    hlml.hlmlDeviceGetCount = lambda: len(cards)
    hlml.hlmlDeviceGetHandleByIndex = by_index
    hlml.hlmlDeviceGetHandleByUUID = by_uuid
    hlml.hlmlDeviceGetUUID = lambda handle: card_of(handle) and f"HL-0-{handle.index}".encode()
    hlml.hlmlDeviceGetName = lambda handle: card_of(handle) and b"HL-SIM"
    hlml.hlmlDeviceGetModuleID = lambda handle: card_of(handle).module
    hlml.hlmlDeviceGetTotalEnergyConsumption = energy_mj
    hlml.hlmlDeviceGetPowerUsage = lambda handle: int(1000 * card_of(handle).power_w)
    hlml.hlmlDeviceGetPowerManagementDefaultLimit = lambda handle: card_of(handle) and 600_000
    return hlml
