"""Accelerators that are here and tell no power: named, so that their energy is not overlooked.

Google's TPUs show no power to their guests, neither in libtpu nor in tpu-info. AWS's Trainium and
Inferentia show a percentage of an unstated maximum once a minute. Neither is a measurement.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenai.sensors.base import Refusal, Sensor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NEURON = "devices/virtual/neuron_device"
TPU_VARIABLES = ("TPU_WORKER_ID", "TPU_ACCELERATOR_TYPE", "TPU_CHIPS_PER_HOST_BOUNDS", "TPU_NAME")
"""Set on TPU machines; newer ones show their chips as vfio devices, as other machines do too."""


class Found(NamedTuple):
    """Accelerators of one kind.

    Attributes:
        label: What they may be called where their watts are stated.
        text: What they are, with their number.
    """

    label: str
    text: str


def open_unmetered(
    dev: str = "/dev",
    sys_root: str = "/sys",
    stated: Collection[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> tuple[list[Sensor], list[Refusal]]:
    """Refuse the accelerators that are here and have no sensor, with a hint to state their watts.

    Args:
        dev: Root of the device files.
        sys_root: Root of the sys file system.
        stated: Labels whose watts the user states; they are not refused.
        environment: Variables of the training process.
    """
    found = _found(dev, sys_root, environment)
    if not found:
        reason = "This machine has no TPU, Trainium or Inferentia."
        return [], [Refusal("unmetered", reason)]
    return [], [
        Refusal(
            "unmetered",
            f"{one.text} tell no power: their energy will be missing from this run, not zero.",
            f'state the watts of all: sensors=["rapl", "codecarbon", "assumed:{one.label}=WATTS"]',
        )
        for one in found
        if one.label not in stated
    ]


def _found(dev: str, sys_root: str, environment: Mapping[str, str]) -> list[Found]:
    found = []
    # A folder /dev/accel belongs to other makers' drivers; TPUs are files beside it.
    chips = len([one for one in Path(dev).glob("accel[0-9]*") if not one.is_dir()])
    if not chips and any(name in environment for name in TPU_VARIABLES):
        chips = len(list(Path(dev, "vfio").glob("[0-9]*")))
    if chips:
        found.append(Found("tpu", f"{chips} Google TPU chips"))
    neurons = len(list(Path(sys_root, NEURON).glob("neuron[0-9]*")))
    if neurons:
        found.append(Found("neuron", f"{neurons} AWS Trainium or Inferentia chips"))
    return found
