"""All probes of a real GPU in a row: one table, also as JSON; run by `make gpu-check`.

Takes some 17 minutes; ``--only T1,T2`` runs some of the probes, ``--list`` names them. Exit code 1
where there is no CUDA device, or a probe failed. No clock, limit or mode of a card is changed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu import card as cards
from gpu import loops, package
from gpu.probes import Result, Skipped, table, to_json

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable

    Probe = Callable[[], list[Result]]

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "gpu-check.json"
RECORDED = "classes-500"
"""The run that is kept for replay: heavy and light steps in turn."""


def probes(bench: loops.Bench, card: package.TwoCard, folder: Path) -> dict[str, Probe]:
    """Every probe by its name."""
    return {
        "T1": lambda: loops.latencies(bench, loaded=False) + loops.latencies(bench, loaded=True),
        "T2": lambda: loops.refreshes(bench, loaded=False),
        "T3": lambda: loops.events(bench),
        "T4": lambda: loops.aliasing(bench),
        "T5": lambda: loops.refreshes(bench, loaded=True),
        "T6": lambda: package.interference(bench, card),
        "integral": lambda: (
            loops.integral(bench, loaded=False) + loops.integral(bench, loaded=True)
        ),
        "overhead": lambda: package.overhead(bench, card, folder),
        "boundaries": lambda: package.boundaries(bench, folder),
        "classes": lambda: package.classes(bench, card, folder),
    }


def run(chosen: dict[str, Probe], say: Callable[[str], None]) -> tuple[list[Result], list[Skipped]]:
    """Run probes; one that fails does not take the others with it."""
    results: list[Result] = []
    skipped: list[Skipped] = []
    for name, probe in chosen.items():
        say(f"{name} ...")
        try:
            results += probe()
        except package.NoEvents as reason:
            skipped.append(Skipped(name, str(reason)))
        except Exception as error:  # noqa: BLE001 - a board may fail in every way there is
            skipped.append(Skipped(name, f"FAILED: {type(error).__name__}: {error}"))
    return results, skipped


def write(about: dict[str, Any], results: list[Result], skipped: list[Skipped], out: Path) -> None:
    """Write the table as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    plain = to_json(about, results, skipped)
    out.write_text(json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", default="", help="names of probes, with commas")
    parser.add_argument("--list", action="store_true", help="name the probes")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a probe's loop")
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    parser.add_argument(
        "--runs", type=Path, help="where recorded runs go; beside the JSON where not given"
    )
    asked = parser.parse_args(arguments)
    names = list(probes(None, None, Path()))  # type: ignore[arg-type] # named, not run
    wanted = [name for name in asked.only.split(",") if name] or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no probe is called {', '.join(sorted(unknown))}: {', '.join(names)}")
    if asked.list:
        print("\n".join(names))
        return 0
    if reason := cards.why_none():
        print(f"Nothing was checked: {reason}.", file=sys.stderr)
        return 1
    card = cards.CudaCard()
    meter = cards.NvmlMeter(card.uuid or None)
    bench = loops.Bench(
        card, meter, seconds=asked.seconds, devices=[card.uuid] if card.uuid else None
    )
    about = {
        "greenai": greenai.__version__,
        "device": meter.name,
        "uuid": card.uuid or None,
        "driver": meter.driver,
        **card.about,
        "python": platform.python_version(),
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "unit_s": card.unit_s,
    }
    folder = asked.runs or asked.out.parent / f"gpu-check-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    chosen = {name: probe for name, probe in probes(bench, card, folder).items() if name in wanted}
    results, skipped = run(chosen, lambda text: print(text, file=sys.stderr))
    recorded = folder / RECORDED
    about["recorded_run"] = str(recorded) if recorded.exists() else None
    write(about, results, skipped, asked.out)
    print(f"{meter.name}, driver {meter.driver}, torch {card.about['torch']}")
    print(table(results, skipped))
    print(f"data: {asked.out}")
    return int(any(one.reason.startswith("FAILED") for one in skipped))


if __name__ == "__main__":
    sys.exit(main())
