"""An estimate, its alternatives and the table of published runs, as lines for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenai.analysis.published import HOURS_X_TDP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenai.analysis.estimate import Estimate, Factor
    from greenai.analysis.published import Check, Prediction, Published
    from greenai.planning.budget import Best

ROWS = (
    ("training FLOPs", "flops"),
    ("accelerator-hours", "accelerator_hours"),
    ("wall time, days", "days"),
    ("IT energy, MWh", "it_energy_mwh"),
    ("site energy, MWh", "energy_mwh"),
    ("operational, tCO2e", "operational_tco2e"),
    ("embodied, tCO2e", "embodied_tco2e"),
    ("water, m3", "water_m3"),
    ("cost", "cost"),
)
ALLOCATED = (
    ("training FLOPs", "flops"),
    ("parameters", "parameters"),
    ("  from", "parameters_low"),
    ("  to", "parameters_high"),
    ("tokens", "tokens"),
    ("  from", "tokens_low"),
    ("  to", "tokens_high"),
    ("loss, nats/token", "loss_nats"),
    ("  from", "loss_low_nats"),
    ("  to", "loss_high_nats"),
)
SPENT = (
    ("energy, kWh", "energy_kwh"),
    ("operational, kgCO2e", "operational_kg"),
    ("accelerator-hours", "accelerator_hours"),
)
ALTERNATIVES = ("accelerator-hours", "J/FLOP")
"""Factors that others take the place of: not given means worked out, not missing."""


def estimate_lines(estimate: Estimate) -> Iterator[str]:
    """The figures, then every assumption with its basis and source, then what else to know."""
    site = any(one.name == "PUE" and one.known for one in estimate.assumptions)
    rows = [["", "low", "mid", "high"]]
    for label, name in ROWS:
        if name == "energy_mwh" and not site:
            continue  # it would repeat the IT energy under a name that it does not deserve
        shown = f"{label}, {estimate.currency}" if name == "cost" and estimate.currency else label
        corners = (estimate.low, estimate.mid, estimate.high)
        rows.append([shown, *(figure(getattr(corner, name)) for corner in corners)])
    yield from aligned(rows)
    yield ""
    yield "Low takes every factor at its cheapest at once, high at its dearest: bounds under these"
    yield "assumptions, not an interval of confidence."
    yield ""
    yield from _grounds(estimate.assumptions, estimate.notes)


def alternatives_lines(
    planned: Estimate, others: Iterable[tuple[str, str, Estimate]]
) -> Iterator[str]:
    """The same training elsewhere, on other accelerators, of the other kind."""
    rows = [["what if", "", "MWh low", "mid", "high", "tCO2e low", "mid", "high"]]
    for changed, to, one in (("as planned", "", planned), *others):
        corners = (one.low, one.mid, one.high)
        energies = [figure(corner.energy_mwh) for corner in corners]
        emissions = [figure(corner.operational_tco2e) for corner in corners]
        rows.append([changed, to, *energies, *emissions])
    yield from aligned(rows, texts=2)


def best_lines(best: Best) -> Iterator[str]:
    """Size and tokens for a loss or a budget, then what they rest on."""
    yield f"for {best.asked}"
    rows = [["", *(choice.corner for choice in best.choices)]]
    for label, name in ALLOCATED:
        rows.append([label, *(figure(getattr(one.best, name)) for one in best.choices)])
    for label, name in SPENT:
        rows.append([label, *(figure(getattr(one, name)) for one in best.choices)])
    yield from aligned(rows)
    if any(choice.best.extrapolated for choice in best.choices):
        yield "beyond the runs that the scaling law was fitted to: extrapolated"
    yield ""
    yield from _grounds(best.assumptions, best.notes)


def _grounds(assumptions: Iterable[Factor], notes: Iterable[str]) -> Iterator[str]:
    yield "assumptions"
    for one in assumptions:
        if one.known or one.name not in ALTERNATIVES:
            yield f"  {assumption(one)}"
    for note in notes:
        yield f"  note: {note}"


def validation_lines(
    checks: Sequence[Check], open_runs: Sequence[Published], predictions: Sequence[Prediction]
) -> Iterator[str]:
    """Published runs worked out again: measured and assumed power apart, then predictions."""
    for measured in (True, False):
        yield "MEASURED POWER OR ENERGY" if measured else "ASSUMED POWER, AND SUMS"
        part = [one for one in checks if one.basis.startswith("measured") == measured]
        for shows in dict.fromkeys(one.shows for one in part):
            yield from _checked([one for one in part if one.shows == shows], shows)
    yield "remarks"
    for model, remark in {one.model: one.remark for one in checks if one.remark}.items():
        yield f"  {model}: {remark}"
    yield ""
    yield "printed, but not with all that it was worked out from"
    for run in open_runs:
        yield f"  {run.model}: {_printed(run)}"
    yield ""
    yield "predicted from size, tokens and accelerator alone; none of these runs is in the priors"
    rows = [["  run", "measured MWh", "low", "mid", "high", "", "of"]]
    for guess in predictions:
        values = (guess.measured_mwh, guess.low_mwh, guess.mid_mwh, guess.high_mwh)
        verdict = "inside" if guess.inside else "OUTSIDE"
        rows.append([f"  {guess.model}", *map(figure, values), verdict, guess.boundary])
    yield from aligned(rows, last_is_text=True)
    for guess in predictions:
        if guess.remark:
            yield f"  {guess.model}: {guess.remark}"
    yield "  The measured energy is of the accelerators alone, the estimate holds their hosts too."


def _checked(checks: Sequence[Check], shows: str) -> Iterator[str]:
    yield f"  {shows}"
    rows = [["    run", "figure", "printed", "here", "off", ""]]
    for one in checks:
        off = f"{one.relative:+.2%}"
        verdict = "ok" if one.reproduced else "DIFFERS"
        here = figure(one.recomputed)
        rows.append([f"    {one.model}", one.what, one.printed, here, off, verdict])
    yield from aligned(rows, texts=2)
    yield ""


def figure(value: float) -> str:
    """Three significant digits; unknown is said.

    Example:
        >>> figure(1287.06), figure(0.0123), figure(8.4e22), figure(float("nan"))
        ('1,287', '0.0123', '8.4e+22', 'unknown')
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "no bound"
    if value >= 1e9:  # noqa: PLR2004 - where digits stop being read
        return f"{value:.3g}"
    if value >= 100:  # noqa: PLR2004 - three digits before the point
        return f"{value:,.0f}"
    return f"{value:.3g}"


def assumption(factor: Factor) -> str:
    """One factor in a line: its value, basis and source.

    Example:
        >>> from greenai.analysis.estimate import exact
        >>> assumption(exact("PUE", 1.2, "given"))
        'PUE: 1.2 [given]'
    """
    if not factor.known:
        return f"{factor.name}: unknown. {factor.source}"
    values = dict.fromkeys(figure(one) for one in (factor.low, factor.mid, factor.high))
    said = f"{factor.name}: {' - '.join(values)} [{factor.basis}]"
    return f"{said} {factor.source}" if factor.source else said


def aligned(
    rows: Sequence[Sequence[str]], texts: int = 1, *, last_is_text: bool = False
) -> Iterator[str]:
    """Columns side by side: the first ones to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width)
            if column < texts or (last_is_text and column == last)
            else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _printed(run: Published) -> str:
    said = []
    if run.printed_mwh:
        said.append(f"{run.printed_mwh} MWh")
    if run.printed_tco2e:
        said.append(f"{run.printed_tco2e} tCO2e")
    if run.energy_basis == HOURS_X_TDP:
        it_mwh = run.accelerator_hours * run.power_w / 1e6
        implied = float(run.printed_tco2e) / it_mwh * 1000
        said.append(f"{figure(it_mwh)} MWh, which implies {implied:.0f} g/kWh with PUE")
    return f"{', '.join(said)} ({run.energy_basis}; {run.source})"
