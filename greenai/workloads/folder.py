"""The folder of one experiment: made, or gone on with, and `bench.json`, which says how it went."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError, RecordError
from greenai.workloads.facts import device_name, model_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenai.workloads.facts import Experiment

DESIGN = "bench.json"
UNFINISHED = "unfinished"


@dataclass
class Done:
    """What has been done of a plan.

    Args:
        repeats: Whole repeats.
        runs: Names of the runs' folders, in the order of training.
        losses: Held-out loss of each run by variant, in nats a byte.
        learning_rates: Of the runs before, by variant.
        tuned: Whether a sweep chose them.
        rate_losses_nats: What that sweep found, by variant and rate.
    """

    repeats: int = 0
    runs: list[str] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    learning_rates: dict[str, float] = field(default_factory=dict)
    tuned: bool = False
    rate_losses_nats: dict[str, dict[float, float]] = field(default_factory=dict)


def bench_folder(out: str | Path | None, *, resume: bool) -> Path:
    """Make a folder of its own for the experiment, or take the one that is gone on with.

    Args:
        out: As the user names it; None is a new one below `runs`.
        resume: Whether an experiment in it goes on.

    Raises:
        OrderError: It is to go on, and none is there.
        RecordError: The folder cannot be made.
    """
    if resume:
        if out is None or not Path(out, DESIGN).is_file():
            raise OrderError(
                f"{out or 'No folder'} holds no experiment that could go on: no {DESIGN}.",
                "Nothing was trained.",
                "name the folder of an earlier bench with --out, or leave --resume out",
            )
        return Path(out)
    named = Path("runs", f"bench-{datetime.now():%Y%m%d-%H%M%S}") if out is None else Path(out)  # noqa: DTZ005  # a name for people, in their own time
    folder, number = named, 1
    try:
        while folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            number += 1
            folder = named.with_name(f"{named.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(
            f"{folder} cannot be made: {error.strerror}.",
            "No run was started.",
            "give a folder that can be written with out=",
            path=folder,
        ) from error
    return folder


def begun(folder: Path, experiment: Experiment, *, across_device: bool) -> Done:
    """Read what was done of an experiment, and put runs of a cut repeat aside.

    Args:
        folder: Holds it.
        experiment: What is to go on.
        across_device: Whether runs of another device may be gone on with.

    Returns:
        What was done.

    Raises:
        OrderError: Another experiment lies there, or one of another device.
        RecordError: Its `bench.json` cannot be read.
    """
    path = folder / DESIGN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        done = Done(
            int(found["done_repeats"]),
            [str(name) for name in found["runs"]],
            {
                name: [_number(loss) for loss in losses]
                for name, losses in found["held_out_loss_nats"].items()
            },
            found["learning_rates"],
            found["tuned"],
            {
                name: {one["learning_rate"]: _number(one["loss"]) for one in tried}
                for name, tried in found["rate_losses_nats"].items()
            },
        )
        design, device = found["design"], found["device"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} cannot be read: {error}.",
            "What the runs beside it have in common is not known.",
            "start a new experiment in another folder",
            path=path,
        ) from error
    here = json.loads(json.dumps(_design(experiment)))
    if design != here:
        unlike = sorted(key for key in here if design.get(key) != here[key])
        raise OrderError(
            f"{folder} holds another experiment: {', '.join(unlike)} differ.",
            "Its runs and new ones would be compared as if they were alike.",
            "ask for the same variants, size, text and lengths, or use another folder",
        )
    if device != device_name() and not across_device:
        raise OrderError(
            f"The runs in {folder} were made on {device}; this is {device_name()}.",
            "A difference between variants could not be told from one between machines.",
            "use another folder, or allow it with --across device",
        )
    known = set(done.runs)
    for run in sorted(folder.iterdir()):
        if (run / "manifest.json").is_file() and run.name not in known:
            aside = folder / UNFINISHED
            aside.mkdir(exist_ok=True)
            run.rename(aside / f"{run.name}-{len(list(aside.iterdir())) + 1}")
    return done


def _design(experiment: Experiment) -> dict[str, Any]:
    """What runs must have in common to be repeats of one experiment."""
    return {
        "variants": {name: asdict(config) for name, config in experiment.variants.items()},
        "match_basis": experiment.match,
        "size": experiment.size.name,
        "batch": experiment.size.batch,
        "warmup_s": experiment.warmup_s,
        "seconds": experiment.seconds,
        "text_sha256": experiment.text.sha256,
    }


def write_design(
    folder: Path, experiment: Experiment, done: Done, *, planned: int, notices: Sequence[str]
) -> None:
    """Write how the experiment was made and how far it is, beside what it found.

    Raises:
        RecordError: The disk refuses it.
    """
    text = experiment.text
    whole = {
        "planned_repeats": planned,
        "done_repeats": done.repeats,
        "warmup_s": experiment.warmup_s,
        "seconds": experiment.seconds,
        "size": experiment.size.name,
        "match_basis": experiment.match,
        "batch": experiment.size.batch,
        "learning_rates": experiment.learning_rates,
        "tuned": experiment.tuned,
        "rate_losses_nats": {
            name: [{"learning_rate": rate, "loss": _plain(loss)} for rate, loss in by.items()]
            for name, by in experiment.rate_losses_nats.items()
        },
        "text": {"source": text.source, "bytes": text.size_bytes, "sha256": text.sha256},
        "device": device_name(),
        "idle": asdict(experiment.idle),
        "variants": {
            name: model_facts(config, experiment.kernels[name])
            for name, config in experiment.variants.items()
        },
        "runs": done.runs,
        "held_out_loss_nats": {
            name: [_plain(loss) for loss in losses] for name, losses in done.losses.items()
        },
        "unigram_entropy_nats": text.unigram_entropy_nats(),
        "notices": list(notices),
        "design": _design(experiment),
    }
    data = json.dumps(whole, indent=2, allow_nan=False) + "\n"
    path = folder / DESIGN
    try:
        draft = path.with_suffix(".tmp")
        draft.write_text(data, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written: {error.strerror}.",
            "The runs are there, but not what they have in common.",
            "make room on the disk",
            path=path,
        ) from error


def _plain(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _number(plain: float | None) -> float:
    return math.nan if plain is None else float(plain)
