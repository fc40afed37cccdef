"""The errors of greenai.

GreenAIError
├── SensorError      a sensor is unknown, missing or not readable
├── RecordError      a run folder is missing, damaged or of another schema
├── OrderError       a call or a value is out of order or out of range
├── ComparisonError  runs cannot be compared as asked
└── GridError        a country, a region or an intensity is unknown
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class GreenAIError(Exception):
    """What happened, what it means for the numbers, and what to do.

    Args:
        what: What happened, with the value.
        meaning: What it means for the numbers.
        hint: What to do.

    Example:
        >>> print(GreenAIError("PUE is 0.8.", "Emissions would be too small.", "give pue >= 1"))
        PUE is 0.8.
        Emissions would be too small.
        <BLANKLINE>
        hint: give pue >= 1
    """

    def __init__(self, what: str, meaning: str = "", hint: str = "") -> None:
        self.what = what
        self.meaning = meaning
        self.hint = hint
        text = "\n".join(part for part in (what, meaning) if part)
        super().__init__(f"{text}\n\nhint: {hint}" if hint else text)

    def __reduce__(self) -> tuple[type[GreenAIError], tuple[str, str, str]]:
        """Rebuild from the three parts, so that the error survives a process border."""
        return type(self), (self.what, self.meaning, self.hint)


class SensorError(GreenAIError):
    """A sensor is unknown, missing or not readable."""


class RecordError(GreenAIError):
    """A run folder is missing, damaged or of another schema.

    Args:
        what: What happened, with the value.
        meaning: What it means for the numbers.
        hint: What to do.
        path: The file concerned.
        offset: The byte at which the damage begins, where one is known.
    """

    def __init__(
        self,
        what: str,
        meaning: str = "",
        hint: str = "",
        *,
        path: Path | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(what, meaning, hint)
        self.path = path
        self.offset = offset


class OrderError(GreenAIError, ValueError):
    """A call or a value is out of order or out of range."""


class ComparisonError(GreenAIError):
    """Runs cannot be compared as asked."""


class GridError(GreenAIError, LookupError):
    """A country, a region or an intensity is unknown."""
