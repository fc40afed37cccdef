"""Laws of summary.json: it fits its published schema, which names every key and every unknown."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

import greenai
from greenai.exporters.outline import outline_of
from greenai.exporters.report_markdown import report_json
from greenai.record.types import NOTE, STEP_END, STOP, VALUE, Record
from greenai.run import Run

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
SCHEMA = json.loads(
    (Path(greenai.__file__).parent / "data" / "summary.schema.json").read_text("utf-8")
)


def complaints(summary: dict[str, Any]) -> list[str]:
    found = Draft202012Validator(SCHEMA).iter_errors(summary)
    return [f"{'/'.join(map(str, one.path))}: {one.message}" for one in found]


def a_run(*, metered: bool, model: str = "NVIDIA H200") -> Run:
    """Ten steps of half a second with 100 W on one device, or with nothing that was metered."""
    end_ns = START_NS + 500 * MS
    rows: list[tuple[Any, ...]] = [(end_ns, NOTE, "train_start", 0, 0.0)]
    for index in range(10):
        end_ns += 500 * MS
        rows += [
            (end_ns, VALUE, "tokens", index, 100.0),
            (end_ns, VALUE, "flops", index, 5e13),
            (end_ns, STEP_END, "", index, 1.0),
        ]
    rows.append((end_ns, STOP, "", 0, 0.0))
    channel = a_channel(refresh_ns=25 * MS, model=model)
    readings = [SimulatedCounter(lambda t: 100 * t, refresh_ms=20).readings(8.0, channel)]
    attempt = attempt_of(readings if metered else [], marks_of(rows))
    facts = {"run_id": "abc", "config": {"total_parameters": 1e6, "active_parameters": 4e5}}
    return Run(Record(Path("runs/dense"), facts, (attempt,)))


@pytest.mark.parametrize(
    "run",
    [greenai.load(RECORDED), a_run(metered=True), a_run(metered=False)],
    ids=["recorded", "metered", "unmetered"],
)
def test_a_summary_fits_its_schema_and_the_schema_names_every_key(run: Run) -> None:
    summary = run.summary()
    assert complaints(summary) == []
    assert set(summary) == set(SCHEMA["properties"])


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["energy_j"]["type"] == ["number", "null"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("energy_j",), -1.0),
        (("energy_j",), "12"),
        (("ended",), "well"),
        (("pue",), 0.9),
        (("trust", "measured"), 2.0),
        (("impacts", "embodied_g", "mid"), -1.0),
        (("devices", 0, "trust"), "sure"),
        (("attempt_list", 0, "energy_j"), "none"),
    ],
)
def test_a_wrong_value_is_refused_by_the_schema(path: tuple[Any, ...], value: Any) -> None:
    summary = copy.deepcopy(a_run(metered=True).summary())
    inner: Any = summary
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert len(complaints(summary)) == 1


def test_a_missing_key_is_refused_by_the_schema() -> None:
    summary = a_run(metered=True).summary()
    del summary["coverage"]
    assert complaints(summary) == [": 'coverage' is a required property"]


def test_what_was_not_metered_is_unknown_in_every_account() -> None:
    summary = a_run(metered=False).summary()
    for name in ("flop_per_j", "mfu", "facility_energy_j", "energy_j"):
        assert summary[name] is None
    assert (summary["devices"], summary["device_hours"], summary["gpus"]) == ([], {}, 0)
    assert summary["attempt_list"][0]["energy_j"] is None
    impacts = summary["impacts"]
    assert impacts["location_based_g"] == {"low": None, "mid": None, "high": None}


def test_compute_follows_from_the_steps_and_the_table_of_rates() -> None:
    summary = a_run(metered=True).summary()
    assert summary["mfu"] == pytest.approx(5e13 / 0.5 / 989.5e12)
    assert summary["flop_per_j"] == pytest.approx(5e13 / 50, rel=0.02)
    assert (summary["parameters"], summary["active_parameters"]) == (1e6, 4e5)
    assert {one["unit"] for one in summary["impacts"]["sci"]} == {
        "flop", "token", "parameter", "active_parameter",
    }  # fmt: skip


def test_devices_attempts_and_phases_each_add_up_to_the_energy() -> None:
    for run in (a_run(metered=True), greenai.load(RECORDED)):
        summary = run.summary()
        for name in ("devices", "attempt_list", "phases"):
            parts = [one["energy_j"] for one in summary[name] if one["energy_j"] is not None]
            assert sum(parts) == pytest.approx(summary["energy_j"], rel=1e-9)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [one for inner in value.values() for one in numbers(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_the_report_as_json_carries_the_summary_with_every_number() -> None:
    run = a_run(metered=True)
    assert numbers(report_json(run)["summary"]) == numbers(run.summary())


TO_BASE = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6,
    "G": 1e9, "T": 1e12,
}  # fmt: skip
FIGURE = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s?(%|[fpnµmkMGT]?(?:Wh|J|W|L|g|s)\b|h\b)?")

RANGE = re.compile(r"([\d,.]+) (to|and) ([\d,.]+) (\S+)")


def base_values(text: str) -> list[float]:
    """Figures of a text in J, g, s, L or without unit; shares as such."""
    found = []
    text = RANGE.sub(r"\1 \4 \2 \3 \4", text)  # the unit of a range stands once
    for digits, unit in FIGURE.findall(text):
        value = float(digits.replace(",", ""))
        if unit == "%":
            value /= 100
        elif unit == "h":
            value *= 3600
        elif unit:
            kind = next(one for one in ("Wh", "J", "W", "L", "g", "s") if unit.endswith(one))
            value *= TO_BASE[unit.removesuffix(kind)] * (3600 if kind == "Wh" else 1)
        found.append(value)
    return found


@pytest.mark.parametrize(
    "run", [greenai.load(RECORDED), a_run(metered=True)], ids=["recorded", "metered"]
)
def test_every_figure_of_the_report_is_a_number_of_the_summary(run: Run) -> None:
    summary = run.summary()
    known = [*numbers(summary), *base_values(json.dumps([summary["notices"], summary["impacts"]]))]
    known += [3.6e6 * one for one in numbers(summary["impacts"])]  # kWh as joules
    known += [1e15 * one for one in numbers(summary["impacts"]["sci"])]  # a FLOP's as a PFLOP's
    known += [1 / summary["flop_per_j"]] if summary["flop_per_j"] else []
    outline = outline_of(run)
    facts = [*outline.headline, *outline.emissions, *outline.work, *outline.impacts]
    said = [(one.name, text) for one in facts for text in (one.value, one.remark)]
    for name, text in said:
        if name in {"Source", "Carbon intensity"}:
            continue
        for value in base_values(text):
            assert any(value == pytest.approx(one, rel=0.006, abs=1e-18) for one in known), (
                name, text, value,
            )  # fmt: skip
