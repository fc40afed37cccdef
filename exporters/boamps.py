"""A run as a BoAmps report, Boavizta's open form for the energy of a computing task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import greenai
from greenai.errors import OrderError
from greenai.exporters import quantities
from greenai.exporters.breakdown import trust_text
from greenai.exporters.wording import printable
from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.exporters.readable import ReadableRun

Infrastructure = Literal["publicCloud", "privateCloud", "onPremise", "other"]
Stage = Literal["training", "finetuning"]

FORMAT_VERSION = "0.1"
SPECIFICATION = "https://github.com/Boavizta/BoAmps/tree/main/model"
SECOND = len("2026-11-26 10:00:00")
PER_BILLION = 1e-9
TYPES = {"gpu": "gpu", "cpu": "cpu", "dram": "ram"}
"""Kinds of device by their names there; what has none keeps ours."""
QUALITIES = ((0.10, "high"), (0.25, "medium"))
"""Greatest error of each quality; all above is ``low``."""


def boamps_report(
    run: ReadableRun,
    *,
    family: str,
    infrastructure: Infrastructure | Literal[""],
    published_utc: str,
    stage: Stage = "training",
) -> dict[str, Any]:
    """A run in the fields of BoAmps.

    ``powerConsumption`` is the IT energy in kWh, without PUE: what was measured. What is not known
    is left out, because the form has no word for it.

    Args:
        run: The run.
        family: Family of the task, such as ``text generation``; only its user knows it.
        infrastructure: What it ran on, likewise.
        published_utc: When the report is published, ISO 8601.
        stage: Stage of the task.

    Returns:
        The report as JSON knows it.

    Raises:
        OrderError: The energy is unknown, the family is empty, or the infrastructure is none of
            the four.

    Source: https://github.com/Boavizta/BoAmps, model/report_schema.json and the schemas it names.
    """
    summary = run.summary()
    devices = summary.get("devices") or []
    if summary["energy_j"] is None or not devices:
        raise OrderError(
            "The energy of the run is unknown.",
            "A BoAmps report must have it, and a 0 would be wrong: none was written.",
            "greenai report RUN says what is missing",
        )
    known = get_args(Infrastructure)
    if not family or infrastructure not in known:
        raise OrderError(
            f"The family of the task is {family!r} and the infrastructure {infrastructure!r}.",
            "A BoAmps report must name both, and a record knows neither: none was written.",
            f"add --task-family 'text generation' and --infrastructure {', '.join(known)}",
        )
    report = {
        "header": {
            "formatVersion": FORMAT_VERSION,
            "formatVersionSpecificationUri": SPECIFICATION,
            "reportId": run.run_id,
            "reportDatetime": _moment(published_utc),
            "reportStatus": "draft",
        },
        "task": {
            "taskStage": stage,
            "taskFamily": printable(family),
            "algorithms": [_algorithm(summary, run)],
            "dataset": [_dataset(summary)],
            "taskDescription": _description(summary),
        },
        "measures": [_measure(summary, devices)],
        **_machine(run),
        "infrastructure": {
            "infraType": infrastructure,
            "components": [_component(one) for one in devices],
        },
        "environment": _environment(summary),
        "quality": _quality(summary),
    }
    return {name: value for name, value in report.items() if value not in (None, {})}


def _algorithm(summary: Mapping[str, Any], run: ReadableRun) -> dict[str, Any]:
    config = run.record.manifest.get("config") or {}
    parameters = summary.get("parameters")
    framework, _, version = _versions(run).get("framework", "").partition(" ")
    facts = {
        "parametersNumber": None if parameters is None else parameters * PER_BILLION,
        "framework": printable(framework) or None,
        "frameworkVersion": printable(version) or None,
        "layersNumber": _number(config.get("layers")),
        "optimizer": _text(config.get("optimizer")),
        "quantization": _text(config.get("precision")),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _dataset(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What went in: as many tokens or samples as were counted, repeated ones included."""
    tokens, samples = summary.get("tokens"), summary.get("samples")
    facts: dict[str, Any] = {"dataUsage": "input", "dataType": "token" if tokens else "other"}
    if quantity := tokens or samples:
        facts["dataQuantity"] = quantity
    return facts


def _description(summary: Mapping[str, Any]) -> str:
    return (
        f"IT energy of {printable(summary.get('energy_boundary'))}, without PUE: "
        f"{trust_text(summary.get('trust') or {})}; readings cover "
        f"{quantities.share(summary.get('coverage'))} of time and devices."
    )


def _measure(summary: Mapping[str, Any], devices: list[dict[str, Any]]) -> dict[str, Any]:
    def ways(kind: str) -> str | None:
        found = dict.fromkeys(printable(one["method"]) for one in devices if one["kind"] == kind)
        return ", ".join(found) or None

    facts = {
        "measurementMethod": "greenai",
        "version": greenai.__version__,
        "cpuTrackingMode": ways("cpu"),
        "gpuTrackingMode": ways("gpu"),
        "powerConsumption": summary["energy_j"] / J_PER_KWH,
        "measurementDuration": summary.get("duration_s"),
        "measurementDateTime": _moment(summary.get("started_utc") or "") or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _component(device: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "componentName": printable(device["model"]),
        "componentType": TYPES.get(device["kind"], device["kind"]),
        "nbComponent": device["count"],
    }


def _machine(run: ReadableRun) -> dict[str, Any]:
    """System and software, as far as the record knows them."""
    versions = _versions(run)
    parts: dict[str, Any] = {}
    if system := printable(versions.get("platform", "").partition(" ")[0]):
        parts["system"] = {"os": system}
    if python := printable(versions.get("python", "")):
        parts["software"] = {"language": "python", "version": python}
    return parts


def _environment(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Where; nothing where nobody named a country, because the form must have one."""
    country, _, region = str(summary.get("intensity_place") or "").partition("/")
    if country in {"", "WLD", "place not stated"}:
        return {}
    facts = {
        "country": printable(country),
        "location": printable(region) or None,
        "powerSourceCarbonIntensity": summary.get("intensity_g_per_kwh"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _quality(summary: Mapping[str, Any]) -> str | None:
    """By the bounds of the energy, sensor error in them; nothing where there are none."""
    bounds = (summary.get("impacts") or {}).get("energy_kwh") or {}
    low, mid, high = (bounds.get(name) for name in ("low", "mid", "high"))
    if low is None or high is None or not mid:
        return None
    error = max(mid - low, high - mid) / mid
    return next((name for most, name in QUALITIES if error <= most), "low")


def _versions(run: ReadableRun) -> dict[str, str]:
    for attempt in run.record.attempts:
        found = attempt.manifest.get("versions")
        if isinstance(found, dict):
            return {str(name): str(value) for name, value in found.items()}
    return {}


def _moment(text: str) -> str:
    return text[:SECOND].replace("T", " ")


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None  # type: ignore[arg-type, return-value] # checked


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) and value else None
