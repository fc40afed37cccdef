"""Energy and compute of a run as the EU's form for models of general purpose asks for them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

from greenai.exporters.methodology import methodology
from greenai.exporters.report_markdown import escaped
from greenai.exporters.wording import printable
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenai.exporters.readable import ReadableRun

FORM = (
    "Model Documentation Form, General-Purpose AI Code of Practice, Transparency Chapter, "
    "European Commission, 10 July 2025"
)
SIZE = "Model properties"
COMPUTE = "Computational resources (during training)"
ENERGY = "Energy consumption (during training and inference)"

Status = Literal["measured", "estimated", "told by the training", "not measured"]
J_PER_MWH = 1000 * J_PER_KWH
S_PER_DAY = 86_400.0
HOURS_PER_DAY = 24.0
MEASURED_MIN = 0.995
"""Share of the energy from which on it is called measured."""
MONTH_DAYS = 365.25 / 12
RANGES = ((1, "less than 1 month"), (3, "1 to 3 months"), (6, "3 to 6 months"))
"""Training times for the national authorities, by months; all above is more than 6."""


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of the form.

    Attributes:
        section: Part of the form.
        name: As the form names it.
        value: As the form wants it, in words; empty is not known.
        number: The same as a number in ``unit``; None is not known, or no number.
        unit: Of the number.
        status: Whether it was measured.
        remark: What was measured and what not.
    """

    section: str
    name: str
    value: str
    number: float | None
    unit: str
    status: Status
    remark: str


def gpai_fields(run: ReadableRun) -> tuple[Field, ...]:
    """The energy and compute fields of the form, filled with what one run knows.

    The form asks for a model: the runs before the last one, and all that was not metered, are for
    its provider to add. The law has no boundary of the energy; the one used stands in the remark.

    Args:
        run: The run of the final model.

    Returns:
        Fields in the order of the form; what is not known has no value and says why.
    """
    summary = run.summary()
    return (
        _size(summary),
        *_time(summary),
        *_compute(summary),
        _energy(summary),
        Field(
            ENERGY,
            "Measurement methodology",
            methodology(summary),
            None,
            "",
            _status(summary),
            "of the amount of energy used for training",
        ),
        *_inference(),
    )


def gpai_json(run: ReadableRun) -> dict[str, Any]:
    """The fields as JSON knows them; what is not known is null."""
    fields = [dataclasses.asdict(one) for one in gpai_fields(run)]
    listed = [
        {name: None if value == "" else value for name, value in one.items()} for one in fields
    ]
    return {"form": FORM, "run_id": run.run_id, "fields": listed}


def gpai_markdown(run: ReadableRun) -> str:
    """The fields as Markdown, to be copied into the form."""
    lines = [
        "# Energy and compute of a training",
        "",
        (
            f"For the {FORM}. Filled by greenai from run {escaped(printable(run.run_id))}; all "
            "other fields, and all that was not metered, are for the provider."
        ),
    ]
    fields = gpai_fields(run)
    for section in dict.fromkeys(one.section for one in fields):
        lines += ["", f"## {section}"]
        for one in (field for field in fields if field.section == section):
            lines += ["", f"**{one.name}** ({one.status})", ""]
            lines.append(escaped(one.value) if one.value else "not known")
            lines += ["", f"*{escaped(one.remark)}*"]
    return "\n".join(lines) + "\n"


def _size(summary: Mapping[str, Any]) -> Field:
    parameters = summary.get("parameters")
    active = summary.get("active_parameters")
    more = f"; {significant(active)} of them are used for one token" if active else ""
    return Field(
        SIZE,
        "Total model size",
        "" if parameters is None else f"{significant(parameters)} parameters",
        parameters,
        "parameters",
        "not measured" if parameters is None else "told by the training",
        "the run's config names no parameters" if parameters is None else f"from the config{more}",
    )


def _time(summary: Mapping[str, Any]) -> Iterable[Field]:
    seconds = summary.get("duration_s")
    days = None if seconds is None else seconds / S_PER_DAY
    hours: dict[str, float] = summary.get("device_hours") or {}
    devices = math.fsum(hours.values()) / HOURS_PER_DAY if hours else None
    models = ", ".join(
        f"{significant(spent / HOURS_PER_DAY)} days of {printable(model, limit=60)}"
        for model, spent in hours.items()
    )
    restarts = summary.get("restarts") or 0
    yield Field(
        COMPUTE,
        "Training time",
        "" if days is None else _range_of(days),
        None,
        "",
        "not measured" if days is None else "measured",
        "range, for national competent authorities; of this run alone",
    )
    yield Field(
        COMPUTE,
        "Training time, wall clock days",
        "" if days is None else f"{significant(days)} days",
        days,
        "days",
        "not measured" if days is None else "measured",
        f"for the AI Office; {restarts} restarts, the time between attempts is not in it",
    )
    yield Field(
        COMPUTE,
        "Training time, hardware days",
        "" if devices is None else f"{significant(devices)} days",
        devices,
        "days",
        "not measured" if devices is None else "measured",
        f"for the AI Office; {models}" if models else "no accelerator was metered",
    )


def _compute(summary: Mapping[str, Any]) -> Iterable[Field]:
    flops = summary.get("flops")
    status: Status = "told by the training" if flops else "not measured"
    name = "Amount of computation used for training"
    yield Field(
        COMPUTE,
        name,
        f"order of magnitude 10^{math.floor(math.log10(flops))} FLOP" if flops else "",
        None,
        "FLOP",
        status,
        "for national competent authorities",
    )
    yield Field(
        COMPUTE, name, f"{significant(flops)} FLOP" if flops else "", flops or None, "FLOP", status,
        "for the AI Office; of this run alone, steps that were trained again included",
    )  # fmt: skip
    yield Field(
        COMPUTE,
        "Measurement methodology",
        "Sum of the floating point operations that the training reported for each optimizer step, "
        "worked out from the model's architecture and not counted by the hardware."
        if flops
        else "",
        None,
        "",
        status,
        "of the amount of computation" if flops else "the training reported no FLOPs of its steps",
    )


def _energy(summary: Mapping[str, Any]) -> Field:
    it_j, site_j = summary.get("energy_j"), summary.get("facility_energy_j")
    energy_j = it_j if site_j is None else site_j
    value_mwh = None if energy_j is None else energy_j / J_PER_MWH
    pue = summary.get("pue")
    site = (
        "no PUE was given, so that cooling and power distribution are not in it"
        if pue is None
        else f"IT energy of {significant((it_j or 0) / J_PER_MWH)} MWh times a PUE of {pue:g} "
        f"({printable(summary.get('pue_source') or 'source not stated', limit=80)})"
    )
    coverage = summary.get("coverage")
    share = (summary.get("trust") or {}).get("measured")
    known = "unknown" if share is None else f"{share:.1%}"
    covered = "unknown" if coverage is None else f"{coverage:.1%}"
    return Field(
        ENERGY,
        "Amount of energy used for training",
        "" if value_mwh is None else f"{significant(value_mwh)} MWh",
        value_mwh,
        "MWh",
        _status(summary),
        f"boundary: {printable(summary.get('energy_boundary'))}; {known} of the IT energy "
        f"measured; {covered} of time and devices covered; {site}; of this run alone, runs before "
        "it are not in it",
    )


def _inference() -> Iterable[Field]:
    for name in (
        "Benchmarked amount of computation used for inference",
        "Measurement methodology",
    ):
        yield Field(
            ENERGY, name, "", None, "FLOP" if name.startswith("B") else "", "not measured",
            "a training run says nothing of inference",
        )  # fmt: skip


def _status(summary: Mapping[str, Any]) -> Status:
    """Measured only where all of it is: a PUE is a factor, and a model is no meter."""
    if summary.get("energy_j") is None:
        return "not measured"
    share = (summary.get("trust") or {}).get("measured") or 0.0
    return "measured" if share >= MEASURED_MIN and summary.get("pue") is None else "estimated"


def _range_of(days: float) -> str:
    months = days / MONTH_DAYS
    return next((said for most, said in RANGES if months < most), "more than 6 months")


def significant(value: float) -> str:
    """Three significant digits, as the form writes them; it asks for two at least.

    Example:
        >>> significant(1287.06), significant(0.0042), significant(7.3e10)[-5:]
        ('1,290', '0.00420', '10^10')
    """
    if not value:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-12)
    if not -4 < power < 6:  # noqa: PLR2004 - where digits stop being read
        return f"{value / 10.0**power:.2f}×10^{power}"
    rounded = round(value, 2 - power)
    return f"{rounded:,.{max(0, 2 - power)}f}"
