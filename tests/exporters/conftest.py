from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from greenai.analysis.compare import RunFigures, compare
from greenai.analysis.efficiency import Work
from greenai.analysis.footprint import Footprint, footprint
from greenai.analysis.lens import Lens, LensRun, loss_curve
from greenai.analysis.routing import router_load_of_facts
from greenai.metrics import PHASE_COLUMNS, STEP_COLUMNS, SUB_PHASE_COLUMNS
from greenai.record.types import Anchor, Attempt, Marks, Record
from greenai.sensors.base import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_J = 12.5


@dataclasses.dataclass(frozen=True)
class FakeCurve:
    device: str
    kind: str
    trust: str
    t_s: np.ndarray[Any, np.dtype[np.float64]]
    power_w: np.ndarray[Any, np.dtype[np.float64]]


@dataclasses.dataclass
class FakeRun:
    """A run made of literals, in the shape that exporters read."""

    record: Record
    frame: pd.DataFrame
    facts: dict[str, Any]
    phase_rows: list[tuple[Any, ...]]
    curves: list[FakeCurve]
    notices: tuple[str, ...] = ()
    pue: float | None = 1.2

    @property
    def run_id(self) -> str:
        return str(self.facts["run_id"])

    @property
    def variant(self) -> str:
        return str(self.facts["variant"])

    def steps(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return self.frame[list(self.frame.columns if columns is None else columns)].copy()

    def subphases(self) -> pd.DataFrame:
        return pd.DataFrame({name: [] for name in SUB_PHASE_COLUMNS})

    def phases(self) -> pd.DataFrame:
        return pd.DataFrame(self.phase_rows, columns=list(PHASE_COLUMNS))

    def summary(self) -> dict[str, Any]:
        return dict(self.facts)

    def footprint(self) -> Footprint:
        energy_j = self.facts["energy_j"]
        return footprint(
            math.nan if energy_j is None else energy_j,
            56.039,
            source="Ember 2024 <yearly> & others",
            place="FRA",
            year=2023,
            basis="lifecycle",
            pue=self.pue,
            components=["gpu", "cpu", "dram"],
            trust=self.facts["trust"],
        )

    def power(self, points: int = 2000) -> list[FakeCurve]:
        assert points == 2000
        return self.curves


def channel(kind: str, device: str, trust: str, method: str, model: str) -> Channel:
    return Channel(
        "energy_j", kind, device, f"host/{device}", method, trust, True, 10**8, model=model
    )  # type: ignore[arg-type] # names from literals


def steps(count: int, name: str, variant: str) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    number = np.arange(count)
    energy_j = STEP_J * (1 + 0.08 * rng.standard_normal(count)) + 6 * np.exp(-number / 12)
    energy_j[count // 2] = np.nan
    duration_s = 0.031 + 0.002 * rng.standard_normal(count)
    end_s = 1.5 + np.cumsum(duration_s)
    frame = pd.DataFrame(index=number, columns=list(STEP_COLUMNS), dtype=object)
    frame = frame.assign(
        run_id=pd.Series([name] * count, dtype=object),
        variant=pd.Series([variant] * count, dtype=object),
        attempt=0,
        step=number,
        epoch=number // 200,
        start_utc=pd.Timestamp("2026-03-01T10:00:00Z") + pd.to_timedelta(end_s - duration_s, "s"),
        start_s=end_s - duration_s,
        end_s=end_s,
        duration_s=duration_s,
        batches=1,
        samples=8.0,
        tokens=2048.0,
        flops=3.1e12,
        loss=5.5 * np.exp(-number / (count / 3)) + 1.2 + 0.05 * rng.standard_normal(count),
        energy_j=energy_j,
        energy_low_j=energy_j - 1.1,
        energy_high_j=energy_j + 1.6,
        gpu_j=energy_j * 0.8,
        cpu_j=energy_j * 0.2,
        dram_j=np.nan,
        other_j=np.nan,
        measured_share=1.0,
        attribution=np.where(np.isnan(energy_j), None, "resolved"),
        boundary="host",
        power_w=energy_j / duration_s,
        pue=1.2,
        intensity_g_per_kwh=56.039,
        operational_co2e_g=energy_j / 3.6e6 * 56.039 * 1.2,
        ranks=1,
        rolled_back=False,
    )
    return frame[list(STEP_COLUMNS)]


def summary(name: str, variant: str, frame: pd.DataFrame) -> dict[str, Any]:
    steps_j = float(frame["energy_j"].sum())
    energy_j = steps_j + 310.0
    count = len(frame)
    return {
        "schema_version": 1,
        "project": "demo",
        "run_id": name,
        "variant": variant,
        "started_utc": "2026-03-01T10:00:00.123456+00:00",
        "duration_s": float(frame["end_s"].max()) + 1.0,
        "ended": "stopped",
        "attempts": 1,
        "ranks": 1,
        "ranks_expected": 1,
        "steps": count,
        "batches": float(count),
        "tokens": 2048.0 * count,
        "flops": 3.1e12 * count,
        "energy_j": energy_j,
        "energy_low_j": energy_j - 4.0,
        "energy_high_j": energy_j + 6.0,
        "steps_j": steps_j,
        "component_j": {"gpu": energy_j * 0.8, "cpu": energy_j * 0.2, "dram": None, "other": None},
        "energy_boundary": "GPU + CPU only",
        "trust": {"measured": 0.8, "modelled": 0.2, "assumed": 0.0},
        "coverage": 0.984,
        "unattributed_j": 10.0,
        "wasted_j": 0.0,
        "j_per_step": steps_j / count,
        "j_per_token": steps_j / (2048.0 * count),
        "pue": 1.2,
        "intensity_g_per_kwh": 56.039,
        "intensity_source": "Ember 2024",
        "operational_co2e_g": energy_j / 3.6e6 * 56.039 * 1.2,
        "ended_utc": "2026-03-01T10:00:14.5+00:00",
        "hosts": 1,
        "gpus": 1,
        "device_hours": {"NVIDIA H200": 0.0039},
        "devices": [
            device("cpu", "AMD EPYC 9654", "cpu_load_model", "modelled", energy_j * 0.2),
            device("gpu", "NVIDIA H200", "nvml_energy", "measured", energy_j * 0.8),
        ],
        "restarts": 0,
        "attempt_list": [
            {"attempt": 0, "ranks": 1, "ended": "stopped", "duration_s": 14.0, "energy_j": energy_j}
        ],
        "facility_energy_j": energy_j * 1.2,
        "parameters": 1.1e6,
        "active_parameters": None,
        "peak_flop_per_s": 989.5e12,
        "mfu": 0.101,
        "flop_per_j": 2.4e11,
        "steps_of_unknown_energy": int(frame["energy_j"].isna().sum()),
        "step_energy_j": dict(
            zip(
                ("q05", "median", "q95"),
                frame["energy_j"].quantile([0.05, 0.5, 0.95]).tolist(),
                strict=True,
            )
        ),
        "attribution": {"resolved": 1.0},
        "sensor_gain": 0.05,
        "impacts": {
            "energy_kwh": bounds(energy_j / 3.6e6),
            "facility_kwh": bounds(energy_j * 1.2 / 3.6e6),
            "location_based_g": bounds(energy_j / 3.6e6 * 56.039 * 1.2),
            "market_based_g": bounds(None),
            "embodied_g": bounds(0.6),
            "water_on_site_l": bounds(0.0007),
            "water_off_site_l": bounds(None),
            "cost": 0.0004,
            "currency": "EUR",
            "sci": [
                {
                    "unit": "token",
                    "amount": 2048.0 * count,
                    "g_per_unit": bounds(8e-7),
                    "operational_g_per_unit": bounds(1e-7),
                    "is_standard": True,
                }
            ],
            "equivalences": [
                {
                    "name": "km in a new EU car",
                    "amount": bounds(0.001),
                    "factor": 106.8,
                    "factor_unit": "gCO2/km",
                    "source": "EEA",
                    "year": 2024,
                }
            ],
            "said": ["Sensors are assumed to be right within 5%."],
        },
    }


def device(kind: str, model: str, method: str, trust: str, energy_j: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "model": model,
        "method": method,
        "trust": trust,
        "count": 1,
        "refresh_s": 0.1,
        "sampling_s": 0.004,
        "energy_j": energy_j,
        "coverage": 0.98,
    }


def bounds(mid: float | None) -> dict[str, float | None]:
    if mid is None:
        return {"low": None, "mid": None, "high": None}
    return {"low": 0.9 * mid, "mid": mid, "high": 1.1 * mid}


def phases(steps_j: float) -> list[tuple[Any, ...]]:
    total_j = steps_j + 310.0
    energies = {
        "setup": (1, 1.5, 200.0),
        "train_step": (400, 11.0, steps_j * 0.97),
        "data_wait": (400, 0.6, steps_j * 0.03),
        "validation": (2, 0.9, 100.0),
        "checkpoint": (0, 0.0, 0.0),
        "test": (0, 0.0, 0.0),
        "predict": (0, 0.0, 0.0),
        "other": (0, 0.0, 0.0),
        "unattributed": (0, math.nan, 10.0),
    }
    return [
        (name, number, seconds, j, 0.8 * j, 0.2 * j, math.nan, math.nan, j / total_j)
        for name, (number, seconds, j) in energies.items()
    ]


def curves(end_s: float, gpus: int) -> list[FakeCurve]:
    rng = np.random.default_rng(3)
    t_s = np.linspace(0.05, end_s, 1990)
    listed = []
    for gpu in range(gpus):
        power_w = 330 + 12 * gpu + 40 * np.sin(t_s * 3 + gpu) + 15 * rng.standard_normal(len(t_s))
        power_w[900:930] = np.nan
        listed.append(FakeCurve(f"gpu{gpu}", "gpu", "measured", t_s, power_w))
    cpu_w = 75 + 6 * rng.standard_normal(len(t_s))
    return [*listed, FakeCurve("cpu-package-0", "cpu", "modelled", t_s, cpu_w)]


@pytest.fixture
def make_run() -> Any:
    """Makes a run: ``make_run(count=400, name=..., variant=..., gpus=1, notices=(...))``."""

    def make(
        count: int = 400,
        name: str = "dense-r0",
        variant: str = "dense",
        gpus: int = 1,
        notices: tuple[str, ...] = (),
    ) -> FakeRun:
        frame = steps(count, name, variant)
        facts = summary(name, variant, frame)
        empty = np.array([], dtype=np.int64)
        channels = (
            *(
                channel("gpu", f"gpu{n}", "measured", "nvml_energy", "NVIDIA H200")
                for n in range(gpus)
            ),
            channel("cpu", "cpu-package-0", "modelled", "cpu_load_model", "AMD EPYC 9654"),
        )
        attempt = Attempt(
            folder=Path("run/rank-0"),
            rank=0,
            attempt=0,
            launch_id="launch",
            manifest={},
            channels=channels,
            readings=(),
            marks=Marks(empty, empty, empty, empty, empty.astype(float), ()),  # type: ignore[arg-type] # nothing in them
            events=(),
            anchors=(Anchor(0, 0, 0),),
            ended="stopped",
            problems=(),
        )
        manifest = {"run_id": name, "config": {"learning_rate": 0.001}, "git_commit": "ab12" * 10}
        record = Record(Path(name.replace("/", "-")), manifest, (attempt,))
        end_s = float(frame["end_s"].max()) if count else 1.0
        return FakeRun(record, frame, facts, phases(facts["steps_j"]), curves(end_s, gpus), notices)

    return make


@pytest.fixture
def run(make_run: Any) -> FakeRun:
    made: FakeRun = make_run()
    return made


@pytest.fixture
def unmetered(make_run: Any) -> FakeRun:
    """A run on a machine without any sensor: everything about energy is unknown."""
    run: FakeRun = make_run()
    unknown = [
        one for one in STEP_COLUMNS if one.endswith("_j") or one in {"power_w", "measured_share"}
    ]
    run.frame[[*unknown, "operational_co2e_g"]] = np.nan
    run.frame["attribution"] = None
    for key, value in run.facts.items():
        if key.endswith("_j") or key in {
            "j_per_step",
            "j_per_token",
            "operational_co2e_g",
            "coverage",
        }:
            run.facts[key] = dict.fromkeys(value) if isinstance(value, dict) else None
    run.facts["trust"] = dict.fromkeys(("measured", "modelled", "assumed"))
    run.facts |= {"step_energy_j": {}, "attribution": {}, "steps_of_unknown_energy": 400}
    run.facts |= {"devices": [], "device_hours": {}, "impacts": {}, "flop_per_j": None}
    run.facts["attempt_list"][0]["energy_j"] = None
    run.curves = []
    run.phase_rows = [(*row[:3], *[math.nan] * 6) for row in run.phase_rows]
    attempt = dataclasses.replace(run.record.attempts[0], channels=())
    run.record = dataclasses.replace(run.record, attempts=(attempt,))
    run.footprint = lambda: footprint(
        math.nan, 481.0, source="Ember", place="WLD", world_average=True
    )  # type: ignore[method-assign] # one run, one answer
    return run


@pytest.fixture
def make_comparison() -> Any:
    """Makes a comparison of dense with moe and others, six repeats each."""

    def make(
        measured: float = 1.0, repeats: int = 6, names: tuple[str, ...] = ("moe", "window")
    ) -> Any:
        rng = np.random.default_rng(11)
        runs = []
        for place, name in enumerate(("dense", *names)):
            for repeat in range(repeats):
                energy_j = (100.0, 81.0, 99.5, 130.0)[place % 4] * (
                    1 + 0.01 * rng.standard_normal()
                )
                runs.append(
                    RunFigures(
                        f"{name}-r{repeat}",
                        name,
                        energy_j,
                        energy_j / 70.0,
                        {"token": 1e5, "step": 50.0},
                        {"measured": measured, "modelled": 1 - measured, "assumed": 0.0},
                        pair=str(repeat),
                        coverage=1.0,
                    )
                )
        return compare(runs, baseline="dense")

    return make


def lens_run(
    name: str, place: int, repeat: int, sequence: int, experts: int, known: bool
) -> LensRun:
    """A run of 400 steps whose loss falls with its energy."""
    rng = np.random.default_rng(100 * place + repeat)
    energy_j = (100.0, 81.0, 99.5, 130.0)[place % 4] * (1 + 0.01 * rng.standard_normal())
    step_j = np.full(400, energy_j / 400)
    falling = 5.5 * np.exp(-np.arange(400) / 90) + 1.2 + 0.1 * place
    curve_j, curve_loss = loss_curve(step_j, falling + 0.05 * rng.standard_normal(400))
    load = rng.dirichlet(np.full(experts, 6.0), 2) if name.startswith("moe") else None
    facts = {"repeat": repeat, "position": (place + repeat) % 3, "seed": repeat, "batch": 4,
             "match_basis": "active-params", "tuned": False, "tokenizer": "bytes",
             "text": "the sources of Python", "kernel": "sdpa"}  # fmt: skip
    return LensRun(
        work=Work(
            run_id=f"{name}-r{repeat}",
            variant=name,
            energy_j=energy_j,
            duration_s=energy_j / 70.0,
            amount=1e5 * sequence / 512,
            flops=(0.5 if load is not None else 1.0) * 6e13 if known else math.nan,
            peak_flop_per_s=989.5e12 if known else math.nan,
            idle_power_w=12.0 if known else math.nan,
            phases_j={"setup": 9.0, "train_step": energy_j, "data_wait": 2.0, "validation": 0.0},
        ),
        loss=float(curve_loss[-1]),
        curve_j=curve_j,
        curve_loss=curve_loss,
        sequence=sequence,
        attention="sliding_window" if name == "window" else "sdpa",
        feed_forward="moe" if load is not None else "dense",
        total_parameters=3.2e6 if load is not None else 1.1e6,
        active_parameters=1.1e6,
        router=None
        if load is None
        else router_load_of_facts(
            {"shares": load, "assignments": 99, "dropped": 0, "balance_loss": 1.08}
        ),
        devices=("NVIDIA H200 (nvml_energy)",),
        warmup_s=1.5,
        facts=facts if known else {},
    )


@pytest.fixture
def make_lens() -> Any:
    """Makes the lens of ``make_comparison``'s runs, at one or at several sequence lengths."""

    def make(
        names: tuple[str, ...] = ("moe", "window"),
        repeats: int = 6,
        sequences: tuple[int, ...] = (512,),
        experts: int = 8,
        known: bool = True,
        notes: tuple[str, ...] = (),
    ) -> Any:
        runs = [
            lens_run(name, place, repeat, sequence, experts, known)
            for place, name in enumerate(("dense", *names))
            for sequence in sequences
            for repeat in range(repeats)
        ]
        return Lens("token", "dense", tuple(runs), notes=notes)

    return make
