"""Quantities as people read them: the one place where a number becomes text with its unit."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal, TypeGuard

from greenai.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable

UNKNOWN = "unknown"
"""How a NaN, a None or an infinity reads; never as 0."""

DIGITS = 3
"""Significant digits: a sensor's gain is known to some percent, so that more would mislead."""
DIGITS_MAX = 6
"""Most digits that the ends of a narrow interval take to differ."""

COUNT_MAX = 1e15
"""From here on a count is written with a power of ten."""

Unit = Literal["J", "Wh", "W", "g", "s", "L"]

_SCALES: dict[Unit, tuple[tuple[float, str], ...]] = {
    "J": (
        (1e-15, "fJ"),
        (1e-12, "pJ"),
        (1e-9, "nJ"),
        (1e-6, "µJ"),
        (1e-3, "mJ"),
        (1.0, "J"),
        (1e3, "kJ"),
        (1e6, "MJ"),
        (1e9, "GJ"),
        (1e12, "TJ"),
    ),
    "Wh": ((1e-6, "µWh"), (1e-3, "mWh"), (1.0, "Wh"), (1e3, "kWh"), (1e6, "MWh"), (1e9, "GWh")),
    "W": ((1e-6, "µW"), (1e-3, "mW"), (1.0, "W"), (1e3, "kW"), (1e6, "MW")),
    "g": ((1e-9, "ng"), (1e-6, "µg"), (1e-3, "mg"), (1.0, "g"), (1e3, "kg"), (1e6, "t")),
    "s": ((1e-15, "fs"), (1e-12, "ps"), (1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")),
    "L": ((1e-6, "µL"), (1e-3, "mL"), (1.0, "L"), (1e3, "m³")),
}
_CLOCK = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def energy(energy_j: float | None) -> str:
    """Energy in joules, at the scale that reads well.

    Example:
        >>> energy(6_624_000), energy(0.000_31), energy(999.7), energy(None)
        ('6.62 MJ', '310 µJ', '1.00 kJ', 'unknown')
    """
    return _text(energy_j, "J")


def electricity(energy_j: float | None) -> str:
    """The same energy in watt-hours, as a bill has it.

    Example:
        >>> electricity(6_624_000), electricity(1_800)
        ('1.84 kWh', '500 mWh')
    """
    return _text(None if energy_j is None else energy_j / J_PER_KWH * 1e3, "Wh")


def mass(mass_g: float | None) -> str:
    """Mass in grams or a multiple; above 1,000 kg in tonnes.

    Example:
        >>> mass(874.2), mass(2_150_000)
        ('874 g', '2.15 t')
    """
    return _text(mass_g, "g")


def volume(volume_l: float | None) -> str:
    """Volume of water in litres or a multiple.

    Example:
        >>> volume(0.0123), volume(2_150.0), volume(None)
        ('12.3 mL', '2.15 m³', 'unknown')
    """
    return _text(volume_l, "L")


def power(power_w: float | None) -> str:
    """Power in watts or a multiple.

    Example:
        >>> power(65.0), power(10_240)
        ('65.0 W', '10.2 kW')
    """
    return _text(power_w, "W")


def duration(duration_s: float | None) -> str:
    """Time at the two units that matter.

    Example:
        >>> duration(0.0123), duration(59.99), duration(11_520), duration(200_000)
        ('12.3 ms', '1 min 0 s', '3 h 12 min', '2 d 8 h')
    """
    if not _is_known(duration_s):
        return UNKNOWN
    if _rounded(duration_s) < 60:  # noqa: PLR2004 - seconds in a minute
        return _text(duration_s, "s")
    for large_s, large, small_s, small in _CLOCK:
        parts = round(duration_s / small_s)
        if parts * small_s >= large_s:
            whole, rest = divmod(parts, large_s // small_s)
            return f"{whole:,} {large} {rest} {small}"
    raise AssertionError(duration_s)  # 60 s and more are minutes at least


def count(amount: float | None) -> str:
    """How many, in full; beyond 10¹⁵ with a power of ten.

    Example:
        >>> count(1_048_576), count(3.14e23), count(math.nan)
        ('1,048,576', '3.14·10²³', 'unknown')
    """
    if not _is_known(amount):
        return UNKNOWN
    if abs(amount) < COUNT_MAX:
        return f"{amount:,.0f}" if amount == round(amount) else decimal(amount)
    mantissa, exponent = f"{amount:.2e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def many(amount: float | None, thing: str) -> str:
    """How many of a thing, with its plural.

    Example:
        >>> many(1, "step"), many(2_000, "step")
        ('1 step', '2,000 steps')
    """
    return f"{count(amount)} {thing}{'' if amount == 1 else 's'}"


def share(ratio_of_whole: float | None) -> str:
    """Part of a whole in percent; a small part does not become none, nor a large one all.

    Example:
        >>> share(0.912), share(0.000_02), share(0.999_98), share(1.0), share(math.nan)
        ('91.2 %', '<0.1 %', '>99.9 %', '100 %', 'unknown')
    """
    if not _is_known(ratio_of_whole):
        return UNKNOWN
    percent = 100 * ratio_of_whole
    if percent in {0.0, 100.0}:
        return f"{percent:.0f} %"
    if 0 < percent < 0.05:  # noqa: PLR2004 - it would read 0.0
        return "<0.1 %"
    if 99.95 <= percent < 100:  # noqa: PLR2004 - it would read 100.0
        return ">99.9 %"
    return f"{percent:.1f} %"


def ratio(value: float | None, decimals: int = 3) -> str:
    """A ratio near 1, or whatever it is.

    Example:
        >>> ratio(0.80412), ratio(1.0), ratio(0.99987, decimals=4), ratio(23.456)
        ('0.804', '1.000', '0.9999', '23.5')
    """
    if not _is_known(value):
        return UNKNOWN
    return f"{value:.{decimals}f}" if abs(value) < 10 else decimal(value)  # noqa: PLR2004 - beyond, three digits are less


def decimal(value: float | None, digits: int = DIGITS) -> str:
    """A bare number at three significant digits, or at others.

    Example:
        >>> decimal(2.71828), decimal(31_415.9), decimal(0.000_123_4), decimal(0)
        ('2.72', '31,400', '0.000123', '0')
    """
    if not _is_known(value):
        return UNKNOWN
    if value == 0:
        return "0"
    rounded = _rounded(value, digits)
    exponent = math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}"


def interval(low: float | None, high: float | None, unit: Unit) -> str:
    """A closed range in one unit, with the digits that tell its ends apart; or the known half.

    Example:
        >>> interval(1_810.0, 1_902.0, "J"), interval(1_810.0, math.inf, "J")
        ('1.81 to 1.90 kJ', 'at least 1.81 kJ')
        >>> interval(5_330.2, 5_330.9, "J"), interval(2.0, 2.0, "s")
        ('5.330 to 5.331 kJ', '2.00 s')
    """
    if _is_known(low) and _is_known(high):
        factor, name = scale(max(abs(low), abs(high)), unit)
        for digits in range(DIGITS, DIGITS_MAX + 1):
            ends = decimal(low / factor, digits), decimal(high / factor, digits)
            if ends[0] != ends[1]:
                return f"{ends[0]} to {ends[1]} {name}"
        return _text(high, unit)
    if _is_known(low):
        return f"at least {_text(low, unit)}"
    return f"at most {_text(high, unit)}" if _is_known(high) else UNKNOWN


@dataclasses.dataclass(frozen=True, slots=True)
class Aligned:
    """Numbers of one column in one unit, with the same decimals, so that they line up.

    Attributes:
        unit: The unit that all have.
        texts: The numbers; ``unknown`` where one is not known.
    """

    unit: str
    texts: tuple[str, ...]


def aligned(values: Iterable[float | None], unit: Unit) -> Aligned:
    """Write a column of numbers in the unit of its largest, to be set flush right.

    Example:
        >>> aligned([1_234.0, 87.0, 0.4, 0.0, None], "J")
        Aligned(unit='kJ', texts=('1.234', '0.087', '<0.001', '0', 'unknown'))
    """
    listed = list(values)
    largest = max((abs(value) for value in listed if _is_known(value)), default=0.0)
    factor, name = scale(largest, unit)
    decimals = _decimals(largest / factor)
    return Aligned(name, tuple(_cell(value, factor, decimals) for value in listed))


def scale(largest: float, unit: Unit) -> tuple[float, str]:
    """Factor and name of the multiple of ``unit`` that numbers up to ``largest`` read well in.

    Example:
        >>> scale(45_000.0, "W"), scale(0.0, "J")
        ((1000.0, 'kW'), (1.0, 'J'))
    """
    if not _is_known(largest) or largest == 0:
        return 1.0, unit
    fitting = [one for one in _SCALES[unit] if one[0] <= _rounded(abs(largest)) * (1 + 1e-9)]
    return fitting[-1] if fitting else _SCALES[unit][0]


def _text(value: float | None, unit: Unit) -> str:
    if not _is_known(value):
        return UNKNOWN
    factor, name = scale(value, unit)
    if value == 0:
        return f"0 {name}"
    return f"{decimal(value / factor)} {name}"


def _cell(value: float | None, factor: float, decimals: int) -> str:
    if not _is_known(value):
        return UNKNOWN
    if value == 0:
        return "0"
    text = f"{value / factor:,.{decimals}f}"
    smallest = f"{10.0**-decimals:.{decimals}f}"
    return f"<{smallest}" if float(text.replace(",", "")) == 0 and value > 0 else text


def _decimals(largest: float) -> int:
    """Decimals at which the largest number of a column has four significant digits."""
    return max(0, DIGITS - math.floor(math.log10(largest))) if largest > 0 else 0


def _rounded(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
