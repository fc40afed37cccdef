"""How loss falls with energy, tokens and parameters over runs, and what a loss would cost."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.analysis.comparable import COVERED_ENOUGH, MEASURED_ENOUGH
from greenai.analysis.power_law import SIZES_MIN, PowerLaw, count_sizes, fit
from greenai.errors import ComparisonError
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenai.analysis.power_law import Cost

QUANTITIES = ("energy_j", "tokens", "active_parameters")
"""What loss is fitted against, in report order."""
NAMES = {"energy_j": "energy", "tokens": "tokens", "active_parameters": "active parameters"}
IN_PART = {"energy_j": " or known in part", "tokens": "", "active_parameters": ""}
LISTED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class SizedRun:
    """What a fit needs to know of one run; NaN is unknown.

    Attributes:
        run_id: Identity of the run.
        variant: What it trained.
        loss: Loss that it ended with.
        energy_j: Gross IT energy of the whole run.
        tokens: Tokens that it trained on.
        active_parameters: Parameters that a token passes through.
        devices: Models of the devices that the energy is of; empty is unknown.
        coverage: Share of the run's time and devices that the energy is of.
        measured: Share of the energy that was measured and not modelled.
    """

    run_id: str
    variant: str
    loss: float
    energy_j: float = math.nan
    tokens: float = math.nan
    active_parameters: float = math.nan
    devices: tuple[str, ...] = ()
    coverage: float = math.nan
    measured: float = math.nan


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """Laws of loss over several runs.

    Attributes:
        laws: Fitted laws by quantity.
        refused: Why a quantity has none, in a sentence.
        notes: What a reader must know, in sentences.
        runs: Runs that have a loss.
        devices: Models of the devices; empty is unknown.
    """

    laws: Mapping[str, PowerLaw]
    refused: Mapping[str, str]
    notes: tuple[str, ...]
    runs: int
    devices: tuple[str, ...]

    def energy_to(self, loss: float) -> Cost:
        """Energy at which the fitted curve reaches a loss, in joules.

        Raises:
            ComparisonError: Energy has no law, or the law never reaches the loss.
        """
        law = self.laws.get("energy_j")
        if law is None:
            raise ComparisonError(
                self.refused["energy_j"],
                f"What a loss of {loss:g} costs cannot be said.",
                f"give metered runs of at least {SIZES_MIN} sizes on one kind of device",
            )
        return law.cost_of(loss)

    def to_json(self, loss: float | None = None) -> dict[str, Any]:
        """Plain values, None where unknown or infinite; with the cost of a loss where asked."""
        plain: dict[str, Any] = {
            "runs": self.runs,
            "devices": list(self.devices),
            "laws": {name: _law_to_json(law) for name, law in self.laws.items()},
            "refused": dict(self.refused),
            "notes": list(self.notes),
        }
        if loss is not None:
            cost = self.energy_to(loss)
            plain["answer"] = {
                "loss": loss,
                "energy_kwh": _finite(cost.amount / J_PER_KWH),
                "low_kwh": _finite(cost.interval.low / J_PER_KWH),
                "high_kwh": _finite(cost.interval.high / J_PER_KWH),
                "beyond": _finite(cost.beyond),
                "extrapolated": cost.beyond != 1,
            }
        return plain


def scaling(runs: Sequence[SizedRun], *, across_devices: bool = False) -> Scaling:
    """Fit loss against energy, tokens and active parameters.

    Args:
        runs: Runs of different sizes, trained alike; repeats of a size are welcome.
        across_devices: Whether energies of unlike devices may be put into one fit.

    Returns:
        One law for each quantity that at least four sizes are known of.

    Raises:
        ComparisonError: A run is given twice, the devices are unlike, or no quantity can be
            fitted.

    Example:
        >>> sizes = [1e6, 4e6, 1.6e7, 6.4e7, 2.56e8]
        >>> runs = [SizedRun(f"r{n:g}", "dense", 1.5 + 40 * n**-0.25, energy_j=n) for n in sizes]
        >>> found = scaling(runs)
        >>> round(found.laws["energy_j"].exponent, 3), sorted(found.refused)
        (0.25, ['active_parameters', 'tokens'])
    """
    _check_ids(runs)
    lossless = [run.run_id for run in runs if not _is_positive(run.loss)]
    known = [run for run in runs if _is_positive(run.loss)]
    kinds = {tuple(sorted(run.devices)) for run in known if run.devices}
    if len(kinds) > 1 and not across_devices:
        raise ComparisonError(
            f"The runs were made on unlike devices: {'; '.join(map(' + '.join, sorted(kinds)))}.",
            "A joule of one buys another loss than a joule of the other.",
            "give runs of one machine, or allow it with --across device",
        )
    laws: dict[str, PowerLaw] = {}
    refused: dict[str, str] = {}
    notes = [f"No loss is known of {_listed(lossless)}: left out."] if lossless else []
    for name in QUANTITIES:
        usable = [run for run in known if _is_usable(run, name)]
        missing = [run.run_id for run in known if not _is_usable(run, name)]
        without = (
            f"{NAMES[name].capitalize()} unknown{IN_PART[name]} of {_listed(missing)}: left out."
        )
        try:
            laws[name] = _fit(usable, name)
        except ComparisonError as error:
            refused[name] = f"Loss against {NAMES[name]}: {error.what}"
            if missing:
                refused[name] += f" {without}"
        else:
            notes.extend([without] if missing else [])
    if not laws:
        raise ComparisonError(
            f"Nothing can be fitted to {len(runs)} runs. {' '.join(refused.values())}",
            "There is no law to read a cost from.",
            f"give runs of at least {SIZES_MIN} sizes that logged their loss",
        )
    return Scaling(
        laws=laws,
        refused=refused,
        notes=(*notes, *_about(known, across_devices=across_devices)),
        runs=len(known),
        devices=next(iter(kinds)) if len(kinds) == 1 else (),
    )


def _fit(runs: Sequence[SizedRun], name: str) -> PowerLaw:
    x = np.array([getattr(run, name) for run in runs], dtype=np.float64)
    return fit(x, np.array([run.loss for run in runs], dtype=np.float64))


def _is_usable(run: SizedRun, name: str) -> bool:
    """Whether a run knows the quantity; an energy with gaps would be too small."""
    if name == "energy_j" and run.coverage < COVERED_ENOUGH:
        return False
    return _is_positive(getattr(run, name))


def _about(runs: Sequence[SizedRun], *, across_devices: bool) -> list[str]:
    said = []
    if any(run.measured < MEASURED_ENOUGH for run in runs):
        said.append(
            "Less than half of the energy is measured: the rest is a model of time, and what is "
            "said of energy is said of time."
        )
    if across_devices:
        said.append("Unlike devices were allowed: what they differ in is part of the scatter.")
    variants = sorted({run.variant for run in runs})
    parameters = np.array([run.active_parameters for run in runs])
    sizes = count_sizes(parameters[np.isfinite(parameters) & (parameters > 0)])
    if len(variants) > max(1, sizes):
        said.append(
            f"Runs of {len(variants)} variants are fitted together ({_listed(variants)}): give the "
            "runs of one kind to fit that one."
        )
    return said


def _check_ids(runs: Sequence[SizedRun]) -> None:
    ids = [run.run_id for run in runs]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise ComparisonError(
            f"The run {twice[0]!r} is given twice.",
            "It would count as a repeat, and intervals would come out too narrow.",
            "give each run folder once",
        )


def _law_to_json(law: PowerLaw) -> dict[str, Any]:
    return {
        "irreducible": law.irreducible,
        "irreducible_low": _finite(law.irreducible_interval.low),
        "irreducible_high": _finite(law.irreducible_interval.high),
        "scale": law.scale,
        "reference": law.reference,
        "exponent": law.exponent,
        "exponent_low": _finite(law.exponent_interval.low),
        "exponent_high": _finite(law.exponent_interval.high),
        "scatter": law.scatter,
        "from": law.x_low,
        "to": law.x_high,
        "n": law.n,
        "sizes": law.sizes,
    }


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
