"""What a run's energy means, as facts of a report: hardware, compute, carbon, water, money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenai.exporters import quantities
from greenai.exporters.breakdown import METHODS
from greenai.exporters.sheets import Column, Fact, Sheet
from greenai.exporters.wording import printable
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.exporters.quantities import Unit

ENDINGS = {
    "stopped": "stopped as asked",
    "parent_died": "the training process was gone",
    "unknown": "unknown: nothing closed the record",
}
HOURS_PER_DAY = 24.0
S_PER_HOUR = 3600.0
ILLUSTRATIVE = "to illustrate only"
DEVELOPMENT = "Development is not in it: searches, trials and other runs"
SUM_UP = "greenai report ROOT --by project sums them up."
INSTRUMENT = "its contract or certificate is named under what is assumed"
FLOP_PER_PFLOP = 1e15


def impact_facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Facility energy, market-based and embodied emissions, water, cost, SCI, comparisons.

    Args:
        summary: Content of summary.json.

    Returns:
        Facts; what no factor was given for reads ``unknown``.
    """
    impacts = summary.get("impacts") or {}
    facts = [
        Fact(
            "IT energy with sensor error",
            _electricity(_mid(impacts, "energy_kwh")),
            _bounds(impacts, "energy_kwh", "Wh", 1e3),
        ),
        Fact(
            "Facility energy",
            _electricity(_mid(impacts, "facility_kwh")),
            _bounds(impacts, "facility_kwh", "Wh", 1e3),
        ),
        Fact(
            "Location-based emissions",
            quantities.mass(_mid(impacts, "location_based_g")),
            _bounds(impacts, "location_based_g", "g"),
        ),
        _market(impacts),
        Fact(
            "Embodied emissions",
            quantities.mass(_mid(impacts, "embodied_g")),
            _bounds(impacts, "embodied_g", "g") or "the run's share of making its hardware",
        ),
        Fact("Water on site", quantities.volume(_mid(impacts, "water_on_site_l")), "WUE"),
        Fact("Water off site", quantities.volume(_mid(impacts, "water_off_site_l")), "EWIF × PUE"),
        Fact("Cost of the electricity", _money(impacts)),
        Fact("Offsets", "excluded", "none enters any figure here"),
    ]
    facts.extend(_sci(score) for score in impacts.get("sci") or ())
    for one in impacts.get("equivalences") or ():
        remark = f"{ILLUSTRATIVE}; {one['factor']:,g} {one['factor_unit']}, {one['source']}"
        amount = quantities.decimal((one.get("amount") or {}).get("mid"))
        facts.append(Fact(f"In {one['name']}", amount, f"{remark}, {one['year']}"))
    return tuple(facts)


def compute_facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Parameters, utilisation and the energy of a FLOP."""
    parameters, active = summary.get("parameters"), summary.get("active_parameters")
    used = f"{quantities.count(active)} active" if active else ""
    peak = summary.get("peak_flop_per_s")
    of = f"of {quantities.count(peak)} FLOP/s" if peak else "the devices' rate or FLOPs are unknown"
    per_j = summary.get("flop_per_j")
    inverse = quantities.energy(1 / per_j) + " per FLOP" if per_j else ""
    return (
        Fact("Parameters", quantities.count(parameters), used),
        Fact("Model FLOPs utilisation (MFU)", quantities.share(summary.get("mfu")), of),
        Fact("FLOPs per joule", quantities.count(per_j), inverse),
    )


def hardware_facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    """When it ended, on how much hardware and for how long."""
    seconds = summary.get("duration_s")
    days = None if seconds is None else seconds / S_PER_HOUR / HOURS_PER_DAY
    facts = [
        Fact("Wall-clock days", quantities.decimal(days)),
        Fact("Hosts", quantities.count(summary.get("hosts"))),
        Fact("GPUs", quantities.count(summary.get("gpus"))),
    ]
    for model, hours in (summary.get("device_hours") or {}).items():
        amount = f"{quantities.decimal(hours)} h"
        facts.append(Fact("GPU-hours", amount, printable(model, limit=60)))
    return tuple(facts)


def devices_sheet(summary: Mapping[str, Any]) -> Sheet:
    """How each kind of device was metered: method, trust, refresh, sampling and coverage."""
    devices = summary.get("devices") or []
    energies = quantities.aligned([one["energy_j"] for one in devices], "J")
    return Sheet(
        title="How it was metered",
        columns=(
            Column("Device", numeric=False),
            Column("Count"),
            Column(f"Energy ({energies.unit})"),
            Column("Method", numeric=False),
            Column("Trust", numeric=False),
            Column("Refresh"),
            Column("Sampling"),
            Column("Coverage"),
        ),
        rows=tuple(
            (
                printable(one["model"], limit=60),
                quantities.count(one["count"]),
                energy,
                METHODS.get(one["method"], printable(one["method"], limit=60)),
                printable(one["trust"], limit=20),
                quantities.duration(one["refresh_s"] or None),
                quantities.duration(one.get("sampling_s")),
                quantities.share(one["coverage"]),
            )
            for one, energy in zip(devices, energies.texts, strict=True)
        ),
        note=f"Boundary: {printable(summary.get('energy_boundary'))}. Sampling: median time "
        "between the two reads around a change of the value.",
    )


def ended_text(ended: object) -> str:
    """How a run or an attempt ended, in words."""
    return ENDINGS.get(str(ended), printable(ended, limit=40))


def attempts_sheet(summary: Mapping[str, Any]) -> Sheet:
    """Every start of the run, failed ones included, and what was trained again."""
    attempts = summary.get("attempt_list") or []
    energies = quantities.aligned([one["energy_j"] for one in attempts], "J")
    wasted = quantities.energy(summary.get("wasted_j"))
    return Sheet(
        title="Attempts",
        columns=(
            Column("Attempt", numeric=False),
            Column("Ranks"),
            Column("Ended", numeric=False),
            Column("Time"),
            Column(f"Energy ({energies.unit})"),
        ),
        rows=tuple(
            (
                str(one["attempt"]),
                str(one["ranks"]),
                ended_text(one["ended"]),
                quantities.duration(one["duration_s"]),
                energy,
            )
            for one, energy in zip(attempts, energies.texts, strict=True)
        ),
        note=f"{quantities.many(summary.get('restarts'), 'restart')}; energy of steps that were "
        f"trained again: {wasted}.",
    )


def assumed_sentences(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """What is estimated, assumed or left out."""
    said = (summary.get("impacts") or {}).get("said") or ()
    beside = "what it names as its lineage stands beside it. " if summary.get("lineage") else ""
    return (
        *(printable(one, limit=600) for one in said),
        f"{DEVELOPMENT}; {beside}{SUM_UP}" if beside else f"{DEVELOPMENT}. {SUM_UP}",
    )


def _market(impacts: Mapping[str, Any]) -> Fact:
    mass_g = _mid(impacts, "market_based_g")
    if mass_g is None:
        return Fact(
            "Market-based emissions", "none claimed", "no contract or certificate was named"
        )
    bounds = _bounds(impacts, "market_based_g", "g")
    remark = f"{bounds}; {INSTRUMENT}" if bounds else INSTRUMENT
    return Fact("Market-based emissions", quantities.mass(mass_g), remark)


def _sci(score: Mapping[str, Any]) -> Fact:
    """SCI where the embodied emissions are known; O / R is named for what it is elsewhere."""
    unit, factor = printable(score["unit"], limit=40).replace("_", " "), 1.0
    if unit == "flop":
        unit, factor = "PFLOP", FLOP_PER_PFLOP
    own = "" if score["is_standard"] else "; a unit of our own"
    whole, part = (
        None if (mid := score[name]["mid"]) is None else factor * mid
        for name in ("g_per_unit", "operational_g_per_unit")
    )
    if whole is not None:
        return Fact(f"SCI per {unit}", f"{quantities.mass(whole)} CO₂e", f"(O + M) / R{own}")
    remark = f"O / R, no SCI: embodied emissions are unknown{own}"
    return Fact(f"Operational per {unit}", f"{quantities.mass(part)} CO₂e", remark)


def _money(impacts: Mapping[str, Any]) -> str:
    cost = impacts.get("cost")
    if cost is None:
        return quantities.UNKNOWN
    currency = printable(impacts.get("currency") or "", limit=12)
    return f"{quantities.decimal(cost)} {currency}".strip()


def _mid(impacts: Mapping[str, Any], name: str) -> float | None:
    found: float | None = (impacts.get(name) or {}).get("mid")
    return found


def _bounds(impacts: Mapping[str, Any], name: str, unit: Unit, factor: float = 1.0) -> str:
    """The bounds in words; empty where there are none."""
    bounds = impacts.get(name) or {}
    low, high = bounds.get("low"), bounds.get("high")
    if low is None or high is None:
        return ""
    text = quantities.interval(low * factor, high * factor, unit)
    return f"between {text.replace(' to ', ' and ')}" if " to " in text else ""


def _electricity(energy_kwh: float | None) -> str:
    return quantities.electricity(None if energy_kwh is None else energy_kwh * J_PER_KWH)
