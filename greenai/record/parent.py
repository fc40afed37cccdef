"""What a run keeps of the run that it goes on from: enough to count it when its folder is gone."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.errors import OrderError, RecordError
from greenai.record.claim import run_id_of
from greenai.record.documents import LIVE_FILE, read_json
from greenai.record.manifest import MANIFEST, read_run_manifest
from greenai.record.written import newest_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ANCESTORS_MAX = 64
FOLDERS_MAX = 10_000
"""Folders beside the run that are looked through for a parent that is named by its id."""
NUMBERS = ("energy_j", "coverage", "operational_co2e_g")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def lineage_for(parent: str, beside: Path) -> list[dict[str, Any]]:
    """The facts to keep of a parent and of its own ancestors, the nearest first.

    Energy is that of the parent's summary.json, else what its samplers have settled; None where
    neither is there. It is what the parent had used by now: a parent that goes on uses more.

    Args:
        parent: Folder of the parent, or its id. Of an id whose run does not lie in ``beside`` only
            the id is known.
        beside: Folder in which runs lie.

    Returns:
        One object an ancestor: ``run_id``, ``variant``, ``started_utc``, and ``energy_j``,
        ``coverage`` and ``operational_co2e_g``, which are None where unknown.

    Raises:
        OrderError: The parent does not exist.
        RecordError: The parent's folder holds no run, or a damaged one.

    Example:
        >>> lineage_for("4f2a", Path("/nonexistent"))[0]["energy_j"] is None
        True
    """
    folder = _folder_of(parent, beside)
    if folder is None:
        found = [{"run_id": parent, "variant": "", "started_utc": None, **dict.fromkeys(NUMBERS)}]
    else:
        manifest = read_run_manifest(folder)
        own = {name: manifest.get(name) for name in ("run_id", "variant", "started_utc")}
        found = [{**own, **_energies(folder, manifest["run_id"])}, *ancestors_in(manifest)]
    return found[:ANCESTORS_MAX]


def check_lineage(lineage: list[dict[str, Any]], run_id: str) -> None:
    """Refuse a lineage in which a run stands twice, or the run itself.

    Raises:
        OrderError: It goes round in a circle.
    """
    seen = [str(one["run_id"]) for one in lineage]
    if run_id in seen or len(set(seen)) < len(seen):
        raise OrderError(
            f"The lineage goes round in a circle: {', '.join([run_id, *seen])[:400]}.",
            "Its energy would be counted more than once; nothing was started.",
            "name the run whose weights this one begins with as parent=, in another folder",
        )


def ancestors_in(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ancestors that a run's manifest names, each checked: it may come from anywhere."""
    kept = manifest.get("lineage")
    found = []
    for one in kept[:ANCESTORS_MAX] if isinstance(kept, list) else []:
        run_id = one.get("run_id") if isinstance(one, dict) else None
        if isinstance(run_id, str) and _WORD.fullmatch(run_id):
            texts = {name: one.get(name) for name in ("variant", "started_utc")}
            found.append(
                {
                    "run_id": run_id,
                    **{key: text if isinstance(text, str) else "" for key, text in texts.items()},
                    **{name: _number(one.get(name)) for name in NUMBERS},
                }
            )
    return found


def _folder_of(parent: str, beside: Path) -> Path | None:
    """Folder of a parent; None where it is only an id."""
    folder = Path(parent).expanduser()
    if folder.is_dir():
        return folder
    if not _WORD.fullmatch(parent):
        raise OrderError(
            f"parent is {parent[:200]!r}, where there is no folder.",
            "The energy of the run that this one goes on from would be missing from the lineage.",
            "give the folder of the parent's run, or, where it is gone, its run id",
        )
    return next((one for one in _runs_in(beside) if run_id_of(one) == parent), None)


def _runs_in(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for _, one in zip(range(FOLDERS_MAX), folder.iterdir(), strict=False):
            if (one / MANIFEST).is_file():
                yield one


def _energies(folder: Path, run_id: str) -> dict[str, float | None]:
    """What the parent used, as far as it can be known without working it out anew."""
    try:
        path = folder / "summary.json"
        summary = read_json(path)
        if summary.get("run_id") == run_id and path.lstat().st_mtime_ns >= newest_ns(folder):
            return {name: _number(summary.get(name)) for name in NUMBERS}
    except (RecordError, OSError):
        pass  # not made yet or not readable; as where the run went on since, the samplers have told
    settled: list[dict[str, Any]] = []
    for live in sorted(folder.glob(f"rank-*/attempt-*/{LIVE_FILE}")):
        try:
            settled.append(read_json(live))
        except RecordError:
            settled.append({})

    def summed(name: str) -> float | None:
        values = [_number(one.get(name)) for one in settled]
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    added = {name: summed(name) for name in ("energy_j", "operational_co2e_g")}
    return {**dict.fromkeys(NUMBERS), **added}  # of coverage each knows its own part only


def _number(value: Any) -> float | None:
    fits = type(value) in {int, float} and 0 <= value < math.inf
    return float(value) if fits else None
