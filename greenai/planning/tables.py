"""Tables that a plan is made from: accelerators, published runs, and the priors they give."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai import accelerators
from greenai.analysis.published import Prior, Published, mfu_prior
from greenai.embodied import device_or_unknown
from greenai.errors import OrderError

if TYPE_CHECKING:
    from greenai.analysis.ranges import Range

DATA = Path(__file__).parents[1] / "data"
HARDWARE = DATA / "planning.csv"
RUNS = DATA / "published_runs.csv"
SUGGESTIONS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Hardware:
    """One accelerator as a plan needs it.

    Attributes:
        model: Name for people.
        peak_flop_per_s: Dense bf16 rate, or fp16 where it has no bf16.
        peak_source: Where the rate comes from.
        tdp_w: Greatest sustained power of the accelerator alone.
        tdp_source: Where it comes from.
        made_kg: Making of one, in kgCO2e; unknown where nobody has published it.
        made_source: Where it comes from, or why it is unknown.
        remark: What to know about it.
    """

    model: str
    peak_flop_per_s: float
    peak_source: str
    tdp_w: float
    tdp_source: str
    made_kg: Range
    made_source: str
    remark: str


def hardware(name: str) -> Hardware:
    """An accelerator by its name or one of its drivers' names.

    Raises:
        OrderError: The table does not have it; the nearest names are given.

    Example:
        >>> hardware("h100").tdp_w, hardware("H100 SXM").made_kg.mid
        (700.0, 164.0)
    """
    table = _hardware()
    key = _key(name)
    found = table.get(key) or table.get(key.removeprefix("nvidia "))
    if found is not None:
        return found
    near = difflib.get_close_matches(key, table, n=SUGGESTIONS, cutoff=0.4)
    names = list(dict.fromkeys(table[one].model for one in near)) or list(models())
    raise OrderError(
        f"Unknown accelerator {name[:80]!r}.",
        "Hours and energy cannot be worked out for it; no other one was taken instead.",
        f"did you mean {' or '.join(names)}? Or give its peak FLOP/s and power yourself.",
    )


def models() -> tuple[str, ...]:
    """Accelerators of the table.

    Example:
        >>> "B200" in models()
        True
    """
    return tuple(dict.fromkeys(one.model for one in _hardware().values()))


@functools.cache
def published() -> tuple[Published, ...]:
    """Every published run of the table.

    Example:
        >>> next(run.printed_mwh for run in published() if run.model == "GPT-3")
        '1287'
    """
    with RUNS.open(encoding="utf-8", newline="") as file:
        return tuple(_published(row) for row in csv.DictReader(file))


@functools.cache
def prior(kind: str) -> Prior:
    """Utilisation of the published runs of one kind, ``dense`` or ``moe``.

    Example:
        >>> dense = prior("dense")
        >>> round(dense.low, 2), round(dense.mid, 2), round(dense.high, 2), len(dense.models)
        (0.22, 0.33, 0.51, 22)
    """
    peaks = {
        name: hardware(name).peak_flop_per_s
        for name in {run.accelerator for run in published() if run.mfu_prior}
    }
    return mfu_prior(published(), peaks, kind)


@functools.cache
def _hardware() -> dict[str, Hardware]:
    table: dict[str, Hardware] = {}
    with HARDWARE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            names = [row["model"], *row["names"].split(";")]
            one = _one(row, names)
            table.update({_key(name): one for name in names})
    return table


def _one(row: dict[str, str], names: list[str]) -> Hardware:
    """A row; rate and making come from the tables of rates and of hardware where those have it."""
    rate, source = row["bf16_flop_per_s"], row["peak_source"]
    if not rate:
        peaks = (accelerators.peak(name) for name in names)
        found = next(peak for peak in peaks if not math.isnan(peak.flop_per_s))
        rate, source = str(found.flop_per_s), f"{found.source} ({found.precision}, dense)"
    made = device_or_unknown(row["model"])
    return Hardware(
        model=row["model"],
        peak_flop_per_s=float(rate),
        peak_source=source,
        tdp_w=float(row["tdp_w"]),
        tdp_source=row["tdp_source"],
        made_kg=made.made_kg,
        made_source=made.source,
        remark=row["remark"],
    )


def _published(row: dict[str, str]) -> Published:
    texts: dict[str, Any] = {
        field.name: row[field.name]
        for field in dataclasses.fields(Published)
        if str(field.type) == "str"
    }
    numbers: dict[str, Any] = {
        field.name: float(row[field.name] or math.nan)
        for field in dataclasses.fields(Published)
        if str(field.type) == "float"
    }
    return Published(**texts, **numbers, mfu_prior=row["mfu_prior"] == "yes")


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
