"""One metered run of the plan: cooled down before, its facts in its record, its end added to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenai.api import load
from greenai.callbacks import EnergyMonitor
from greenai.record.manifest import add_to_config
from greenai.workloads.facts import run_facts
from greenai.workloads.resting import cool_down
from greenai.workloads.training import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from greenai.workloads.data import Batch
    from greenai.workloads.facts import Experiment
    from greenai.workloads.schedule import Turn

    Show = Callable[[Turn, float], None]


@dataclass(frozen=True)
class Site:
    """Where runs are recorded and what else the meter is told.

    Args:
        folder: Holds one folder for each run.
        meter: Arguments of `EnergyMonitor`: country, region, pue, metrics_port.
    """

    folder: Path
    meter: Mapping[str, Any] = field(default_factory=dict)

    def run_folder(self, turn: Turn) -> Path:
        """Folder of a run.

        Example:
            >>> from pathlib import Path
            >>> from greenai.workloads.schedule import Turn
            >>> Site(Path("runs")).run_folder(Turn("moe", 2, 0)).name
            'moe-r2'
        """
        return self.folder / f"{turn.variant}-r{turn.repeat}"


def meter_run(turn: Turn, experiment: Experiment, site: Site, show: Show) -> tuple[Path, float]:
    """Train one variant once under the meter.

    Args:
        turn: Which run of the plan.
        experiment: What it shares with the others.
        site: Where it is recorded.
        show: Called after each step with the seconds spent so far.

    Returns:
        Folder of its record, and loss on held-out text after the training, in nats a byte.
    """
    now, waited_s = cool_down(experiment.idle)
    facts = run_facts(turn, experiment, now, waited_s)
    monitor = EnergyMonitor(
        site.run_folder(turn),
        variant=turn.variant,
        tokens=tokens_of,
        batch_size=experiment.size.batch,
        flops_per_token=facts["flops_per_token_executed"],
        warmup_s=experiment.warmup_s,
        config=facts,
        print_summary=False,
        **site.meter,
    )
    trained = train(
        experiment.variants[turn.variant],
        experiment.text,
        batch=experiment.size.batch,
        learning_rate=experiment.learning_rates[turn.variant],
        seed=turn.repeat,
        limit_s=experiment.warmup_s + experiment.seconds,
        callbacks=[monitor],
        advance=lambda spent_s: show(turn, spent_s),
    )
    end = {
        "held_out_loss_nats": trained.held_out_loss_nats,
        "router_load": trained.router_load,
    }
    folder = monitor.run_folder or site.run_folder(turn)
    add_to_config(folder, end)
    return folder, trained.held_out_loss_nats


def tokens_of(batch: Batch) -> int:
    """Count the tokens of a batch; windows of a text have no padding."""
    return int(batch[0].numel())


def per_token(run: Path) -> tuple[float | None, float | None, float]:
    """Read what a run took after its warm-up.

    Args:
        run: Its folder.

    Returns:
        Joules and seconds a token, None where unknown; and the share of the energy that was
        measured.
    """
    loaded = load(run)
    figures = loaded.figures()
    tokens = figures.amounts.get("token", 0.0)

    def each(total: float) -> float | None:
        return total / tokens if tokens > 0 and total > 0 else None

    measured = loaded.summary()["trust"].get("measured") or 0.0
    return each(figures.energy_j), each(figures.duration_s), measured
