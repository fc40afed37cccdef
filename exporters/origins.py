"""What a run is of and goes on from, as its report has it: model, config, lineage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from greenai.exporters import quantities
from greenai.exporters.sheets import Column, Fact, Sheet
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES, VERSIONS = ("model", "model_name"), ("model_version",)
HASHES = ("model_sha256", "model_hash")
"""Where a config says which model it is of."""
CONFIG_MAX = 40
"""Facts of the user's that a report repeats; the manifest has all."""
NAMED_MAX = 3


def model_fact(config: Mapping[str, Any]) -> Fact:
    """Name, version and hash of the model, as the config of the run has them.

    Example:
        >>> model_fact({"model": "demo-7b", "model_version": 2})
        Fact(name='Model', value='demo-7b', remark='version 2, hash not given')
    """
    name, version, digest = (_first(config, keys) for keys in (NAMES, VERSIONS, HASHES))
    if not name and not digest:
        return Fact("Model", "not named", "config may say model, model_version and model_sha256")
    hashed = f"hash {digest}" if digest else "hash not given"
    return Fact("Model", name or "not named", f"version {version}, {hashed}" if version else hashed)


def config_facts(config: Mapping[str, Any]) -> list[Fact]:
    """Facts that the user passed, those of the model left out."""
    listed = [(k, v) for k, v in config.items() if k not in {*NAMES, *VERSIONS, *HASHES}]
    return [
        Fact(f"config: {printable(name, limit=40)}", _value(value))
        for name, value in listed[:CONFIG_MAX]
    ]


def lineage_facts(lineage: Mapping[str, Any] | None) -> list[Fact]:
    """What the run used together with the runs whose weights it goes on from."""
    if not lineage:
        return []
    ancestors = lineage["ancestors"]
    names = ", ".join(printable(one["run_id"], limit=40) for one in ancestors[:NAMED_MAX])
    more = " …" if len(ancestors) > NAMED_MAX else ""
    remark = f"this run and {len(ancestors)} before it: {names}{more}"
    if lineage["energy_j"] is None:
        known = quantities.energy(lineage["known_j"])
        return [Fact("Energy of the lineage", f"more than {known}", f"{remark}; not all is known")]
    facts = [Fact("Energy of the lineage", quantities.energy(lineage["energy_j"]), remark)]
    estimated_j = lineage["estimated_j"]
    if estimated_j is not None and estimated_j > 1.01 * lineage["energy_j"]:
        made_up = "estimate: what no reading covers is taken to be like what is covered"
        facts.append(Fact("Lineage, all of it", quantities.energy(estimated_j), made_up))
    return facts


def lineage_sheet(summary: Mapping[str, Any]) -> Sheet:
    """This run and those whose weights it goes on from, with the energy of each."""
    lineage = summary.get("lineage")
    own = {name: summary.get(name) for name in ("energy_j", "coverage", "operational_co2e_g")}
    runs = [own, *lineage["ancestors"]] if lineage else []
    whole = lineage or {}
    energies = quantities.aligned([*(one["energy_j"] for one in runs), whole.get("energy_j")], "J")
    masses = quantities.aligned(
        [*(one["operational_co2e_g"] for one in runs), whole.get("operational_co2e_g")], "g"
    )
    rows = [
        (
            printable(one.get("run_id") or "this run", limit=40),
            printable(one.get("variant") or "", limit=40),
            printable(str(one.get("started_utc") or "")[:10], limit=10),
            energy,
            quantities.share(one["coverage"]),
            mass,
        )
        for one, energy, mass in zip(runs, energies.texts, masses.texts, strict=False)
    ]
    return Sheet(
        title="Lineage",
        columns=(
            Column("Run", numeric=False),
            Column("Variant", numeric=False),
            Column("Started", numeric=False),
            Column(f"Energy ({energies.unit})"),
            Column("Coverage"),
            Column(f"Emissions ({masses.unit} CO₂e)"),
        ),
        rows=(*rows, ("All", "", "", energies.texts[-1], "", masses.texts[-1])) if rows else (),
        has_total=True,
        note="Runs whose weights this one goes on from, as they were when it began.",
    )


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = (str(config[name]) for name in names if config.get(name) is not None)
    return printable(next(filter(None, found), ""), limit=80)


def _value(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)  # JSON makes 7000000000.0 of 7e9
    return printable(value, limit=120)
