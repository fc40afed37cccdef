"""How far the experiment is, shown without a thread of its own."""

from __future__ import annotations

import math
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greenai.workloads.schedule import Turn

    Show = Callable[[Turn, float], None]
    """Tells the user which turn runs, and for how many seconds it has."""

REFRESH_S = 0.5
"""The bar is drawn by the training thread, seldom: a thread of its own would disturb every step."""


@contextmanager
def progress_bar(plan: Sequence[Sequence[Turn]], run_s: float, *, shown: bool) -> Iterator[Show]:
    """Show one bar over all runs; where there is no terminal, a line at the start of each.

    Args:
        plan: The turns of each repeat.
        run_s: Seconds of one run.
        shown: Whether to show anything.

    Yields:
        To be called after each step.
    """
    turns = [turn for repeat in plan for turn in repeat]
    console = Console(stderr=True, quiet=not shown)
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
    task = bar.add_task("", total=len(turns) * run_s)
    drawn_s = -math.inf
    begun: Turn | None = None

    def show(turn: Turn, spent_s: float) -> None:
        nonlocal drawn_s, begun
        name = f"{turn.variant}, repeat {turn.repeat + 1} of {len(plan)}"
        if turn != begun and not console.is_terminal:
            console.print(f"run {turns.index(turn) + 1} of {len(turns)}: {name}")
        begun = turn
        if console.is_terminal and monotonic() - drawn_s >= REFRESH_S:
            drawn_s = monotonic()
            completed = turns.index(turn) * run_s + min(spent_s, run_s)
            bar.update(task, description=name, completed=completed, refresh=True)

    if shown and console.is_terminal:
        with bar:
            yield show
    else:
        yield show
