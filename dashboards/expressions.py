"""PromQL of the dashboards: what is summed over what, and how a run's facts are joined to it.

A counter starts at 0 in each attempt, and its highest value in a time range is all that the
attempt had used by then. ``increase`` would lose what came before the first scrape.
"""

from __future__ import annotations

ONE_RUN = 'run_id="$run"'
"""The run that is shown."""
RUNS = 'run_id=~"$run"'
"""The runs that are shown, as far as a series can tell: the rest is told by joins."""
STEPS = 'phase=~"train_step|data_wait"'
"""Phases whose energy is that of the steps."""
ENERGY = "greenai_energy_joules_total"
EMISSIONS = "greenai_emissions_co2e_grams_total"
TOKENS = "greenai_tokens_total"
OPERATIONAL = 'scope="operational"'
GPU = 'kind="gpu"'
RANK_0 = 'rank="0"'
RATE = "$__rate_interval"
RANGE = "$__range"
J_PER_KWH = "3.6e6"
IDLE_BELOW = "0.05"
"""Share of busy time below which a GPU counts as idle."""

_OWN = ("run_id", "attempt", "rank")
"""Labels of every series; together they are one process of a run."""


def chosen(*matchers: str) -> str:
    """Matchers in braces.

    Example:
        >>> chosen('run_id="$run"', 'kind="gpu"')
        '{run_id="$run",kind="gpu"}'
    """
    return "{" + ",".join(matchers) + "}"


def of_run(family: str, *matchers: str) -> str:
    """Latest value of the run that is shown.

    Example:
        >>> of_run("greenai_power_watts")
        'greenai_power_watts{run_id="$run"}'
    """
    return family + chosen(ONE_RUN, *matchers)


def highest(family: str, *matchers: str) -> str:
    """Value at the end of the time range, or where the series ended before that.

    Example:
        >>> highest("greenai_tokens_total", 'run_id="$run"')
        'max_over_time(greenai_tokens_total{run_id="$run"}[$__range])'
    """
    return f"max_over_time({family}{chosen(*matchers)}[{RANGE}])"


def rate(family: str, *matchers: str) -> str:
    """Growth per second.

    Example:
        >>> rate("greenai_tokens_total", 'run_id="$run"')
        'rate(greenai_tokens_total{run_id="$run"}[$__rate_interval])'
    """
    return f"rate({family}{chosen(*matchers)}[{RATE}])"


def facts(*labels: str, ever: bool = True) -> str:
    """Facts of the chosen runs, one sample of value 1 a process.

    Args:
        labels: Labels of ``greenai_run_info`` to be joined.
        ever: Whether runs count that have ended within the time range.

    Example:
        >>> facts("project", ever=False)[:54]
        'max by (run_id, attempt, rank, project) (greenai_run_i'
    """
    info = "greenai_run_info" + chosen('project=~"$project"', 'variant=~"$variant"', RUNS)
    told = f"max_over_time({info}[{RANGE}])" if ever else info
    return f"max by ({', '.join((*_OWN, *labels))}) ({told})"


def summed(family_part: str, *by: str, ever: bool = True) -> str:
    """Sum of a quantity by facts of the run, over the chosen runs.

    Args:
        family_part: Expression whose series have the labels of a process.
        by: ``run_id`` and labels of ``greenai_run_info``; none for one sum over all.
        ever: Whether runs count that have ended within the time range.

    Example:
        >>> print(summed("greenai_power_watts", "project", ever=False))
        sum by (project) (sum by (run_id, attempt, rank) (greenai_power_watts) * on (run_id, \
attempt, rank) group_left (project) max by (run_id, attempt, rank, project) (greenai_run_info\
{project=~"$project",variant=~"$variant",run_id=~"$run"}))
    """
    own = f"sum by ({', '.join(_OWN)}) ({family_part})"
    total = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{total} ({joined(own, *by, ever=ever)})"


def joined(own: str, *labels: str, ever: bool = True) -> str:
    """A quantity with one series a process, of the chosen runs, with facts of the run as labels.

    Args:
        own: Expression whose series have the labels of a process and no more.
        labels: Labels of ``greenai_run_info``.
        ever: Whether runs count that have ended within the time range.
    """
    told = [label for label in labels if label not in _OWN]
    match = f"on ({', '.join(_OWN)}) group_left ({', '.join(told)})"
    return f"{own} * {match} {facts(*told, ever=ever)}"


def short(expr: str) -> str:
    """Add a label ``run`` for legends: a run's identity is 32 characters long, and 8 tell it.

    Example:
        >>> short("greenai_epoch")
        'label_replace(greenai_epoch, "run", "$1", "run_id", "(.{1,8}).*")'
    """
    return f'label_replace({expr}, "run", "$1", "run_id", "(.{{1,8}}).*")'


def by_run(gauge: str, ranks: str = "max") -> str:
    """A gauge of the chosen runs with the labels ``variant`` and ``run``.

    Args:
        gauge: Expression whose series have the labels of a process.
        ranks: How those of several ranks are brought together: ``max``, ``min`` or ``avg``.
    """
    own = f"{ranks} by ({', '.join(_OWN)}) ({gauge})"
    return short(f"{ranks} by (variant, run_id) ({joined(own, 'variant', ever=False)})")


def newest_first() -> str:
    """Runs of the chosen projects and variants, the one that began last first.

    Its label ``shown`` is the variant and eight characters of the run.
    """
    began = highest("greenai_run_start_time_seconds", RANK_0)
    own = f"max by ({', '.join(_OWN)}) ({began})"
    told = f"max by (variant, run_id) ({joined(own, 'variant')})"
    named = f'label_join({short(told)}, "shown", " ", "variant", "run")'
    return f"sort_desc({named})".replace(f",{RUNS}", "")  # a choice cannot rest on itself


def energy(*matchers: str) -> str:
    """Energy of the chosen runs so far, by series."""
    return highest(ENERGY, RUNS, *matchers)


def counted(family: str, *matchers: str) -> str:
    """Any counter of the chosen runs so far, by series."""
    return highest(family, RUNS, *matchers)


def facility_energy() -> str:
    """Energy of the chosen runs so far with PUE; without it where none is known. By process."""
    own = f"sum by ({', '.join(_OWN)}) ({energy()})"
    pue = f"max by (run_id, attempt) ({highest('greenai_pue_ratio', RUNS)})"  # of rank 0 alone
    return f"{own} * on (run_id, attempt) group_left () {pue} or {own}"


def idle_energy() -> str:
    """Energy that GPUs used while no kernel ran on them, by series; sampled at the panel's step."""
    busy = f"greenai_gpu_utilization_ratio{chosen(RUNS)} < {IDLE_BELOW}"
    power = "greenai_power_watts" + chosen(RUNS, GPU)
    idle = f"{power} and on ({', '.join(_OWN)}, device) ({busy})"
    return f"sum_over_time(({idle})[{RANGE}:$__interval]) * $__interval_ms / 1e3"
