"""How a run was measured and its figures worked out, in some 100 words made from its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenai.exporters import quantities
from greenai.exporters.breakdown import METHODS, trust_text
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

METHODS_MAX = 4
"""Methods that are named; a run has rarely more, and the table names all."""


def methodology(summary: Mapping[str, Any]) -> str:
    """Say in a paragraph what was measured, how, and what the figures were worked out with.

    Every clause follows from the summary: what was not done is not said to have been.

    Args:
        summary: Content of summary.json.

    Returns:
        Some 100 words, for forms that ask for a measurement methodology.
    """
    return " ".join(
        (
            _metering(summary),
            _extent(summary),
            _boundary(summary),
            _carbon(summary),
            _rest(summary),
        )
    )


def _metering(summary: Mapping[str, Any]) -> str:
    ways = dict.fromkeys(map(_way, summary.get("devices") or []))
    if not ways:
        return "No device was metered; the energy is unknown."
    listed = "; ".join([*ways][:METHODS_MAX])
    more = f"; and {len(ways) - METHODS_MAX} more ways" if len(ways) > METHODS_MAX else ""
    return (
        f"Energy was metered during training by greenai: {listed}{more}. "
        f"By energy, {trust_text(summary.get('trust') or {})}."
    )


def _way(device: Mapping[str, Any]) -> str:
    """How one kind of device was metered, and how often it was read."""
    kind, read_s = device["kind"], device.get("sampling_s")
    name = kind.upper() if kind in {"gpu", "cpu", "dram"} else kind
    method = METHODS.get(device["method"], printable(device["method"], limit=40))
    often = (
        "" if read_s is None else f", read {quantities.duration(read_s)} apart around each change"
    )
    return f"{name} by {method} ({device['trust']}{often})"


def _extent(summary: Mapping[str, Any]) -> str:
    ranks, wanted = summary.get("ranks"), summary.get("ranks_expected") or summary.get("ranks")
    attempts = summary.get("attempts") or 0
    failed = ", repeated work included," if summary.get("wasted_j") else ""
    return (
        f"{quantities.many(attempts, 'attempt')}{failed} and {ranks} of {wanted} ranks are in it; "
        f"readings cover {quantities.share(summary.get('coverage'))} of time and devices. Readings "
        "were joined by time with marks that the training left; gaps were not filled."
    )


def _boundary(summary: Mapping[str, Any]) -> str:
    pue, source = summary.get("pue"), printable(summary.get("pue_source") or "", limit=80)
    site = (
        "no PUE was given, so cooling and power distribution are left out"
        if pue is None
        else f"facility energy is IT energy times a PUE of {pue:g}, as given by the user"
        f"{f' ({source})' if source else ''}"
    )
    return f"The boundary is {printable(summary.get('energy_boundary'))}; {site}."


def _carbon(summary: Mapping[str, Any]) -> str:
    year = summary.get("intensity_year")
    when = "varying with time" if summary.get("intensity_over_time") else f"{year or 'undated'}"
    basis, signal = summary.get("intensity_basis"), summary.get("intensity_signal")
    return (
        f"Location-based emissions are that energy times "
        f"{quantities.decimal(summary.get('intensity_g_per_kwh'))} gCO₂e/kWh "
        f"({printable(summary.get('intensity_place') or 'unknown place', limit=60)}, {when}, "
        f"{basis or 'unknown'} basis, {signal or 'average'}; "
        f"{printable(summary.get('intensity_source'), limit=120)})."
    )


def _rest(summary: Mapping[str, Any]) -> str:
    """Which of the other figures there are; offsets are never in any."""
    impacts = summary.get("impacts") or {}

    def known(name: str) -> bool:
        return (impacts.get(name) or {}).get("mid") is not None

    parts = {
        "market-based emissions": known("market_based_g"),
        "embodied emissions": known("embodied_g"),
        "water on site": known("water_on_site_l"),
        "water off site": known("water_off_site_l"),
    }
    there = [name for name, is_known in parts.items() if is_known]
    absent = [name for name, is_known in parts.items() if not is_known]
    said = f"Estimated beside it: {', '.join(there)}. " if there else ""
    return f"{said}{'Not known: ' + ', '.join(absent) + '. ' if absent else ''}No offset is in it."
