"""The design of an experiment as one paragraph that can be pasted into a paper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import greenai
from greenai.exporters import quantities
from greenai.exporters.breakdown import trust_text
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from greenai.analysis.compare import Comparison
    from greenai.analysis.lens import Lens, LensRun

NAME_MAX = 40
NAMED_MAX = 6
BASES = {
    "active-params": "active parameters",
    "active_parameters": "active parameters",
    "total-params": "total parameters",
    "total_parameters": "total parameters",
    "flops": "training FLOPs",
}


def design_text(comparison: Comparison, lens: Lens) -> str:
    """How the runs were made and compared, from their records alone.

    Args:
        comparison: The comparison.
        lens: Its runs.

    Returns:
        Sentences; what no record says is not in them.
    """
    runs = lens.runs
    return " ".join(
        (
            _what(lens),
            *_pairing(comparison, runs),
            *_model(runs),
            *_training(runs),
            *_metering(comparison, runs),
            _statistics(comparison),
        )
    )


def _what(lens: Lens) -> str:
    groups = lens.variants()
    listed = _joined(
        f"{printable(name, limit=NAME_MAX)} (n = {len(groups[name])})" for name in groups
    )
    baseline = printable(lens.baseline, limit=NAME_MAX)
    return f"We compared the energy per {lens.per} of {listed}, with {baseline} as the baseline."


def _pairing(comparison: Comparison, runs: Sequence[LensRun]) -> Iterable[str]:
    if all(result.paired for result in comparison.results) and comparison.results:
        yield (
            "Each repeat trained every variant once; runs are compared within their repeat"
            + (", which shares its seed." if _known(runs, "seed") else ".")
        )
    positions = {
        run.work.variant: [
            one.facts["position"]
            for one in runs
            if one.work.variant == run.work.variant and _is_number(one.facts.get("position"))
        ]
        for run in runs
    }
    if all(len(places) > 1 for places in positions.values()):
        means = [sum(places) / len(places) for places in positions.values()]
        if max(means) - min(means) < 0.5:  # noqa: PLR2004 - half a place
            yield "Variants were interleaved in an order balanced over the repeats."
        else:
            yield "Variants were interleaved; their order is not balanced."


def _model(runs: Sequence[LensRun]) -> Iterable[str]:
    if basis := _one(runs, "match_basis"):
        yield f"Models are matched on {BASES.get(basis, printable(basis, limit=NAME_MAX))}."
    sequences = sorted({run.sequence for run in runs if run.sequence is not None})
    if sequences:
        yield f"Sequences have {_joined(f'{one:,}' for one in sequences)} tokens."
    if kernel := _one(runs, "kernel"):
        yield f"Attention kernel: {printable(kernel, limit=NAME_MAX)}."


def _training(runs: Sequence[LensRun]) -> Iterable[str]:
    facts = []
    if text := _one(runs, "text"):
        facts.append(f"on {printable(text, limit=120)}")
    if tokenizer := _one(runs, "tokenizer"):
        facts.append(f"tokenised as {printable(tokenizer, limit=NAME_MAX)}")
    if batch := _one(runs, "batch"):
        facts.append(f"in batches of {printable(batch, limit=NAME_MAX)} sequences")
    if precision := _one(runs, "precision"):
        facts.append(f"in {printable(precision, limit=NAME_MAX)}")
    if facts:
        yield f"Models were trained {', '.join(facts)}."
    tuned = {run.facts.get("tuned") for run in runs}
    if tuned == {True}:
        yield "Learning rates come from an equal sweep for each variant."
    elif tuned in ({False}, {"untuned"}):
        yield "Learning rates are untuned."


def _metering(comparison: Comparison, runs: Sequence[LensRun]) -> Iterable[str]:
    devices = sorted({device for run in runs for device in run.devices})
    if devices:
        named = _joined(printable(one, limit=80) for one in devices[:NAMED_MAX])
        yield (
            f"Energy is gross IT energy, idle included, of {named}, read by greenai "
            f"{greenai.__version__} outside the training process."
        )
    kinds = {trust_text(dict(result.trust)) for result in comparison.results}
    if len(kinds) == 1 and quantities.UNKNOWN not in kinds:
        yield f"It is {kinds.pop()}."
    warmups = {run.warmup_s for run in runs if math.isfinite(run.warmup_s)}
    if len(warmups) == 1 and (warmup_s := warmups.pop()) > 0:
        yield f"The first {quantities.duration(warmup_s)} of each run are excluded as warm-up."


def _statistics(comparison: Comparison) -> str:
    paired = {result.paired for result in comparison.results}
    how = "Student's t on logarithms, paired where runs have a partner"
    if paired == {True}:
        how = "Student's t on the logarithms of paired ratios"
    elif paired == {False}:
        how = "Welch's t on logarithms"
    adjusted = (
        f" Verdicts are adjusted for {len(comparison.results)} comparisons by Holm's procedure."
        if len(comparison.results) > 1
        else ""
    )
    return (
        f"The run is the unit of observation; intervals are 95 % intervals by {how}.{adjusted} "
        "Systematic errors of the sensors, which a ratio on one device does not contain, are not "
        "in the intervals."
    )


def _one(runs: Sequence[LensRun], name: str) -> str:
    """The fact that all runs share; empty where one lacks it or they differ."""
    values = {str(run.facts.get(name, "")) for run in runs}
    return values.pop() if len(values) == 1 else ""


def _known(runs: Sequence[LensRun], name: str) -> bool:
    return all(name in run.facts for run in runs)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _joined(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
