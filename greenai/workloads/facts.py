"""What the record of a reference run says of it: every key of its `config`, in one place.

Known at the start:

- ``repeat``, ``position`` (place in the repeat, from 0), ``seed`` (of weights and batches: equal to
  the repeat, so that repeats pair variants by seed);
- the fields of `ModelConfig` (``feed_forward``, ``attention``, ``sequence``, ``window``, ...);
- ``total_parameters``, ``active_parameters``, ``flops_per_token_executed`` (as the kernel that ran
  executes them), ``flops_per_token_useful``, ``match_basis``, ``size``;
- ``batch``, ``learning_rate``, ``tuned`` (whether an equal sweep of all variants chose it),
  ``precision`` (``bf16-mixed`` or ``32-true``), ``kernel`` (see `kernel_of`);
- ``text``, ``text_bytes``, ``text_sha256``, ``tokenizer``;
- ``device``: the GPU's name, or the CPU's;
- ``idle_power_w`` (of the devices in ``idle_devices``, with a CUDA context where there is a GPU,
  before the first run), ``cool_down_s`` (before this run), ``temperature_c`` (of the hottest GPU),
  ``power_limit_w`` (all GPUs), ``clock_hz`` (the slowest GPU) at the start of this run. null where
  nothing measures it.

Known at the end, and added then:

- ``held_out_loss_nats``: on text that was not trained on, in nats a byte;
- ``router_load``: of ``moe``, null of others: ``shares`` (of the assignments, by block and expert),
  ``imbalance`` (fullest expert over the mean, mean over blocks; 1 is even), ``assignments``,
  ``dropped``, ``balance_loss`` (mean over blocks at the last step; 1 is even), and ``course``: the
  imbalance of all assignments so far and the balance loss at some steps.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from greenai.workloads.formulas import flops_per_token, parameters_active, parameters_total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenai.workloads.architecture import ModelConfig
    from greenai.workloads.data import Text
    from greenai.workloads.design import Size
    from greenai.workloads.resting import Look
    from greenai.workloads.schedule import Turn


@dataclass(frozen=True)
class Experiment:
    """What all runs of one experiment share, settled before the first.

    Args:
        size: Batch and lengths.
        variants: The models by name.
        kernels: What computes the attention of each.
        learning_rates: Of AdamW, by variant.
        tuned: Whether an equal sweep chose them.
        match: Basis that the variants are matched on.
        text: What is trained on.
        warmup_s: Time at the start of a run that is recorded and not compared.
        seconds: Length of a run after it.
        idle: The machine at rest, before the first run.
        rate_losses_nats: Loss of every run of the sweep over learning rates, by variant and rate.
    """

    size: Size
    variants: Mapping[str, ModelConfig]
    kernels: Mapping[str, str]
    learning_rates: Mapping[str, float]
    tuned: bool
    match: str
    text: Text
    warmup_s: float
    seconds: float
    idle: Look
    rate_losses_nats: Mapping[str, Mapping[float, float]] = field(default_factory=dict)


def device_name(cpuinfo: str = "/proc/cpuinfo") -> str:
    """Name what a model is trained on.

    Args:
        cpuinfo: The kernel's list of processors.

    Returns:
        The product name of the first GPU, else of the processor, else its architecture.

    Example:
        >>> bool(device_name())
        True
    """
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def precision() -> str:
    """Say in which numbers models are trained here: fused kernels of GPUs want bfloat16."""
    return "bf16-mixed" if torch.cuda.is_available() else "32-true"


def model_facts(config: ModelConfig, kernel: str) -> dict[str, Any]:
    """State a model and its closed formulas, flat and ready for JSON.

    Args:
        config: The model.
        kernel: What computes its attention.

    Returns:
        The model's own fields, its parameters and its FLOPs a token.

    Example:
        >>> from greenai.workloads.architecture import ModelConfig
        >>> model_facts(ModelConfig(), "flash")["layers"]
        4
    """
    flops = flops_per_token(config, kernel)
    return {
        **asdict(config),
        "total_parameters": parameters_total(config),
        "active_parameters": parameters_active(config),
        "flops_per_token_executed": flops.executed,
        "flops_per_token_useful": flops.useful,
        "kernel": kernel,
    }


def run_facts(
    turn: Turn, experiment: Experiment, look: Look, cool_down_s: float | None
) -> dict[str, Any]:
    """State in the record what was trained, so that a comparison needs nothing else.

    Args:
        turn: Which run of the plan.
        experiment: What it shares with the others.
        look: The machine just before the run.
        cool_down_s: Seconds that it was left to cool; None where nothing tells.

    Returns:
        Facts ready for JSON, without any path; see the module.
    """
    size, text, name = experiment.size, experiment.text, turn.variant
    return {
        "repeat": turn.repeat,
        "position": turn.position,
        "seed": turn.repeat,
        **model_facts(experiment.variants[name], experiment.kernels[name]),
        "match_basis": experiment.match,
        "size": size.name,
        "batch": size.batch,
        "learning_rate": experiment.learning_rates[name],
        "tuned": experiment.tuned,
        "precision": precision(),
        "text": text.source,
        "text_bytes": text.size_bytes,
        "text_sha256": text.sha256,
        "tokenizer": "bytes",
        "device": device_name(),
        "idle_power_w": experiment.idle.power_w,
        "idle_devices": list(experiment.idle.devices),
        "cool_down_s": cool_down_s,
        "temperature_c": look.temperature_c,
        "power_limit_w": look.power_limit_w,
        "clock_hz": look.clock_hz,
    }
