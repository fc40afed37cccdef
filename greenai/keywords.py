"""The settings of a run as keywords with types, for who takes them and only passes them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping


class RunKeywords(TypedDict, total=False):
    """Every setting but the folder, as `greenai.settings.Settings` has them; None is not given.

    Example:
        >>> sorted(RunKeywords.__annotations__)[:4]
        ['budget_kg', 'budget_kwh', 'codecarbon_check', 'country']
    """

    variant: str | None
    project: str | None
    country: str | None
    region: str | None
    pue: float | None
    pue_source: str | None
    intensity_table: str | None
    sensors: Iterable[str] | None
    devices: Iterable[str] | None
    metrics_port: int | None
    metrics_address: str | None
    metrics: Mapping[str, Any] | None
    warmup_s: float | None
    resume: bool | None
    total_steps: float | None
    budget_kwh: float | None
    budget_kg: float | None
    intensity_file: str | os.PathLike[str] | None
    price_per_kwh: float | None
    currency: str | None
    codecarbon_check: bool | None
    watch: bool | None
    data_parallel_rank: int | None
    parent: str | os.PathLike[str] | None
