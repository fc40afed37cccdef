"""Runs as they go, on a terminal: the same figures as the page, one row a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from greenai.exporters import quantities
from greenai.exporters.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console, RenderableType

STATES = {
    "live": ("running", "green"),
    "stopped": ("finished", ""),
    "parent_died": ("training died", "red"),
    "silent": ("silent", "red"),
    "waiting": ("no data yet", "yellow"),
}
TITLES = (
    "Run", "State", "Power", "Last", "Energy", "Emissions", "J/token", "Steps", "Loss", "Time"
)  # fmt: skip
WIDE_ONLY = {"Last", "Emissions", "Time"}
WIDE = 110
"""Columns that all of it takes."""
BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 24
WARNINGS_SHOWN = 6
NAME_MAX = 60


def show(update: Callable[[], bool], state: Callable[[], Mapping[str, Any]], console: Console,
         wait: Callable[[float], object]) -> None:  # fmt: skip
    """Show runs until interrupted; where the output is no terminal, once.

    Args:
        update: Reads what is new; says whether there is more to read at once.
        state: What is to be shown.
        console: Where to.
        wait: Sleeps for so many seconds.
    """
    from rich.live import Live  # noqa: PLC0415 - only where it is a terminal

    if not console.is_terminal:
        while update():
            pass
        console.print(overview(state(), console.width))
        return
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            more = update()
            live.update(overview(state(), console.width), refresh=True)
            wait(0.05 if more else 1.0)


def overview(state: Mapping[str, Any], width: int = WIDE) -> RenderableType:
    """Table of the runs with what a reader must know below it.

    Args:
        state: As ``greenai.following.folder.Watch.state`` gives it.
        width: Columns of the terminal; a narrow one does without what the page has besides.

    Returns:
        What rich prints; no text of a run is taken for markup or moves the cursor.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    shown = [at for at, title in enumerate(TITLES) if width >= WIDE or title not in WIDE_ONLY]
    for title in (TITLES[at] for at in shown):
        is_text = title in {"Run", "State", "Last"}
        table.add_column(
            title, justify="left" if is_text else "right", no_wrap=title != "Run", overflow="fold"
        )
    below: list[RenderableType] = []
    for key in state["order"]:
        run = state["runs"][key]
        cells = _row(run)
        table.add_row(*(cells[at] for at in shown))
        below.extend(_warnings(run["facts"]))
    if not state["order"]:
        below.append(Text("No run here yet: one that begins will appear.", style="dim"))
    if state["hidden"]:
        below.append(Text(f"{state['hidden']} older runs are not shown.", style="dim"))
    return Group(table, Text(""), *below)


def _row(run: Mapping[str, Any]) -> list[Text]:
    facts = run["facts"]
    totals = facts["totals"]
    said, style = STATES.get(facts["state"], (facts["state"], ""))
    if facts["share_read"] < 0.995:  # noqa: PLR2004 - of the record
        said = f"reading {facts['share_read']:.0%}"
    step = totals["step"]
    return [
        Text(printable(facts["name"], NAME_MAX)),
        Text(said, style=style),
        Text(quantities.power(totals["power_w"]) if facts["state"] == "live" else "–"),
        Text(_bars(run["curves"]), style="cyan"),
        Text(quantities.energy(totals["energy_j"])),
        Text(quantities.mass(totals["operational_co2e_g"])),
        Text(quantities.energy(totals["j_per_token"])),
        Text("–" if step is None else f"{totals['steps']:.0f}"),
        Text(quantities.decimal(totals["loss"], 4)),
        Text(quantities.duration(totals["duration_s"])),
    ]


def _bars(curves: Mapping[str, Any]) -> str:
    """The latest power of all devices, as bars; a gap where it is not known."""
    powers = [curve["mid"] for key, curve in curves.items() if key.startswith("power:")]
    shown = min([BARS_SHOWN, *map(len, powers)]) if powers else 0
    latest = list(zip(*(power[len(power) - shown :] for power in powers), strict=True))
    sums = [None if None in values else sum(values) for values in latest]
    greatest = max([one for one in sums if one is not None], default=0.0)
    if not greatest > 0:
        return ""
    top = len(BARS) - 1
    return "".join(
        " " if one is None else BARS[min(top, max(0, round(one / greatest * top)))] for one in sums
    )


def _warnings(facts: Mapping[str, Any]) -> list[Text]:
    """What the run's reader must know, and its latest events."""
    texts = list(facts["notices"])
    for event in reversed(facts["events"]):
        if event["reason"]:
            device = f"{event['device']}: " if event["device"] else ""
            texts.append(f"{device}{event['what'].replace('_', ' ')}: {event['reason']}")
    name = printable(facts["name"], NAME_MAX)
    return [Text(f"{name}: {printable(one)}", style="yellow") for one in texts[:WARNINGS_SHOWN]]
