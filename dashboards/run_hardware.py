"""Rows of a run's dashboard that show its devices, and how far to trust what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.dashboards.expressions import ENERGY, GPU, ONE_RUN, highest, of_run, rate
from greenai.dashboards.panels import RED, YELLOW, Column, Query, curves, listing, number

if TYPE_CHECKING:
    from greenai.dashboards.panels import Panel


def accelerators() -> list[Panel]:
    """How the accelerators fare."""
    device, name = "max by (rank, device)", "rank {{rank}} {{device}}"
    limit = f"{device} ({of_run('greenai_gpu_power_limit_watts')})"
    return [
        curves(
            "Busy time",
            "Share of time in which a kernel ran; it says nothing of how well it ran.",
            "percentunit",
            [Query(f"{device} ({of_run('greenai_gpu_utilization_ratio')})", name)],
            high=1,
        ),
        curves(
            "Power over limit",
            "Latest power over the enforced limit. At 100 % the limit slows the GPU down.",
            "percentunit",
            [Query(f"{device} ({of_run('greenai_power_watts', GPU)}) / {limit}", name)],
        ),
        curves(
            "Memory in use",
            "Device memory in use by all jobs.",
            "bytes",
            [Query(f"{device} ({of_run('greenai_gpu_memory_used_bytes')})", name)],
        ),
        curves(
            "Temperature",
            "Of the GPU's core.",
            "celsius",
            [Query(f"{device} ({of_run('greenai_gpu_temperature_celsius')})", name)],
            low=None,
        ),
    ]


def trust() -> list[Panel]:
    """What is metered, how, and how well."""
    stamp = of_run("greenai_last_sample_timestamp_seconds")
    return [
        listing(
            "Devices",
            "What is metered and how. `measured` is a meter of the hardware, `modelled` is worked "
            "out from load, `assumed` is a stated power.",
            {
                "rank": "Rank",
                "device": "Device",
                "model": "Model",
                "method": "Method",
                "trust": "Trust",
                "uuid": "UUID",
            },
            [
                Column(
                    "sum by (rank, device, model, method, trust, uuid) "
                    f"({highest(ENERGY, ONE_RUN)} * on (rank, attempt, device, kind) "
                    "group_left (model, method, trust, uuid) "
                    f"{highest('greenai_device_info', ONE_RUN)})",
                    "Energy",
                    "joule",
                ),
                Column(
                    "sum by (rank, device, model, method, trust, uuid) "
                    f"({of_run('greenai_power_watts')} * on (rank, attempt, device, kind) "
                    f"group_left (model, method, trust, uuid) {of_run('greenai_device_info')})",
                    "Power now",
                    "watt",
                ),
            ],
            span=16,
            sort_by="Energy",
        ),
        number(
            "Age of the latest reading",
            "How old the newest settled reading is. It grows when the sampler is dead or the "
            "devices are silent.",
            "s",
            f"time() - min({stamp})",
            levels=[(10, YELLOW), (60, RED)],
            span=4,
            height=8,
        ),
        number(
            "Failed reads",
            "Reads of sensors that failed in this attempt; each leaves a gap, none a zero.",
            "short",
            f"sum({of_run('greenai_sampler_errors_total')})",
            levels=[(1, YELLOW)],
            span=4,
            height=8,
        ),
        curves(
            "Measured and covered",
            "Share of the energy that is measured, and of time and devices that it covers.",
            "percentunit",
            [
                Query(f"min({of_run('greenai_measured_ratio')})", "measured"),
                Query(f"min({of_run('greenai_coverage_ratio')})", "covered"),
            ],
            high=1,
        ),
        curves(
            "What metering costs",
            "CPU time of the sampler's process, of one core; on the right how late it wakes.",
            "percentunit",
            [
                Query(
                    f"sum by (rank) ({rate('greenai_sampler_overhead_seconds_total', ONE_RUN)})",
                    "CPU, rank {{rank}}",
                ),
                Query(
                    f"max({of_run('greenai_sampler_wake_lateness_seconds')})",
                    "lateness, 95 %",
                    unit="s",
                ),
            ],
        ),
    ]
