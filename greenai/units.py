"""Units inside greenai (ns, J, W, gCO2e, gCO2e/kWh) and the only conversions between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ns = npt.NDArray[np.int64]
    """Nanoseconds on the run's monotonic clock."""
    Floats = npt.NDArray[np.float64]
    """Quantities in the unit that their name says; NaN is unknown."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
J_PER_KWH = 3_600_000
"""Exact: 1 kWh = 1000 W · 3600 s."""
MJ_PER_J = 1_000
"""Millijoules in a joule (the unit of NVML's energy counter)."""
UJ_PER_J = 1_000_000
"""Microjoules in a joule (the unit of the powercap files)."""
G_PER_KWH_PER_LB_PER_MWH = 0.45359237
"""Grams a kilowatt-hour in one pound a megawatt-hour; exact by the definition of the pound."""


def emissions_g(energy_j: float, intensity_g_per_kwh: float, pue: float = 1.0) -> float:
    """Operational emissions of IT energy, in gCO2e.

    Args:
        energy_j: IT energy, in joules; NaN is unknown.
        intensity_g_per_kwh: Carbon intensity of the electricity.
        pue: Power usage effectiveness of the site; 1 counts the IT energy alone.

    Returns:
        Grams of CO2 equivalent; NaN where an input is NaN.

    Example:
        >>> emissions_g(3_600_000, intensity_g_per_kwh=475.0, pue=1.2)
        570.0
    """
    return energy_j / J_PER_KWH * intensity_g_per_kwh * pue
