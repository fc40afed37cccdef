"""What a report of a run says, in words and sheets; terminal and page only lay it out."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from greenai.exporters import accounting, quantities
from greenai.exporters.breakdown import by_component, by_phase, trust_text
from greenai.exporters.methodology import methodology
from greenai.exporters.origins import config_facts, lineage_facts, lineage_sheet, model_fact
from greenai.exporters.sheets import Fact, Section, Sheet
from greenai.exporters.wording import printable
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from greenai.analysis.footprint import Footprint
    from greenai.exporters.readable import ReadableRun


@dataclasses.dataclass(frozen=True, slots=True)
class Outline:
    """All that a report says apart from its plots.

    Attributes:
        title: Name of the run's folder.
        subtitle: Variant, project, start.
        headline: The figures that matter most.
        notices: What a reader must know, in sentences.
        components: Energy by component with how it was come by.
        phases: Energy by phase.
        emissions: Emissions and every factor in them.
        work: Steps, tokens and the energy of each.
        identity: What the run was.
        devices: How each device was metered.
        attempts: Every start of the run.
        lineage: The runs that it goes on from; no rows where it names none.
        impacts: Facility energy, carbon both ways, hardware, water, money, scores.
        assumed: What is estimated, assumed or left out, in sentences.
        method: How it was measured and worked out, as a paragraph.
    """

    title: str
    subtitle: str
    headline: tuple[Fact, ...]
    notices: tuple[str, ...]
    components: Sheet
    phases: Sheet
    emissions: tuple[Fact, ...]
    work: tuple[Fact, ...]
    identity: tuple[Fact, ...]
    devices: Sheet
    attempts: Sheet
    lineage: Sheet
    impacts: tuple[Fact, ...]
    assumed: tuple[str, ...]
    method: str

    def energy_sections(self) -> tuple[Section, ...]:
        """What a report says before its plots."""
        sheets = (self.components, self.devices, self.phases, self.attempts, self.lineage)
        return tuple(Section(one.title, sheet=one) for one in sheets if one.rows)

    def further_sections(self) -> tuple[Section, ...]:
        """What it says after them."""
        assumed = Section("Estimated, assumed or left out", sentences=self.assumed)
        return (
            Section("Emissions", facts=self.emissions),
            Section("Impacts", facts=self.impacts),
            Section("Work", facts=self.work),
            *((assumed,) if self.assumed else ()),
            Section("Methodology", paragraph=self.method),
            Section("About this run", facts=self.identity),
        )


def outline_of(run: ReadableRun) -> Outline:
    """Put a run into words.

    Args:
        run: The run.

    Returns:
        Texts safe to print: control characters and over-long names are gone. Whatever is not
        known reads ``unknown``.
    """
    summary, footprint = run.summary(), run.footprint()
    parts = [("variant", summary.get("variant")), ("project", summary.get("project"))]
    said = [f"{name} {printable(value)}" for name, value in parts if value]
    if started := _moment(summary.get("started_utc")):
        said.append(f"started {started}")
    return Outline(
        title=printable(run.record.folder.name or run.variant or run.run_id),
        subtitle=" · ".join(said),
        headline=_headline(summary, footprint),
        notices=tuple(printable(notice, limit=600) for notice in run.notices),
        components=by_component(summary, run),
        phases=by_phase(run.phases()),
        emissions=_emissions(footprint),
        work=_work(summary),
        identity=_identity(summary, run),
        devices=accounting.devices_sheet(summary),
        attempts=accounting.attempts_sheet(summary),
        lineage=lineage_sheet(summary),
        impacts=accounting.impact_facts(summary),
        assumed=accounting.assumed_sentences(summary),
        method=methodology(summary),
    )


def _headline(summary: dict[str, Any], footprint: Footprint) -> tuple[Fact, ...]:
    energy_j = summary["energy_j"]
    pue = "no PUE" if footprint.pue is None else f"PUE {footprint.pue:g}"
    per_token = summary["j_per_token"] is not None
    name, per = ("Per token", "j_per_token") if per_token else ("Per step", "j_per_step")
    return (
        Fact("Energy", quantities.energy(energy_j), quantities.electricity(energy_j)),
        Fact(
            "Emissions (CO₂e)",
            quantities.mass(footprint.operational_co2e_g),
            f"at {quantities.decimal(footprint.intensity_g_per_kwh)} g/kWh, {pue}",
        ),
        Fact(name, quantities.energy(summary[per]), "training steps only"),
        Fact(
            "Duration",
            quantities.duration(summary["duration_s"]),
            quantities.many(summary["steps"], "step"),
        ),
        Fact("Measured", *_measured(summary)),
    )


def _measured(summary: dict[str, Any]) -> tuple[str, str]:
    """Share that is measured; what the rest is, and how much of the run the energy is of."""
    rest = {name: part for name, part in summary["trust"].items() if name != "measured"}
    said = [trust_text(rest)] if any(rest.values()) else []
    covered = f"{quantities.share(summary['coverage'])} of the run covered"
    return quantities.share(summary["trust"]["measured"]), ", ".join([*said, covered])


def _emissions(footprint: Footprint) -> tuple[Fact, ...]:
    known = math.isfinite(footprint.operational_co2e_g)
    mass = quantities.mass(footprint.operational_co2e_g)
    year = "unknown year" if footprint.intensity_year is None else str(footprint.intensity_year)
    when = year if footprint.over_time is None else "as it changed with time"
    facts = [
        Fact(
            "Operational emissions",
            f"{mass} CO₂e" if known else quantities.UNKNOWN,
            "IT energy × PUE × intensity" if footprint.pue else "IT energy × intensity",
        ),
        Fact(
            "IT energy",
            quantities.electricity(footprint.energy_j),
            printable(footprint.boundary),
        ),
    ]
    if footprint.pue is None:
        facts.append(Fact("PUE", "not given", "cooling and power distribution are left out"))
    else:
        facility = quantities.electricity(footprint.facility_energy_j)
        source = printable(footprint.pue_source, limit=200) or "its source was not stated"
        facts.append(Fact("PUE", f"{footprint.pue:g}", f"facility energy {facility}; {source}"))
    facts += [
        Fact(
            "Carbon intensity",
            f"{quantities.decimal(footprint.intensity_g_per_kwh)} gCO₂e/kWh",
            f"{printable(footprint.place)}, {when}, {footprint.intensity_basis} basis, "
            f"{footprint.intensity_signal}",
        ),
        Fact("Source", printable(footprint.intensity_source, limit=400)),
    ]
    return tuple(facts)


def _work(summary: dict[str, Any]) -> tuple[Fact, ...]:
    facts = [
        Fact("Optimizer steps", quantities.count(summary["steps"]), _unknown_steps(summary)),
        Fact("Batches", quantities.count(summary["batches"])),
        Fact("Tokens", quantities.count(summary["tokens"])),
        Fact("Model FLOPs", quantities.count(summary["flops"]), _flops_from(summary["flops"])),
        Fact("Energy of the steps", quantities.energy(summary["steps_j"])),
        Fact("Energy per step", quantities.energy(summary["j_per_step"]), _spread(summary)),
        Fact("Energy per token", quantities.energy(summary["j_per_token"])),
        *accounting.compute_facts(summary),
    ]
    if labels := summary.get("attribution"):
        said = ", ".join(f"{quantities.share(part)} {name}" for name, part in labels.items())
        finest = list(labels) == ["resolved"]
        short = "" if finest else "steps about as short as the counter's refresh are less sharp"
        facts.append(Fact("Attribution of steps", said, short))
    if summary.get("idle_j") is not None:
        idle = quantities.energy(summary["idle_j"])
        part = quantities.share(
            summary["idle_j"] / summary["energy_j"] if summary["energy_j"] else None
        )
        remark = f"{part} of the run's energy; idle power of the config times the time"
        facts.append(Fact("Devices at rest would have used", idle, remark))
    if summary.get("job_cpu_share") is not None:
        job_j = quantities.energy(summary["job_cpu_j"])
        remark = f"of the CPUs' time: about {job_j} of their energy, an estimate beside the whole"
        facts.append(Fact("Job's share", quantities.share(summary["job_cpu_share"]), remark))
    if check := summary.get("codecarbon_check"):
        theirs = quantities.electricity(check["energy_kwh"] * J_PER_KWH)
        ours = quantities.electricity(check["greenai_kwh"] * J_PER_KWH)
        facts.append(Fact("CodeCarbon beside", theirs, f"greenai {ours} over the same time"))
    if summary.get("wasted_j"):
        wasted = quantities.energy(summary["wasted_j"])
        facts.append(Fact("Energy of steps trained again", wasted, "part of the run's energy"))
    facts.extend(lineage_facts(summary.get("lineage")))
    return tuple(facts)


def _flops_from(flops: float | None) -> str:
    return "" if flops is None else "as the training stated them, by step or by token"


def _unknown_steps(summary: dict[str, Any]) -> str:
    unknown = summary.get("steps_of_unknown_energy")
    return f"{quantities.count(unknown)} of them of unknown energy" if unknown else ""


def _spread(summary: dict[str, Any]) -> str:
    spread = summary.get("step_energy_j") or {}
    if spread.get("median") is None:
        return ""
    bulk = quantities.interval(spread["q05"], spread["q95"], "J")
    return f"median {quantities.energy(spread['median'])}; nine in ten are {bulk}"


def _identity(summary: dict[str, Any], run: ReadableRun) -> tuple[Fact, ...]:
    present, expected = summary["ranks"], summary.get("ranks_expected") or summary["ranks"]
    ranks = f"{present} of {expected}" if present != expected else str(present)
    manifest = run.record.manifest
    kept = manifest.get("config")
    config = kept if isinstance(kept, dict) else {}
    facts = [
        Fact("Run", printable(run.run_id)),
        model_fact(config),
        Fact("Variant", printable(run.variant) or "none"),
        Fact("Project", printable(summary.get("project") or "") or "none"),
        Fact("Started", _moment(summary.get("started_utc")) or quantities.UNKNOWN),
        Fact("Last mark", _moment(summary.get("ended_utc")) or quantities.UNKNOWN),
        Fact("Duration", quantities.duration(summary["duration_s"])),
        *accounting.hardware_facts(summary),
        Fact("Ended", accounting.ended_text(summary["ended"])),
        Fact("Attempts", str(summary["attempts"])),
        Fact("Ranks", ranks),
    ]
    facts.append(Fact("Schema of summary.json", str(summary.get("schema_version"))))
    commit = manifest.get("git_commit")
    facts.append(Fact("Commit", printable(commit, limit=64) if commit else quantities.UNKNOWN))
    facts.extend(config_facts(config))
    return tuple(facts)


def _moment(text: object) -> str:
    """A moment to the second, in UTC; what is no moment is shown as it is."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return printable(text)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
