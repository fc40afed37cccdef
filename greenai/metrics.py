"""The catalogue of exported quantities: phases, components and metric families with their units."""

from __future__ import annotations

from typing import Literal, NamedTuple

PHASES = (
    "setup",
    "train_step",
    "data_wait",
    "validation",
    "checkpoint",
    "test",
    "predict",
    "other",
    "unattributed",
)
"""Values of the ``phase`` column and label, in report order."""

MARKABLE_PHASES = ("setup", "data_wait", "validation", "checkpoint", "test", "predict", "other")
"""Phases that a training may mark; ``train_step`` and ``unattributed`` are what remains."""

SUB_PHASES = ("forward", "backward", "optimizer")
"""Parts of a step that a training may mark: by the host's clock, and contained in the step."""

STEP_COLUMNS = (
    "run_id",
    "variant",
    "attempt",
    "step",
    "epoch",
    "start_utc",
    "start_s",
    "end_s",
    "duration_s",
    "batches",
    "samples",
    "tokens",
    "flops",
    "loss",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "gpu_j",
    "cpu_j",
    "dram_j",
    "other_j",
    "measured_share",
    "attribution",
    "boundary",
    "power_w",
    "pue",
    "intensity_g_per_kwh",
    "operational_co2e_g",
    "ranks",
    "rolled_back",
    "beyond_limit",
)
"""Columns of steps.csv and steps.parquet, in this order; readers of others depend on it."""

PHASE_COLUMNS = (
    "phase",
    "count",
    "duration_s",
    "energy_j",
    "gpu_j",
    "cpu_j",
    "dram_j",
    "other_j",
    "energy_share",
)
"""Columns of phases.csv, in this order."""

ROUTER_LOAD = "router_load/"
"""Begins the name of a mark that says an expert's share of its router's choices; the name ends with
the router's number, and the mark's index is the expert's."""
ROUTER_FACTS = (
    "router_imbalance",
    "router_variation",
    "router_drop_share",
    "router_auxiliary_loss",
)
"""Names of marks that say how even all routers were, by step: the load of the fullest expert over
the mean, the standard deviation of the loads over the mean, the share of choices that no expert
computed, and the Switch Transformer's balance loss. All are means over routers."""


PLANNED_STEPS = "planned_steps"
"""Name of the mark that says how many optimizer steps the whole run will have."""

SUB_PHASE_COLUMNS = (
    "subphase",
    "count",
    "duration_s",
    "energy_j",
    "gpu_j",
    "cpu_j",
    "dram_j",
    "other_j",
    "boundary",
)
"""Columns of subphases.csv, in this order."""


class Family(NamedTuple):
    """One exported metric.

    Attributes:
        name: Full name as Prometheus shows it.
        type: Metric type in the exposition format.
        unit: Base unit; empty for a bare number.
        labels: Label names, besides ``COMMON_LABELS``, which every family has.
        help: One sentence for people.
    """

    name: str
    type: Literal["counter", "gauge", "histogram", "info"]
    unit: str
    labels: tuple[str, ...]
    help: str


COMMON_LABELS = ("run_id", "attempt", "rank")
"""Labels of every sample. The rank is the global one: no two processes of a run write one series,
however their figures come to Prometheus. What belongs to the run and not to a rank is shown by
rank 0 alone, so that a sum over ranks is the run's."""

_DEVICE = ("device", "kind")

FAMILIES = (
    Family(
        "greenai_energy_joules_total",
        "counter",
        "joules",
        (*_DEVICE, "phase"),
        "IT energy of the run in joules by device and phase, without PUE; a device that several "
        "ranks see is counted by the lowest.",
    ),
    Family(
        "greenai_host_energy_joules_total",
        "counter",
        "joules",
        ("source",),
        "Energy of the whole machine in joules by a meter of its own, beside the devices' and "
        "never part of their sum.",
    ),
    Family(
        "greenai_power_watts", "gauge", "watts", _DEVICE, "Latest power of the device in watts."
    ),
    Family(
        "greenai_gpu_power_limit_watts",
        "gauge",
        "watts",
        _DEVICE,
        "Enforced power limit of the GPU in watts.",
    ),
    Family(
        "greenai_gpu_utilization_ratio",
        "gauge",
        "ratio",
        _DEVICE,
        "Share of time in which a kernel ran on the GPU, 0 to 1.",
    ),
    Family(
        "greenai_gpu_memory_used_bytes",
        "gauge",
        "bytes",
        _DEVICE,
        "GPU memory in use in bytes, all jobs.",
    ),
    Family(
        "greenai_gpu_temperature_celsius",
        "gauge",
        "celsius",
        _DEVICE,
        "GPU temperature in degrees Celsius.",
    ),
    Family(
        "greenai_emissions_co2e_grams_total",
        "counter",
        "grams",
        ("scope",),
        "Emissions in gCO2e: operational is IT energy × PUE × grid intensity at the time of use; "
        "embodied is the run's share of making its accelerators.",
    ),
    Family(
        "greenai_grid_intensity_co2e_grams_per_kwh",
        "gauge",
        "grams_per_kwh",
        ("region", "source"),
        "Carbon intensity of the electricity now, in gCO2e/kWh; rank 0 only.",
    ),
    Family(
        "greenai_pue_ratio",
        "gauge",
        "ratio",
        (),
        "Power usage effectiveness in use, at least 1; rank 0 only.",
    ),
    Family("greenai_optimizer_steps_total", "counter", "", (), "Optimizer steps; rank 0 only."),
    Family("greenai_batches_total", "counter", "", (), "Batches trained on."),
    Family("greenai_samples_total", "counter", "", (), "Samples trained on."),
    Family("greenai_tokens_total", "counter", "", (), "Tokens trained on."),
    Family("greenai_model_flops_total", "counter", "", (), "Model FLOPs of the steps."),
    Family(
        "greenai_step_energy_joules",
        "histogram",
        "joules",
        (),
        "IT energy of an optimizer step in joules, of the rank's devices; exemplars name the step.",
    ),
    Family(
        "greenai_step_duration_seconds",
        "histogram",
        "seconds",
        (),
        "Duration of an optimizer step in seconds; rank 0 only; exemplars name the step.",
    ),
    Family("greenai_epoch", "gauge", "", (), "Epoch of the latest settled step; rank 0 only."),
    Family(
        "greenai_global_step", "gauge", "", (), "Index of the latest settled step; rank 0 only."
    ),
    Family("greenai_loss", "gauge", "", (), "Loss that the training told last; rank 0 only."),
    Family(
        "greenai_measured_ratio",
        "gauge",
        "ratio",
        (),
        "Share of the energy that is measured, 0 to 1; the rest is modelled or assumed.",
    ),
    Family(
        "greenai_coverage_ratio",
        "gauge",
        "ratio",
        (),
        "Share of time and devices that the energy covers, 0 to 1.",
    ),
    Family(
        "greenai_router_load_ratio",
        "gauge",
        "ratio",
        ("expert",),
        "Share of the routers' choices that went to an expert, 0 to 1, a mean over routers; of the "
        "tokens of rank 0, the first 64 experts.",
    ),
    Family(
        "greenai_router_imbalance_ratio",
        "gauge",
        "ratio",
        (),
        "Load of the fullest expert over the mean load, at least 1, a mean over routers; of the "
        "tokens of rank 0.",
    ),
    Family(
        "greenai_energy_budget_joules",
        "gauge",
        "joules",
        (),
        "IT energy in joules that the run was given; rank 0 only.",
    ),
    Family(
        "greenai_emissions_budget_co2e_grams",
        "gauge",
        "grams",
        (),
        "Operational emissions in gCO2e that the run was given; rank 0 only.",
    ),
    Family(
        "greenai_planned_steps",
        "gauge",
        "",
        (),
        "Optimizer steps of the whole run as planned; rank 0 only.",
    ),
    *(
        Family(f"greenai_forecast_{name}", "gauge", unit, (), f"{what} at the run's end: {bound}.")
        for middle, unit, what in (
            ("energy{}_joules", "joules", "IT energy in joules"),
            ("emissions{}_co2e_grams", "grams", "Operational emissions in gCO2e"),
        )
        for name, bound in (
            (middle.format(""), "best guess"),
            (middle.format("_low"), "lower bound, 95 %"),
            (middle.format("_high"), "upper bound, 95 %"),
        )
    ),
    Family(
        "greenai_run_info",
        "info",
        "",
        ("project", "variant", "framework", "host", "world_size", "version", "region"),
        "Facts of the run, for joins on run_id; the value is 1.",
    ),
    Family(
        "greenai_device_info",
        "info",
        "",
        (*_DEVICE, "uuid", "model", "vendor", "method", "trust"),
        "Facts of a device; uuid joins DCGM's UUID label. The value is 1.",
    ),
    Family(
        "greenai_run_start_time_seconds",
        "gauge",
        "seconds",
        (),
        "Unix time of the run's start in seconds; rank 0 only.",
    ),
    Family(
        "greenai_last_sample_timestamp_seconds",
        "gauge",
        "seconds",
        (),
        "Unix time of the latest settled reading in seconds.",
    ),
    Family("greenai_sampler_errors_total", "counter", "", ("source",), "Failed reads of a sensor."),
    Family(
        "greenai_sampler_overhead_seconds_total",
        "counter",
        "seconds",
        (),
        "CPU time of the sampler process in seconds.",
    ),
    Family(
        "greenai_sampler_wake_lateness_seconds",
        "gauge",
        "seconds",
        (),
        "How late the sampler woke in seconds: 95th percentile of its latest wakes.",
    ),
)
"""Every metric family, in exposition order."""

BY_NAME = {family.name: family for family in FAMILIES}
"""The catalogue by full name."""
