"""What an exporter reads: the shape of a run, so that none depends on how a run is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from greenai.analysis.footprint import Footprint
    from greenai.record.types import Record
    from greenai.units import Floats


class ReadableCurve(Protocol):
    """Power of one device over the run; see ``greenai.merging.PowerCurve``."""

    @property
    def device(self) -> str:
        """Short name of the device."""

    @property
    def kind(self) -> str:
        """Component that it is booked under."""

    @property
    def trust(self) -> str:
        """``measured``, ``modelled`` or ``assumed``."""

    @property
    def t_s(self) -> Floats:
        """Seconds since the run's start."""

    @property
    def power_w(self) -> Floats:
        """Watts; NaN inside gaps."""


class ReadableRun(Protocol):
    """The part of ``greenai.Run`` that exporters use."""

    @property
    def record(self) -> Record:
        """What is on disk."""

    @property
    def run_id(self) -> str:
        """Identity of the run."""

    @property
    def variant(self) -> str:
        """What is compared."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader must know, in sentences."""

    def steps(self, columns: Sequence[str] | None = ...) -> pd.DataFrame:
        """One row a step, those of STEP_COLUMNS that are wanted; None is all."""

    def phases(self) -> pd.DataFrame:
        """One row a phase, columns PHASE_COLUMNS."""

    def subphases(self) -> pd.DataFrame:
        """One row a part of steps, columns SUB_PHASE_COLUMNS; no rows where none was marked."""

    def summary(self) -> dict[str, Any]:
        """Content of summary.json."""

    def footprint(self) -> Footprint:
        """Operational emissions with all factors."""

    def power(self, points: int = ...) -> Sequence[ReadableCurve]:
        """Mean power of each device."""
