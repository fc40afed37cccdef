"""Highest dense rates of accelerators from our table: what a run's FLOP rate is a share of."""

from __future__ import annotations

import csv
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = Path(__file__).with_name("data") / "accelerators.csv"
PRECISIONS = ("bf16", "fp16", "tf32", "fp32", "fp8")
_PREFIXES = ("nvidia ", "tesla ")
_RATE = "{}_flop_per_s"


class Peak(NamedTuple):
    """The highest dense rate of one device.

    Attributes:
        flop_per_s: FLOPs a second; NaN where the device or its rate is unknown.
        precision: The precision that it is of.
        source: Where the figure comes from; empty where there is none.
    """

    flop_per_s: float
    precision: str
    source: str


def peak(model: str, precision: str = "bf16") -> Peak:
    """Highest dense rate of a device in a precision, never the with-sparsity figure.

    Args:
        model: The device as its driver names it.
        precision: ``bf16``, ``fp16``, ``tf32``, ``fp32`` or ``fp8``. A device without bf16 matrix
            units gives its fp16 rate for ``bf16``.

    Returns:
        The rate; NaN for a device or a precision that the table does not have.

    Example:
        >>> peak("NVIDIA H200").flop_per_s
        989500000000000.0
        >>> peak("Tesla V100-SXM2-16GB").precision
        'fp16'
        >>> peak("NVIDIA H100 PCIe MIG 1g.10gb").flop_per_s
        nan
    """
    row = _rows().get(_plain(model))
    if row is None or precision not in PRECISIONS:
        return Peak(math.nan, precision, "")
    found = precision
    if precision == "bf16" and not row[_RATE.format("bf16")]:
        found = "fp16"
    rate = row[_RATE.format(found)]
    return Peak(float(rate), found, row["source"]) if rate else Peak(math.nan, precision, "")


def precision_of(text: object) -> str:
    """Precision of the table that a trainer's word means; ``bf16`` where nothing is said.

    Example:
        >>> precision_of("bf16-mixed"), precision_of("16-mixed"), precision_of(None)
        ('bf16', 'fp16', 'bf16')
        >>> precision_of("32-true")
        'fp32'
    """
    said = str(text or "").lower()
    words = {"bf16": "bf16", "bfloat16": "bf16", "fp8": "fp8", "float8": "fp8", "tf32": "tf32"}
    for word, precision in words.items():
        if word in said:
            return precision
    if "16" in said:
        return "fp16"
    return "fp32" if "32" in said else "bf16"


def _plain(model: str) -> str:
    plain = model.strip().lower()
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain


@functools.cache
def _rows() -> Mapping[str, Mapping[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {
            name.lower(): row for row in csv.DictReader(file) for name in row["names"].split(";")
        }
