"""Where the energy went: by component and by phase, with how each figure was come by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from greenai.exporters import quantities
from greenai.exporters.sheets import Column, Sheet
from greenai.exporters.wording import printable
from greenai.sensors.base import TRUSTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from greenai.exporters.readable import ReadableRun
    from greenai.sensors.base import Channel

COMPONENTS = {"gpu": "GPU", "cpu": "CPU", "dram": "DRAM", "other": "Other"}
METHODS = {
    "nvml_energy": "NVML energy counter",
    "nvml_power": "NVML power, integrated",
    "rapl": "RAPL energy counter",
    "rapl_perf": "RAPL energy counter (perf event)",
    "cpu_load_model": "CPU load model (CodeCarbon)",
    "ram_model": "memory model (CodeCarbon)",
    "amdsmi_energy": "AMD SMI energy accumulator",
    "amdsmi_power": "AMD SMI power, integrated",
    "intel_hwmon_energy": "Intel hwmon energy counter",
    "hlml_energy": "HLML energy counter",
    "hlml_power": "HLML power, integrated",
    "ioreport_energy": "IOReport energy model (Apple)",
    "ina3221_power": "INA3221 power, integrated",
    "assumed_power": "constant power stated by the user",
    "replay": "replayed record",
}
NODE_METHODS = {
    "acpi_power_meter": "ACPI power meter",
    "ipmi_dcmi": "board controller (IPMI)",
    "pdu_csv": "power distribution unit",
    "slurm_consumed_energy": "SLURM accounting",
}
PHASES = {
    "setup": "setup",
    "train_step": "training steps",
    "data_wait": "waiting for data",
    "validation": "validation",
    "checkpoint": "checkpoints",
    "test": "test",
    "predict": "prediction",
    "other": "other",
    "unattributed": "unattributed",
}
UNATTRIBUTED = "unattributed"
NOT_METERED = "not metered"


def trust_text(trust: Mapping[str, float | None]) -> str:
    """Shares of the energy by trust, those that are there.

    Example:
        >>> trust_text({"measured": 0.91, "modelled": 0.09, "assumed": 0.0})
        '91.0 % measured, 9.0 % modelled'
        >>> trust_text({"measured": float("nan")})
        'unknown'
    """
    shares = {name: _number(trust.get(name)) for name in TRUSTS}
    said = [f"{quantities.share(part)} {name}" for name, part in shares.items() if part]
    return ", ".join(said) or quantities.UNKNOWN


def by_component(summary: Mapping[str, Any], run: ReadableRun) -> Sheet:
    """Energy of each kind of device: how much, how far it can be trusted, how it was come by.

    A component that has no channel reads ``not metered``; ``other`` is left out then.
    """
    total_j = summary["energy_j"]
    channels = {kind: _counted_channels(run, kind) for kind in COMPONENTS}
    energies_j = summary["component_j"]
    kinds = [
        kind
        for kind in COMPONENTS
        if kind != "other" or channels[kind] or energies_j.get(kind) is not None
    ]
    energies = quantities.aligned([*(energies_j.get(kind) for kind in kinds), total_j], "J")
    shares = [_part(energies_j.get(kind), total_j) for kind in kinds]
    rows = [
        (COMPONENTS[kind], energy, quantities.share(share), *_provenance(channels[kind]))
        for kind, energy, share in zip(kinds, energies.texts, shares, strict=False)
    ]
    whole = quantities.share(_part(total_j, total_j))
    bounds = quantities.interval(summary["energy_low_j"], summary["energy_high_j"], "J")
    known = "" if bounds == quantities.UNKNOWN else f"Bounds of the run's energy: {bounds}."
    return Sheet(
        title="Energy by component",
        columns=(
            Column("Component", numeric=False),
            Column(f"Energy ({energies.unit})"),
            Column("Share"),
            Column("Trust", numeric=False),
            Column("Method", numeric=False),
            Column("Devices", numeric=False),
        ),
        rows=(*rows, ("All", energies.texts[-1], whole, "", "", "")),
        has_total=True,
        shares=(*shares, math.nan),
        note=" ".join(filter(None, [known, beside_text(summary.get("node_j") or {})])),
    )


def beside_text(node_j: Mapping[str, float | None]) -> str:
    """Say what the meters of the whole machine saw, beside the sum; empty where there is none.

    Example:
        >>> beside_text({"ipmi_dcmi": 7_200.0, "pdu_csv": None})
        'Beside the sum: board controller (IPMI) 7.20 kJ, power distribution unit unknown.'
    """
    said = [
        f"{NODE_METHODS.get(method, printable(method))} {quantities.energy(energy_j)}"
        for method, energy_j in node_j.items()
    ]
    return f"Beside the sum: {', '.join(said)}." if said else ""


def _provenance(channels: Sequence[Channel]) -> tuple[str, str, str]:
    """Trust, method and devices of a component."""
    if not channels:
        return NOT_METERED, NOT_METERED, ""
    trusts = [trust for trust in TRUSTS if any(one.trust == trust for one in channels)]
    methods = dict.fromkeys(METHODS.get(one.method, printable(one.method)) for one in channels)
    return " + ".join(trusts), ", ".join(methods), _devices(channels)


def _counted_channels(run: ReadableRun, kind: str) -> list[Channel]:
    """Channels whose energy is summed into this component, over all ranks and attempts."""
    return [
        channel
        for attempt in run.record.attempts
        for channel in attempt.channels
        if channel.kind == kind and channel.primary and channel.quantity in {"energy_j", "power_w"}
    ]


def _devices(channels: Sequence[Channel]) -> str:
    """How many devices of which model."""
    keys_by_model: dict[str, set[str]] = {}
    for one in channels:
        model = printable(one.model or one.device, limit=60)
        keys_by_model.setdefault(model, set()).add(one.device_key)
    return ", ".join(
        model if len(keys) == 1 else f"{len(keys)} × {model}"
        for model, keys in sorted(keys_by_model.items())
    )


def by_phase(phases: pd.DataFrame) -> Sheet:
    """Energy of each phase that took place, and the unattributed rest even where there is none."""
    took_place = (phases[["count", "duration_s", "energy_j"]].fillna(0) > 0).any(axis=1)
    kept = phases[took_place | (phases["phase"] == UNATTRIBUTED)]
    energies_j = [_number(value) for value in kept["energy_j"]]
    total_j, total_s = _sum(energies_j), _sum([_number(value) for value in kept["duration_s"]])
    energies = quantities.aligned([*energies_j, total_j], "J")
    shares = [_part(energy_j, total_j) for energy_j in energies_j]
    rows = [
        (
            PHASES.get(str(phase), printable(phase)),
            "" if phase == UNATTRIBUTED else quantities.count(_number(number)),
            "" if phase == UNATTRIBUTED else quantities.duration(_number(seconds)),
            energy,
            quantities.share(share),
        )
        for phase, number, seconds, energy, share in zip(
            kept["phase"], kept["count"], kept["duration_s"], energies.texts, shares, strict=False
        )
    ]
    whole = quantities.share(_part(total_j, total_j))
    return Sheet(
        title="Energy by phase",
        columns=(
            Column("Phase", numeric=False),
            Column("Count"),
            Column("Time"),
            Column(f"Energy ({energies.unit})"),
            Column("Share"),
        ),
        rows=(*rows, ("All", "", quantities.duration(total_s), energies.texts[-1], whole)),
        has_total=True,
        shares=(*shares, math.nan),
    )


def _number(value: object) -> float | None:
    """A cell of a frame as a float; every kind of unknown is None."""
    try:
        number = float(value)  # type: ignore[arg-type] # what is no number raises
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _part(value: float | None, whole: float | None) -> float:
    return value / whole if value is not None and whole else math.nan
