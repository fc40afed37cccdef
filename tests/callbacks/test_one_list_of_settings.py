"""Law of settings: whatever a run may be told can be told to every adapter, under one name."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Unpack, get_args

import pytest

import greenai
from greenai.errors import OrderError
from greenai.keywords import RunKeywords
from greenai.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADAPTERS = {
    "lightning": "EnergyMonitor",
    "fabric": "EnergyCallback",
    "huggingface": "EnergyCallback",
    "keras": "EnergyCallback",
}
NEEDED = {"huggingface": "transformers", "keras": "keras"}
EVERY = set(Settings.__dataclass_fields__) - {"origins"}


def adapter(name: str) -> Any:
    """The adapter of a framework; skips where the framework is not installed."""
    if name in NEEDED:
        pytest.importorskip(f"trainings.{name}", reason=f"{NEEDED[name]} comes with extras")
    return getattr(importlib.import_module(f"greenai.callbacks.{name}"), ADAPTERS[name])


def told(called: Callable[..., Any]) -> set[str]:
    """Names of the settings that a signature has, spelled out or as typed keywords."""
    names = set()
    for name, one in inspect.signature(called).parameters.items():
        if one.kind is not inspect.Parameter.VAR_KEYWORD:
            names.add(name)
        else:
            assert one.annotation == "Unpack[RunKeywords]"
            names |= set(RunKeywords.__annotations__)
    return names


@pytest.mark.parametrize("framework", ["plain", *ADAPTERS])
def test_no_adapter_lacks_a_setting(framework: str) -> None:
    assert told(greenai.track if framework == "plain" else adapter(framework)) >= EVERY


def test_the_keywords_are_the_settings_and_no_others() -> None:
    assert set(RunKeywords.__annotations__) == EVERY - {"folder"}
    assert get_args(Unpack[RunKeywords]) == (RunKeywords,)


@pytest.mark.parametrize("framework", ADAPTERS)
def test_every_adapter_takes_over_what_it_is_told(framework: str, tmp_path: Path) -> None:
    """Given a value of each setting, the adapter has all of them, and says where they are from."""
    intensities = tmp_path / "g.csv"
    intensities.write_text(
        "start_utc,end_utc,g_per_kwh\n2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,50\n"
    )
    given: RunKeywords = {
        "variant": "moe",
        "project": "demo",
        "country": "USA",
        "region": "california",
        "pue": 1.2,
        "pue_source": "the operator, 2025",
        "intensity_table": "codecarbon",
        "sensors": ["assumed:host=50"],
        "devices": ["GPU-1"],
        "metrics_port": 0,
        "metrics_address": "127.0.0.1",
        "metrics": {"remote_write": "http://127.0.0.1:9/api/v1/write"},
        "warmup_s": 2.0,
        "resume": True,
        "total_steps": 100,
        "budget_kwh": 5.0,
        "budget_kg": 2.0,
        "intensity_file": intensities,
        "price_per_kwh": 0.2,
        "currency": "EUR",
        "codecarbon_check": True,
        "watch": True,
        "data_parallel_rank": 1,
        "parent": "b1",
    }
    assert set(given) == set(RunKeywords.__annotations__)
    settings = adapter(framework)(tmp_path / "run", **given).settings
    assert {settings.origins[name] for name in EVERY - {"metrics"}} == {"argument"}
    assert settings.metrics.remote_write == given["metrics"]["remote_write"]  # type: ignore[index]
    for name in ("pue_source", "total_steps", "price_per_kwh", "parent", "data_parallel_rank"):
        assert getattr(settings, name) == given[name]  # type: ignore[literal-required]


@pytest.mark.parametrize("framework", ["fabric", "huggingface", "keras"])
def test_a_setting_that_nobody_knows_is_refused_at_the_desk(framework: str) -> None:
    with pytest.raises(OrderError, match="Unknown setting 'pueh'"):
        adapter(framework)(pueh=1.2)
