"""What a comparison says, in sheets and sentences; terminal and page only lay it out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenai.exporters import quantities
from greenai.exporters.breakdown import trust_text
from greenai.exporters.sheets import Column, Sheet
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenai.analysis.compare import Comparison, Result
    from greenai.exporters.quantities import Unit
    from greenai.exporters.readable import ReadableRun

NO_CARRY_OVER = (
    "No GPU was metered. Ratios found on a CPU do not carry over to GPUs, where attention and "
    "experts run on other kernels."
)

INCLUDES_ONE = "interval includes 1"
IN_RUN = "blocks inside one run"
NARROW = 0.006
"""Width of an interval of ratios whose ends three decimals do not tell apart well."""

ADJUSTED_AWAY = 0.0005
"""Below it an adjusted p-value is not written out."""

Prefix = Literal["", "time_"]


class Ratio(NamedTuple):
    """One variant against the baseline in one quantity; NaN is unknown."""

    variant: str
    mean: float
    ratio: float
    low: float
    high: float
    mde: float
    verdict: str
    reason: str
    method: str = ""


def work(comparison: Comparison) -> str:
    """What energy is counted for: ``per token``, ``to loss 2.5``."""
    if comparison.per.startswith("loss:"):
        return f"to loss {comparison.per.removeprefix('loss:')}"
    return f"per {_unit_of(comparison)}"


def ratios(comparison: Comparison, prefix: Prefix) -> list[Ratio]:
    """Results in energy (no prefix) or in time (``time_``), in order of variant."""
    return [_ratio(result, prefix) for result in comparison.results]


def energy_sheet(comparison: Comparison) -> Sheet:
    """Energy per unit of work: every variant, its ratio to the baseline and what to make of it."""
    return _sheet(comparison, "", "J", f"Energy {work(comparison)}", comparison.baseline_mean)


def time_sheet(comparison: Comparison) -> Sheet:
    """Time per unit of work, as for energy."""
    mean = comparison.baseline_time_mean
    return _sheet(comparison, "time_", "s", f"Time {work(comparison)}", mean)


def evidence_sheet(comparison: Comparison) -> Sheet | None:
    """What the energy ratios rest on: adjusted intervals, and how sure the detectable effect is.

    None where no ratio has an interval.
    """
    if all(math.isnan(result.low) for result in comparison.results):
        return None
    decimals = decimals_of(ratios(comparison, ""))
    resampled = any(math.isfinite(result.bootstrap_low) for result in comparison.results)
    rows = [
        (
            printable(result.variant, limit=40),
            result.method or quantities.UNKNOWN,
            _ends(result.low_adjusted, result.high_adjusted, decimals),
            _p_text(result.p_adjusted),
            _shares(result.mde_low, result.mde_high),
            *((_ends(result.bootstrap_low, result.bootstrap_high, decimals),) if resampled else ()),
        )
        for result in comparison.results
    ]
    return Sheet(
        title="What the energy ratios rest on",
        columns=(
            Column("Variant", numeric=False),
            Column("Method", numeric=False),
            Column("Adjusted interval"),
            Column("Adjusted p"),
            Column("Detectable between"),
            *((Column("Bootstrap"),) if resampled else ()),
        ),
        rows=tuple(rows),
        note=_about_evidence(comparison),
    )


def above_idle_sheet(comparison: Comparison) -> Sheet | None:
    """Energy less idle power times time; it never ranks. None where idle power is unknown."""
    if not math.isfinite(comparison.baseline_above_idle_mean):
        return None
    means = quantities.aligned(
        [
            comparison.baseline_above_idle_mean,
            *(one.above_idle_mean for one in comparison.results),
        ],
        "J",
    )
    rows = [(printable(comparison.baseline, limit=40), means.texts[0], quantities.ratio(1.0), "")]
    rows += [
        (
            printable(one.variant, limit=40),
            mean,
            quantities.ratio(one.above_idle_ratio),
            _ends(one.above_idle_low, one.above_idle_high, 3),
        )
        for one, mean in zip(comparison.results, means.texts[1:], strict=True)
    ]
    return Sheet(
        title=f"Energy above idle {work(comparison)}",
        columns=(
            Column("Variant", numeric=False),
            Column(_heading(means.unit, comparison)),
            Column("Ratio"),
            Column("95 % interval"),
        ),
        rows=tuple(rows),
        note="Idle power times time is taken off, which makes a slow variant look better: no "
        "verdict rests on it.",
    )


def footnotes(comparison: Comparison, others: Iterable[str] = ()) -> tuple[str, ...]:
    """What a reader of the ratios must know, each sentence once.

    Args:
        comparison: The comparison with its own notes.
        others: Sentences of whoever made the runs.
    """
    kinds = {trust_text(dict(result.trust)) for result in comparison.results}
    unmeasured = kinds - {quantities.UNKNOWN, trust_text({"measured": 1.0})}
    trust = [f"The energies are {kind}." for kind in unmeasured] if len(kinds) == 1 else []
    said = (*comparison.notes, *others, *trust)
    return tuple(dict.fromkeys(printable(sentence, limit=600) for sentence in said))


def explanation(comparison: Comparison) -> str:
    """How to read the sheets, in some sentences."""
    return (
        f"A ratio below 1 means less than {printable(comparison.baseline)}, the baseline. Each run "
        "counts once; the interval holds the true ratio in 95 % of such experiments. “Detectable” "
        "is the difference that would have been found in 80 % of them."
        f"{_systematic(comparison)}"
    )


def _systematic(comparison: Comparison) -> str:
    """The error that no repeat averages out; nothing where no energy is measured."""
    if not math.isfinite(comparison.systematic_low):
        return ""
    ratios_too = "is part of the ratios" if comparison.ratios_systematic else "cancels in ratios"
    return (
        f" Joules are gross, idle power included; their sensors may be off by "
        f"{100 * comparison.systematic_low:.0f} % ({100 * comparison.systematic_high:.0f} % on "
        f"consumer boards), always to the same side: that {ratios_too}."
    )


def about_devices(runs: Iterable[ReadableRun]) -> tuple[str, ...]:
    """Say that the ratios do not carry over, where no run metered a GPU.

    Args:
        runs: The runs that were compared.

    Returns:
        One sentence, or none.
    """
    kinds = {
        channel.kind
        for run in runs
        for attempt in run.record.attempts
        for channel in attempt.channels
        if channel.primary
    }
    return () if "gpu" in kinds else (NO_CARRY_OVER,)


def _ratio(result: Result, prefix: Prefix) -> Ratio:
    fields = (getattr(result, f"{prefix}{name}") for name in Ratio._fields[1:])
    return Ratio(printable(result.variant, limit=40), *fields)


def _sheet(
    comparison: Comparison, prefix: Prefix, unit: Unit, title: str, baseline_mean: float
) -> Sheet:
    found = ratios(comparison, prefix)
    means = quantities.aligned([baseline_mean, *(one.mean for one in found)], unit)
    decimals = decimals_of(found)
    baseline = printable(comparison.baseline, limit=40)
    one = quantities.ratio(1.0, decimals)
    rows = [(baseline, str(comparison.baseline_n), means.texts[0], one, "", "", "baseline")]
    rows += [
        (
            one.variant,
            str(result.n),
            mean,
            quantities.ratio(one.ratio, decimals),
            interval_text(one, decimals) or quantities.UNKNOWN,
            f"± {quantities.share(one.mde)}" if math.isfinite(one.mde) else quantities.UNKNOWN,
            verdict_text(one),
        )
        for result, one, mean in zip(comparison.results, found, means.texts[1:], strict=True)
    ]
    return Sheet(
        title=title,
        columns=(
            Column("Variant", numeric=False),
            Column("Runs"),
            Column(_heading(means.unit, comparison)),
            Column("Ratio"),
            Column("95 % interval"),
            Column("Detectable"),
            Column("Verdict", numeric=False),
        ),
        rows=tuple(rows),
    )


def _about_evidence(comparison: Comparison) -> str:
    said = "A verdict follows the adjusted interval. The detectable difference is as uncertain as "
    said += "the scatter of the repeats that it comes from."
    drift = comparison.position_effect
    if math.isfinite(drift.per_place):
        said += (
            f" Each place later in the order changed the energy by {100 * drift.per_place:+.2f} % "
            f"(95 % interval {100 * drift.low:+.2f} to {100 * drift.high:+.2f} %)."
        )
    return said


def _unit_of(comparison: Comparison) -> str:
    return {"flop": "FLOP", "active_flop": "active FLOP"}.get(comparison.per, comparison.per)


def _heading(unit: str, comparison: Comparison) -> str:
    return unit if comparison.per.startswith("loss:") else f"{unit}/{_unit_of(comparison)}"


def _ends(low: float, high: float, decimals: int) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return quantities.UNKNOWN
    return f"{quantities.ratio(low, decimals)} – {quantities.ratio(high, decimals)}"


def _shares(low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return quantities.UNKNOWN
    return f"± {quantities.share(low)} – {quantities.share(high)}"


def _p_text(p: float) -> str:
    if math.isnan(p):
        return quantities.UNKNOWN
    return "< 0.001" if p < ADJUSTED_AWAY else f"{p:.3f}"


def decimals_of(found: Iterable[Ratio]) -> int:
    """Decimals at which the narrowest interval still has two ends."""
    widths = [one.high - one.low for one in found]
    return 4 if any(width < NARROW for width in widths) else 3


def interval_text(one: Ratio, decimals: int) -> str:
    """Both ends of the interval; empty where it is unknown."""
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return ""
    inside = " in-run" if one.method == IN_RUN else ""
    return f"{_ends(one.low, one.high, decimals)}{inside}"


def verdict_text(one: Ratio) -> str:
    """The verdict, with the reason where there is none.

    The verdict is adjusted for the number of variants and the interval shown is not, so that an
    interval without 1 may stand beside ``not resolved``: then it says why.
    """
    reason = printable(one.reason)
    if reason == INCLUDES_ONE and not one.low <= 1 <= one.high:
        reason = f"{reason} once adjusted"
    return f"{one.verdict}: {reason}" if reason else one.verdict
