"""A record with its analysis: what greenai.load returns."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from greenai import grid
from greenai.analysis.footprint import footprint_over_time
from greenai.analysis.intensity import mean_over, weigh
from greenai.analysis.node import node_energies
from greenai.crosscheck import codecarbon_check
from greenai.energy_utc import constant_footprint, energy_over, yearly_of
from greenai.errors import RecordError
from greenai.lineage import about_lineage, lineage_of
from greenai.merging import (
    curves_of,
    devices_counted,
    duration_s,
    energy_bounds_j,
    job_energy_of,
    launch_numbers,
    parts_of,
    phases_of,
    start_utc_ns,
    subphases_of,
)
from greenai.metrics import PHASE_COLUMNS, STEP_COLUMNS, SUB_PHASE_COLUMNS
from greenai.observation import figures_of
from greenai.record.types import SCHEMA_VERSION
from greenai.sensors.base import KINDS, TRUSTS
from greenai.shortfalls import devices_missing, length_ns, notices, seconds_of, whole_number
from greenai.statement import statement_of
from greenai.step_table import SUMMED, steps_of, texts
from greenai.stragglers import ending_of
from greenai.units import J_PER_KWH, NS_PER_S

if TYPE_CHECKING:
    from pathlib import Path

    from greenai.analysis.comparable import RunFigures
    from greenai.analysis.footprint import Footprint
    from greenai.analysis.impacts import Factors
    from greenai.analysis.intensity import IntensitySeries
    from greenai.merging import Part, PowerCurve
    from greenai.record.types import Record
    from greenai.units import Floats


class Run:
    """One run: its record, and everything that follows from it.

    Args:
        record: What is on disk.
        country: Country of the factor; None takes the one recorded with the run.
        region: Region of the factor, likewise.
        pue: Power usage effectiveness, likewise.
        pue_source: Where that comes from; the recorded source belongs to the recorded PUE alone.
        intensity: Intensity that changes with time; the yearly factor then only fills its holes.
        intensity_table: Table of yearly factors, as for ``grid.intensity``; None takes the one
            recorded with the run.
        factors: What no record holds: price, water, contract; unknown where left out.
    """

    def __init__(
        self,
        record: Record,
        *,
        country: str | None = None,
        region: str | None = None,
        pue: float | None = None,
        pue_source: str | None = None,
        intensity: IntensitySeries | None = None,
        intensity_table: str | Path | None = None,
        factors: Factors | None = None,
    ) -> None:
        self.record = record
        self._factors = factors
        self._series = intensity
        settings = record.manifest.get("settings") or {}

        def recorded(
            name: str, kind: type | tuple[type, ...], known: tuple[str, ...] | None = None
        ) -> Any:
            entry = settings.get(name) if isinstance(settings, dict) else None
            value = entry.get("value") if isinstance(entry, dict) else None
            right = isinstance(value, kind) and not isinstance(value, bool)
            if value is None or (right and (known is None or value in known)):
                return value
            raise RecordError(
                f"The manifest's setting {name} is {str(value)[:80]!r}.",
                "Emissions cannot be worked out with it.",
                f"mend manifest.json, or give another {name}",
                path=record.folder,
            )

        own_region = recorded("region", str) if country is None else None
        own_country = recorded("country", str) if country is None else None
        # By its name alone: a record from elsewhere must not name a file of whoever reads it.
        tables = (grid.NEWEST, *grid.TABLES)
        self._table = intensity_table or recorded("intensity_table", str, tables)
        self._intensity = grid.intensity(country or own_country, region or own_region, self._table)
        self._pue: float | None = pue if pue is not None else recorded("pue", (int, float))
        if self._pue is not None:
            self._pue = float(self._pue)  # a whole number of a record may have any length
        own_source = recorded("pue_source", str) if pue is None else None
        self._pue_source: str = pue_source or own_source or ""

    @property
    def run_id(self) -> str:
        """Identity of the run."""
        return self.record.run_id

    @property
    def variant(self) -> str:
        """What is compared; the run folder's name where none was given."""
        return self.record.variant or self.record.folder.name

    @property
    def project(self) -> str:
        """What the run belongs to; may be empty."""
        return str(self.record.manifest.get("project") or "")

    @property
    def country(self) -> str | None:
        """Code of the grid's country; None where nobody named one."""
        return None if self._intensity.is_world_average else self._intensity.country

    @property
    def config(self) -> dict[str, Any]:
        """Facts that the user kept with the run."""
        return dict(self.record.manifest.get("config") or {})

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Attempts of ranks with their energies."""
        return parts_of(self.record)

    @cached_property
    def summed_steps(self) -> pd.DataFrame:
        """The columns of ``steps()`` that sums are made of, to be read alone: one is made once."""
        return steps_of(self.parts, SUMMED)

    def steps(self) -> pd.DataFrame:
        """One row a step, columns as in steps.csv; NaN or None is unknown.

        Energy is IT energy; only ``operational_co2e_g`` contains PUE.
        """
        frame = steps_of(self.parts)
        start_ns = start_utc_ns(self.parts) or 0
        g_per_kwh = self._step_intensity(frame)
        added = {
            "run_id": self.run_id,
            "variant": self.variant,
            "start_utc": pd.to_datetime(frame["start_utc_ns"].astype("int64"), utc=True),
            "start_s": (frame["start_utc_ns"] - start_ns) / NS_PER_S,
            "end_s": (frame["end_utc_ns"] - start_ns) / NS_PER_S,
            "power_w": frame["energy_j"] / frame["duration_s"].where(frame["duration_s"] > 0),
            "pue": math.nan if self._pue is None else self._pue,
            "intensity_g_per_kwh": g_per_kwh,
            "operational_co2e_g": frame["energy_j"] * g_per_kwh * ((self._pue or 1.0) / J_PER_KWH),
            "attribution": texts(frame["attribution"]),
            "boundary": texts(frame["boundary"]),
        }
        columns = {name: added[name] if name in added else frame[name] for name in STEP_COLUMNS}
        return pd.DataFrame(columns, index=frame.index)

    @cached_property
    def _phases(self) -> pd.DataFrame:
        return phases_of(self.parts)[list(PHASE_COLUMNS)]

    def phases(self) -> pd.DataFrame:
        """One row a phase, columns as in phases.csv; the energies add up to the run's."""
        return self._phases.copy()

    def subphases(self) -> pd.DataFrame:
        """One row a part of steps that was marked (forward, backward, optimizer), or none.

        The energies are contained in ``train_step`` of ``phases()``. Boundaries are the host's:
        on a GPU, whose work is queued, they say when work was handed over, not when it was done.
        """
        return subphases_of(self.parts)[list(SUB_PHASE_COLUMNS)]

    def energy(self) -> float:
        """IT energy of all devices and attempts, in joules; NaN where nothing was metered."""
        return float(self._phases["energy_j"].sum(min_count=1))

    def trust(self) -> dict[str, float]:
        """Shares of the energy that are measured, modelled and assumed; NaN without energy."""
        by_trust = dict.fromkeys(TRUSTS, 0.0)
        for part in self.parts:
            for one in part.energies.channels:
                by_trust[one.channel.trust] += one.covered_j
        total_j = sum(by_trust.values())  # the run's energy, of which rounding makes no 99.9 %
        return {name: _ratio(energy_j, total_j) for name, energy_j in by_trust.items()}

    def coverage(self) -> float:
        """Share of the run's time and devices that the energy is of; missing ranks lower it."""
        covered = wanted = 0.0
        longest: dict[int, float] = {}
        for part in self.parts:
            number = part.attempt.attempt
            longest[number] = max(longest.get(number, 0.0), length_ns(part))
        for part in self.parts:
            covered += sum(one.covered_ns for one in part.energies.channels)
            wanted += len(devices_missing(part)) * longest[part.attempt.attempt]
        wanted += sum(longest[part.attempt.attempt] for part, _ in devices_counted(self.parts))
        present, expected = self._ranks()
        return _ratio(covered, wanted) * _ratio(present, expected)

    def footprint(
        self,
        country: str | None = None,
        region: str | None = None,
        pue: float | None = None,
        intensity: IntensitySeries | None = None,
    ) -> Footprint:
        """Operational emissions with the recorded factors, or with others.

        Args:
            country: ISO 3166 alpha-3 code; None keeps the recorded one.
            region: Region of that country.
            pue: Power usage effectiveness; None keeps the recorded one.
            intensity: Intensity that changes with time; its holes are filled by the yearly factor
                of the country where that counts the same. With a country alone it is not used.

        Raises:
            GridError: The country or the region is unknown.
            OrderError: PUE is below 1.
        """
        other = country is not None or region is not None
        used = (
            grid.intensity(country or self.country, region, self._table)
            if other
            else self._intensity
        )
        about: dict[str, Any] = {
            "pue": self._pue if pue is None else pue,
            "pue_source": self._pue_source if pue is None else "",
            "components": self.components(),
            "trust": self.trust(),
            "coverage": self.coverage(),
        }
        series = intensity if intensity is not None or other else self._series
        if series is None:
            return constant_footprint(self.energy(), used, **about)
        own = series is self._series
        energy_j = self._series_j if own else energy_over(self.parts, series.edges_utc_ns)
        yearly = yearly_of(used)
        weighted = weigh(energy_j, self.energy(), series, yearly)
        filled_by = yearly.name if yearly is not None else ""
        return footprint_over_time(self.energy(), weighted, series, filled_by=filled_by, **about)

    @cached_property
    def _series_j(self) -> Floats:
        """Energy in each span of the intensity that the run was loaded with."""
        assert self._series is not None  # noqa: S101 - asked for by its owner alone
        return energy_over(self.parts, self._series.edges_utc_ns)

    def _step_intensity(self, frame: pd.DataFrame) -> Any:
        """Intensity of each step, in g/kWh."""
        if self._series is None:
            return self._intensity.g_per_kwh
        start_ns, end_ns = (
            frame[name].to_numpy(dtype=np.int64) for name in ("start_utc_ns", "end_utc_ns")
        )
        return mean_over(start_ns, end_ns, self._series, yearly_of(self._intensity))

    def components(self) -> tuple[str, ...]:
        """Kinds of device that have energy, in report order."""
        return tuple(kind for kind in KINDS if self._phases[f"{kind}_j"].notna().any())

    def devices(self) -> tuple[str, ...]:
        """Model and method of every device that is counted, sorted."""
        return tuple(
            sorted(
                f"{one.channel.model or one.channel.device} ({one.channel.method})"
                for _, one in devices_counted(self.parts)
            )
        )

    def warmup_s(self) -> float:
        """Seconds of training at the start that comparisons leave out."""
        return max(
            (seconds_of(part.attempt.manifest.get("warmup_s")) for part in self.parts),
            default=0.0,
        )

    def power(self, points: int = 2000) -> list[PowerCurve]:
        """Mean power of each device over the run, at most ``points`` each."""
        return curves_of(self.parts, points)

    def summary(self) -> dict[str, Any]:
        """Content of summary.json: plain values, None where unknown."""
        steps, phases = self.summed_steps, self._phases.set_index("phase")["energy_j"]
        emitted = self.footprint()
        known = steps["energy_j"].notna()
        steps_j = float(phases[["train_step", "data_wait"]].sum(min_count=1))
        low_j, high_j = energy_bounds_j(self.parts)
        job = job_energy_of(self.parts)
        tokens = float(steps["tokens"][known].sum(skipna=False)) if known.any() else math.nan
        present, expected = self._ranks()
        wasted = steps.loc[steps["rolled_back"].astype(bool), "energy_j"]
        plain = {
            "schema_version": SCHEMA_VERSION,
            "project": self.project,
            "run_id": self.run_id,
            "variant": self.variant,
            "started_utc": self.record.manifest.get("started_utc"),
            "duration_s": duration_s(self.parts),
            "ended": ending_of(self.parts),
            "attempts": len(set(launch_numbers(self.parts).values())),
            "ranks": present,
            "ranks_expected": expected,
            "steps": len(steps),
            "batches": float(steps["batches"].sum()),
            "tokens": float(steps["tokens"].sum(skipna=False)) if len(steps) else math.nan,
            "samples": float(steps["samples"].sum(skipna=False)) if len(steps) else math.nan,
            "flops": float(steps["flops"].sum(skipna=False)) if len(steps) else math.nan,
            "energy_j": self.energy(),
            "energy_low_j": low_j,
            "energy_high_j": high_j,
            "steps_j": steps_j,
            "component_j": {
                kind: float(self._phases[f"{kind}_j"].sum(min_count=1)) for kind in KINDS
            },
            "energy_boundary": emitted.boundary,
            "trust": self.trust(),
            "coverage": self.coverage(),
            "unattributed_j": float(phases["unattributed"]),
            "wasted_j": float(wasted.sum(min_count=1)) if len(wasted) else 0.0,
            "j_per_step": _ratio(steps_j, int(known.sum())),
            "j_per_token": _ratio(steps_j, tokens),
            "pue": emitted.pue,
            "pue_source": emitted.pue_source or None,
            "intensity_g_per_kwh": emitted.intensity_g_per_kwh,
            "intensity_low_g_per_kwh": emitted.intensity_low_g_per_kwh,
            "intensity_high_g_per_kwh": emitted.intensity_high_g_per_kwh,
            "intensity_source": emitted.intensity_source,
            "intensity_year": emitted.intensity_year,
            "intensity_place": emitted.place,
            "intensity_basis": emitted.intensity_basis,
            "intensity_signal": emitted.intensity_signal,
            "intensity_fetched_utc": emitted.intensity_fetched_utc,
            "intensity_over_time": emitted.to_json()["over_time"],
            "operational_co2e_g": emitted.operational_co2e_g,
            "warmup_s": self.warmup_s(),
            "job_cpu_share": job.share,
            "job_cpu_j": job.energy_j,
            "codecarbon_check": codecarbon_check(self.parts),
            "node_j": node_energies((p.attempt, p.energies.timeline.edges_ns) for p in self.parts),
            "notices": list(self.notices),
            **statement_of(self, self._factors),
        }
        return {name: _json(value) for name, value in plain.items()}

    def figures(self) -> RunFigures:
        """What a comparison needs: the steps after the warm-up, their energy, time and work."""
        return figures_of(self)

    @cached_property
    def notices(self) -> tuple[str, ...]:
        """What a reader must know, in sentences."""
        said = notices(self.record, self.parts, self._ranks())
        steps = self.summed_steps
        again = steps.loc[steps["rolled_back"].astype(bool), "energy_j"]
        if unknown := int(again.isna().sum()):
            said.append(
                f"{unknown} of {len(again)} steps that were trained again have unknown energy: "
                "more was wasted than is known."
            )
        said.extend(about_lineage(lineage_of(self)))
        said.extend(self.footprint().assumptions)
        return tuple(dict.fromkeys(said))

    def _ranks(self) -> tuple[int, int]:
        present = {part.attempt.rank for part in self.parts}
        sizes = [whole_number(part.attempt.manifest.get("world_size")) for part in self.parts]
        return len(present), max([len(present), *sizes])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole and math.isfinite(whole) else math.nan


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
