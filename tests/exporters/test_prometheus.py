"""Laws of the figures that Prometheus is shown."""

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from greenai.errors import OrderError
from greenai.exporters import prometheus
from greenai.exporters.exposition import openmetrics_of, text_of
from greenai.exporters.figures import Bounds
from greenai.exporters.prometheus import DeviceFigures, Figures, StepHistogram, registry_of
from greenai.metrics import BY_NAME, COMMON_LABELS, FAMILIES, PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric


RUN_R_1 = {"run_id": "r", "attempt": "1", "rank": "0"}


def gpu(index: int, **changes: object) -> DeviceFigures:
    figures = {
        "device": f"gpu{index}",
        "kind": "gpu",
        "uuid": f"GPU-{index:08x}-1111-2222-3333-444444444444",
        "model": "NVIDIA H100 80GB HBM3",
        "vendor": "NVIDIA",
        "method": "nvml_energy",
        "trust": "measured",
        "power_w": 650.5,
        "energy_j_by_phase": dict.fromkeys(PHASES, 1234.5678 + index),
        "power_limit_w": 700.0,
        "utilization_ratio": 0.97,
        "memory_used_bytes": 71e9,
        "temperature_c": 61.0,
    }
    return DeviceFigures(**{**figures, **changes})  # type: ignore[arg-type] # literals above


def cpu(**changes: object) -> DeviceFigures:
    figures = {
        "device": "cpu-package-0",
        "kind": "cpu",
        "method": "rapl",
        "trust": "measured",
        "power_w": 120.0,
        "energy_j_by_phase": {"train_step": 10.0, "other": 1.0},
    }
    return DeviceFigures(**{**figures, **changes})  # type: ignore[arg-type] # literals above


def full_figures(gpus: int = 1) -> Figures:
    energy, duration = StepHistogram.of_energy(), StepHistogram.of_duration()
    for step in range(1000):
        energy.observe(0.02 * 1.02**step, step)
        duration.observe(0.0005 * 1.02**step, step)
    return Figures(
        run_id="20261124T020000Z-abcdef",
        attempt=2,
        info={"project": "demo", "variant": "dense", "host": "3fa9", "version": "0.1.0"},
        devices=(*(gpu(index) for index in range(gpus)), cpu()),
        steps=1000.0,
        batches=4000.0,
        samples=32_000.0,
        tokens=32_768_000.0,
        flops=1.5e15,
        emissions_g=12.5,
        embodied_g=0.75,
        host_energy_j={"ipmi_dcmi": 5e6},
        intensity_g_per_kwh=56.0,
        intensity_region="FRA",
        intensity_source="table 2024",
        pue=1.2,
        epoch=3.0,
        global_step=999.0,
        loss=2.5,
        measured_ratio=0.9,
        coverage_ratio=1.0,
        router_load=(0.5, 0.25, None, 0.25),
        router_imbalance=2.0,
        energy_budget_j=3.6e6,
        emissions_budget_g=1000.0,
        total_steps=5000.0,
        forecast_energy_j=Bounds(1e6, 2e6, 3e6),
        forecast_emissions_g=Bounds(10.0, 20.0, 30.0),
        forecast_cost=Bounds(1.0, 2.0, 3.0),
        currency="EUR",
        start_unix_s=1_795_000_000.0,
        last_sample_unix_s=1_795_000_100.5,
        errors={"nvml": 0, "rapl": 3},
        overhead_cpu_s=0.75,
        wake_late_p95_s=0.0004,
        step_energy_j=energy,
        step_duration_s=duration,
    )


def scrape(figures: Figures) -> str:
    return generate_latest(registry_of(lambda: figures)).decode()


def scrape_openmetrics(figures: Figures) -> str:
    registry = registry_of(lambda: figures)
    text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call] # the library's
    return text.decode()


def parse_openmetrics(text: str) -> list[Metric]:
    families = openmetrics_parser.text_string_to_metric_families
    return list(families(text))  # type: ignore[no-untyped-call] # the library leaves it untyped


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in parse_text(text)
        for sample in metric.samples
    }


def exposed_name(metric: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
    return metric.name + suffix


def test_every_family_of_the_catalogue_is_exported_as_described() -> None:
    families = parse_openmetrics(scrape_openmetrics(full_figures()))
    assert [exposed_name(metric) for metric in families] == [one.name for one in FAMILIES]
    for metric in families:
        family = BY_NAME[exposed_name(metric)]
        assert (metric.type, metric.unit, metric.documentation) == (
            family.type,
            family.unit,
            family.help,
        )
        expected = {*COMMON_LABELS, *family.labels}
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == expected


def test_the_text_format_carries_the_same_samples_as_openmetrics() -> None:
    figures = full_figures()
    assert samples(scrape(figures)) == {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in parse_openmetrics(scrape_openmetrics(figures))
        for sample in metric.samples
    }


@settings(deadline=None, max_examples=20)  # a thousand steps in each
@given(project=st.text(max_size=30), tokens=st.floats(0, 1e18))
def test_our_text_is_the_librarys_byte_for_byte(project: str, tokens: float) -> None:
    figures = full_figures(gpus=2)
    info = {"project": project}
    figures = dataclasses.replace(figures, info=info, tokens=tokens, overhead_cpu_s=1e7)
    metrics = list(registry_of(lambda: figures).collect())
    assert text_of(metrics).decode() == scrape(figures)
    assert openmetrics_of(metrics).decode() == scrape_openmetrics(figures)


def test_values_arrive_under_their_labels() -> None:
    registry = registry_of(lambda: full_figures(gpus=2))
    run = {"run_id": "20261124T020000Z-abcdef", "attempt": "2", "rank": "0"}
    device = {**run, "device": "gpu1", "kind": "gpu"}
    value = registry.get_sample_value
    assert value("greenai_energy_joules_total", {**device, "phase": "data_wait"}) == 1235.5678
    assert value("greenai_gpu_memory_used_bytes", device) == 71e9
    assert value("greenai_emissions_co2e_grams_total", {**run, "scope": "operational"}) == 12.5
    assert value("greenai_sampler_errors_total", {**run, "source": "rapl"}) == 3
    assert value("greenai_global_step", run) == 999


def test_the_sum_over_devices_and_phases_is_the_energy_of_the_run() -> None:
    figures = full_figures(gpus=8)
    total = sum(
        value
        for (name, _), value in samples(scrape(figures)).items()
        if name == "greenai_energy_joules_total"
    )
    assert total == pytest.approx(
        sum(sum(one.energy_j_by_phase.values()) for one in figures.devices)
    )


def test_absent_has_no_sample_and_no_family() -> None:
    text = scrape(Figures(run_id="r", attempt=0))
    assert [metric.name for metric in parse_text(text)] == ["greenai_run_info"]


@pytest.mark.parametrize("unknown", [math.nan, math.inf, None])
def test_an_unknown_number_is_never_exported(unknown: float | None) -> None:
    device = gpu(
        0,
        power_w=unknown,
        power_limit_w=unknown,
        utilization_ratio=unknown,
        energy_j_by_phase={"train_step": unknown, "other": 1.0},
    )
    text = scrape(
        Figures(
            run_id="r", attempt=0, devices=(device,), tokens=unknown, epoch=unknown, pue=unknown
        )
    )
    names = [name for name, _ in samples(text)]
    assert names.count("greenai_energy_joules_total") == 1
    assert not {"greenai_power_watts", "greenai_tokens_total", "greenai_pue_ratio"} & set(names)
    assert "nan" not in text.lower()
    assert " +Inf" not in text


def test_a_zero_that_is_known_is_exported() -> None:
    text = scrape(Figures(run_id="r", attempt=0, tokens=0.0))
    assert 0.0 in samples(text).values()


def test_gpu_families_hold_gpus_only() -> None:
    figures = Figures(
        run_id="r", attempt=0, devices=(cpu(temperature_c=50.0, power_limit_w=200.0),)
    )
    assert "greenai_gpu_" not in scrape(figures)


def test_no_step_label_and_no_created_series() -> None:
    text = scrape_openmetrics(full_figures())
    for metric in parse_openmetrics(text):
        for sample in metric.samples:
            assert "step" not in sample.labels
            assert not sample.name.endswith("_created")


def counters(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in families
        if metric.type in {"counter", "histogram"}
        for sample in metric.samples
    }


@given(st.lists(st.floats(0, 1e9) | st.just(math.nan) | st.none(), min_size=2, max_size=8))
def test_a_counter_never_falls_whatever_the_figures_do(course: list[float | None]) -> None:
    latest: list[float | None] = [None]
    registry = registry_of(
        lambda: Figures(
            run_id="r",
            attempt=0,
            tokens=latest[0],
            emissions_g=latest[0],
            devices=(cpu(energy_j_by_phase={"other": latest[0]}),),
        )
    )
    highest: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for value in course:
        latest[0] = value
        for series, number in counters(registry.collect()).items():
            assert number >= highest.get(series, 0.0)
            highest[series] = number


def test_a_new_attempt_begins_its_counters_at_its_own_values() -> None:
    latest = [Figures(run_id="r", attempt=0, tokens=900.0)]
    registry = registry_of(lambda: latest[0])
    list(registry.collect())
    latest[0] = Figures(run_id="r", attempt=1, tokens=10.0)
    assert registry.get_sample_value("greenai_tokens_total", RUN_R_1) == 10


@given(st.lists(st.floats(0, 1e7), max_size=50))
def test_a_histogram_counts_every_step_once_at_its_bound(values: list[float]) -> None:
    histogram = StepHistogram.of_energy()
    for step, value in enumerate(values):
        histogram.observe(value, step)
    buckets, total = histogram.snapshot()
    for bucket in buckets:
        assert bucket.count == sum(value <= bucket.upper for value in values)
    assert buckets[-1].count == len(values)
    assert total == pytest.approx(sum(values))


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_an_unknown_step_is_not_counted(value: float) -> None:
    histogram = StepHistogram.of_duration()
    histogram.observe(value, step=1)
    buckets, total = histogram.snapshot()
    assert (buckets[-1].count, total) == (0, 0.0)


def test_buckets_are_the_ones_that_the_dashboards_know() -> None:
    energy = [bucket.upper for bucket in StepHistogram.of_energy().snapshot()[0]]
    duration = [bucket.upper for bucket in StepHistogram.of_duration().snapshot()[0]]
    assert energy[:3] == [0.1, 0.4, 1.6]
    assert duration[:3] == [0.001, 0.004, 0.016]
    assert len(energy) == len(duration) == 13


def test_exemplars_name_the_step_and_stand_in_openmetrics_only() -> None:
    histogram = StepHistogram.of_energy()
    histogram.observe(0.3, step=1200)
    figures = Figures(run_id="r", attempt=0, step_energy_j=histogram)
    assert "1200" not in scrape(figures)
    exemplars = [
        sample.exemplar
        for metric in parse_openmetrics(scrape_openmetrics(figures))
        for sample in metric.samples
        if sample.exemplar
    ]
    assert [(one.labels, one.value) for one in exemplars] == [({"step": "1200"}, 0.3)]


def test_eight_gpus_fit_into_64_kb() -> None:
    figures = full_figures(gpus=8)
    assert len(scrape(figures).encode()) < 64_000
    assert len(scrape_openmetrics(figures).encode()) < 64_000


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=300))
def test_any_text_survives_as_a_label(text: str) -> None:
    figures = Figures(run_id="r", attempt=0, info={"project": text})
    for parsed in (parse_text(scrape(figures)), parse_openmetrics(scrape_openmetrics(figures))):
        (metric,) = parsed
        label = metric.samples[0].labels["project"]
        assert label == prometheus.label_text(text)
        assert len(label) <= 200
        assert label.isprintable()


def test_a_label_of_info_that_no_dashboard_knows_is_refused() -> None:
    with pytest.raises(OrderError, match="learning_rate"):
        Figures(run_id="r", attempt=0, info={"learning_rate": "0.1"})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_metrics() -> None:
    answer = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape(full_figures(gpus=8)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")
