"""A small run on disk, and the words to write one, for the laws of the record."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from greenai.record.manifest import claim_run, write_run_manifest
from greenai.record.types import (
    CHANGE,
    FIRST,
    FIXED_NAMES,
    PHASE_BEGIN,
    STEP_END,
    STOP,
    VALUE,
    Anchor,
)
from greenai.record.writer import RecordWriter
from greenai.sensors.base import Channel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

S = 10**9
T0 = 100_000 * S


@dataclasses.dataclass(frozen=True)
class Launch:
    launch_id: str
    rank: int = 0
    restarts: int = 0
    shared: bool = False
    world_size: int = 4

    @property
    def earlier(self) -> str:
        job = self.launch_id.rpartition("-")[0]
        return rf"{job}-\d+" if self.restarts else ""


def channel(number: int = 0, **facts: Any) -> Channel:
    plain: dict[str, Any] = {
        "quantity": "energy_j",
        "kind": "gpu",
        "device": f"gpu{number}",
        "device_key": f"GPU-{number}",
        "method": "nvml_energy",
        "trust": "measured",
        "primary": True,
        "refresh_ns": 110_000_000,
        "power_max_w": 700.0,
    }
    return Channel(**{**plain, **facts})


@pytest.fixture
def make_channel() -> Callable[..., Channel]:
    return channel


@pytest.fixture
def anchor() -> Anchor:
    return Anchor(T0, 1_790_000_000 * S, T0 + 5 * S)


@pytest.fixture
def make_launch() -> Callable[..., Launch]:
    return Launch


@pytest.fixture
def attempt_manifest() -> Callable[..., dict[str, Any]]:
    def make(**facts: Any) -> dict[str, Any]:
        plain = {
            "run_id": "r1",
            "launch_id": "first",
            "rank": 0,
            "world_size": 1,
            "local_rank": 0,
            "host": "0123abcd",
            "started_utc": "2026-07-01T10:00:00+00:00",
            "channels": [channel(0).to_json(), channel(1).to_json()],
            "refused": [],
            "names": list(FIXED_NAMES),
        }
        return {**plain, **facts}

    return make


@pytest.fixture
def make_run(
    tmp_path: Path, attempt_manifest: Callable[..., dict[str, Any]]
) -> Callable[..., Path]:
    """Write a run of one attempt with three frames a file; return the run folder."""

    def make(name: str = "run", *, launch_id: str = "first", **facts: Any) -> Path:
        evidence = facts.pop("evidence", None)
        run_id = facts.pop("run_id", "r1")
        launch = Launch(launch_id, rank=facts.get("rank", 0), shared=facts.pop("shared", False))
        claim = claim_run(tmp_path / name, run_id, launch, evidence=evidence)
        if claim.created:
            write_run_manifest(claim.folder, {"run_id": claim.run_id, "variant": "dense"})
        manifest = attempt_manifest(run_id=claim.run_id, launch_id=launch_id, **facts)
        fill(RecordWriter(claim.attempt_folder), manifest)
        return claim.folder

    return make


def fill(writer: RecordWriter, manifest: dict[str, Any]) -> None:
    writer.write_manifest(manifest)
    tokens, loss = FIXED_NAMES.index("tokens"), FIXED_NAMES.index("loss")
    for second in range(3):
        now = T0 + second * S
        at = Anchor(now + S, 1_790_000_000 * S + now + S, now + S)
        kind = CHANGE if second else FIRST
        writer.write_readings(
            [(one, now + one, now + 10 + one, 1000.0 * one + second, kind) for one in (0, 1)], at
        )
        marks: list[tuple[int, int, int, int, float]] = [
            (now, VALUE, tokens, second, 512.0),
            (now, VALUE, loss, second, float("nan") if second == 1 else 0.5),
            (now, STEP_END, 0, second, 1.0),
        ]
        if second == 0:
            marks.insert(0, (now - 5, PHASE_BEGIN, 0, 0, 0.0))
        if second == 2:
            marks.append((now + 1, STOP, 0, 0, 0.0))
        writer.write_marks(marks, at)
    writer.write_event(T0 + 3 * S, "stopped", "", sampler_cpu_s=0.1)
    writer.write_live({"energy_j": float("nan"), "steps": 3})
    writer.close()
