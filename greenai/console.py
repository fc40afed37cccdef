"""The console that commands print on: as wide as the terminal, or as a page where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 110
"""Columns where the output is no terminal and nothing else is asked for."""


def console() -> Console:
    """Make a console on standard output."""
    from rich.console import Console  # noqa: PLC0415 - loads slowly

    made = Console(highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        return Console(highlight=False, width=PIPED_WIDTH)
    return made
